"""Values of the operator's world: ENIs, instances, subnets, policy, actions, reasons.

No behaviour beyond their own arithmetic, no I/O.
"""
