"""Decides what a pool should do next, from values alone.

``plan`` composes ``capacity``, ``release``, ``placement`` and ``reasons``; ``precedence`` makes the policy. Talks to
nobody: ``inventory`` and the controllers make the ``World``, ``execution`` performs the ``Plan``. The law is told in
``docs/ipam-math.md``.
"""
