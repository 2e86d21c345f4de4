"""The VPC: a router's network namespace that delivers by who owns an address now and drops what AWS would drop.

``desired`` decides; ``links``, ``routes`` and ``firewall`` bring it about; ``router`` prepares the namespace they
work in; ``fabric`` is the whole of it. Who owns what is the stand-in's engine's word (``eni_lab.aws.engine.ports``).
"""
