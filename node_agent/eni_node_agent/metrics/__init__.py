"""The agent's metrics in Prometheus's text format: our own, and those of VPC CNI whose meaning the agent can serve.

Decides names, labels and meaning (``docs/metrics.md`` tells them to people); who counts is ``measured`` and ``wiring``.
"""
