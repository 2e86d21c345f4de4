"""The public table of instance types, read from the data file beside this module.

Counterpart: ``extract_instance_types`` writes the file; ``engine`` serves the table.
"""

import json
from importlib.resources import files

from eni_lab.aws.engine.instance_type import InstanceType


def load_instance_types() -> dict[str, InstanceType]:
    """Returns all types by name."""
    rows = json.loads(files("eni_lab.aws").joinpath("data", "instance_types.json").read_text())
    return {row[0]: _instance_type(*row) for row in rows}


def _instance_type(  # noqa: PLR0913, PLR0917, a row of the table has these columns
    name: str,
    hypervisor: str,
    vcpus: int,
    memory_mib: int,
    architectures: str,
    maximum_enis: int,
    ipv4_per_eni: int,
    ipv6_per_eni: int,
    efa: int,
    default_card: int,
    cards: list[int],
) -> InstanceType:
    return InstanceType(
        name,
        hypervisor,
        vcpus,
        memory_mib,
        tuple(architectures.split("/")),
        maximum_enis,
        ipv4_per_eni,
        ipv6_per_eni,
        bool(efa),
        default_card,
        tuple(cards),
    )
