"""Takes every address of a node's primary ENI, so that the pods of the tests get theirs on secondary ENIs.

A secondary ENI is where a network for AWS is hard: routes by source, marks, replies of node ports. The tests alone need
so few pods at a time that the primary ENI would serve them all. The addresses go to sandboxes without containers.
"""

from eni_lab.node.machine import Machine
from eni_lab.node.runtime import Runtime


def primary(machine: Machine, addresses: int, seconds: float = 120) -> None:
    """Adds so many sandboxes to a node; returns when all have an address."""
    with Runtime(machine) as runtime:
        runtime.add([f"filler-{number}" for number in range(addresses)], seconds=seconds)
