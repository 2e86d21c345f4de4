"""Whether node and pod hold exactly what a pod's address needs, and nothing of it once the pod has gone.

Looks with ip(8) at what ``docs/datapath.md`` promises, from outside of the product: ``kernel`` reads a namespace,
``expected`` says in values what is due, ``faults`` compares and names each difference, ``cluster`` does it for pods of
a laboratory, whose ENIs it knows from EC2.
"""
