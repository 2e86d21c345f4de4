"""Makes the operator's built-in table of instance limits from the stand-in's table of types; run it to renew the table.

One type a line, so that a renewal can be read as a diff: name, hypervisor (a dash for bare metal), IPv4 addresses per
ENI, ENIs of each network card. Counterpart: ``eni_operator.inventory.instance_limits`` reads it.
"""

from pathlib import Path

from eni_lab.aws.engine.instance_type import InstanceType
from eni_lab.aws.instance_types import load_instance_types

TARGET = Path(__file__).parents[3] / "operator/eni_operator/inventory/data/instance_limits.txt"


def line(kind: InstanceType) -> str:
    """Returns one type's line."""
    return f"{kind.name} {kind.hypervisor or '-'} {kind.ipv4_per_eni} {','.join(map(str, kind.cards))}"


def table() -> str:
    """Returns the whole table, by name."""
    return "".join(line(kind) + "\n" for _, kind in sorted(load_instance_types().items()))


if __name__ == "__main__":
    TARGET.write_text(table(), encoding="ascii")
