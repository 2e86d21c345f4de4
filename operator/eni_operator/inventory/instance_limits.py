"""The built-in table of instance types' limits, for when EC2 may not or cannot be asked.

Read line by line when needed and never kept: the operator must stay small. ``data/instance_limits.txt`` is written by
``e2e/eni_lab/aws/extract_instance_limits.py``. Counterpart: ``inventory.instance_types``, which asks EC2 first.
"""

from importlib.resources import files

from eni_operator.domain.instance import InstanceLimits


def built_in_limits(instance_type: str) -> InstanceLimits | None:
    """Returns a type's limits as AWS published them; None for a type the table does not have."""
    with files("eni_operator.inventory").joinpath("data", "instance_limits.txt").open(encoding="ascii") as table:
        for line in table:
            if line.startswith(instance_type + " "):
                return _limits(line)
    return None


def _limits(line: str) -> InstanceLimits:
    """Reads ``type hypervisor addresses-per-ENI ENIs-of-each-card``; no hypervisor (bare metal) is a dash."""
    _, hypervisor, addresses, cards = line.split()
    enis = tuple(int(count) for count in cards.split(","))
    return InstanceLimits(enis=enis[0], addresses_per_eni=int(addresses), prefixes=hypervisor != "xen", cards=enis)
