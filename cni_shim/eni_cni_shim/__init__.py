"""The CNI executable, its socket protocol, and the warm plugin that runs inside the node agent. Imports nothing else of ours."""
