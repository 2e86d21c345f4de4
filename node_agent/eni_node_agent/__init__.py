"""The node agent: owns the addresses and the host's network of one node, serves the CNI executable, holds no AWS credential."""
