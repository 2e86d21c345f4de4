"""The CNI executable, its socket protocol, and the warm plugin inside the agent. Imports nothing else of ours."""
