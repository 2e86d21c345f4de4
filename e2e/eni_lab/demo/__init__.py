"""The demonstration: the whole main job on real parts, told step by step. ``eni-lab demo``."""
