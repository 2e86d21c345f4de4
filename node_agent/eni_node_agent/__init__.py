"""The node agent: owns the addresses and the host's network of one node, serves the CNI executable.

Holds no AWS credential; what it may hand out comes with the NodeIPPool, whose other writer is ``eni_operator``.
"""
