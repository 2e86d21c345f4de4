"""The contract between people, operator and agent: the types of ENIConfig and NodeIPPool.

Decides names, shapes, defaults and what is refused. Talks to nobody and imports nothing of ours.
Counterparts: ``eni_operator.controllers`` writes supply, ``eni_node_agent.cluster`` writes usage, people write spec.
"""
