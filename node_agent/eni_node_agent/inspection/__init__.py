"""``eni-agent inspect``: do EC2's view, ledger, kernel and runtime agree on this node?

``compare`` decides, on values alone; ``agent``, ``kernel`` and ``runtime`` fetch the values; ``report`` words them.
"""
