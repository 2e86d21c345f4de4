"""What the running agent tells of itself: VPC CNI's introspection pages, and its state for ``eni-agent inspect``."""
