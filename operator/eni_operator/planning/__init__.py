"""Decides what a pool should do next, from values alone.

``plan`` adds up what ``card_plan`` decides for each network card: ``grain``, ``capacity`` and ``supply`` say how much,
``release`` what leaves, ``placement`` and ``subnet_choice`` where growth goes, ``ipv6`` and ``upkeep`` what else an ENI
should have, ``reasons`` why. ``precedence`` makes the policy, ``sourcing`` the candidates. Talks to nobody:
``inventory`` and the controllers make the ``World``, ``execution`` performs the ``Plan``. The law is told in
``docs/ipam-math.md``.
"""
