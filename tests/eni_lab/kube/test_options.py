"""Where a laboratory's nodes go."""

import pytest

from eni_lab.lab import Options
from eni_lab.vpc_layout import ZONES

A, B = ZONES


@pytest.mark.parametrize(
    ("options", "placement"),
    [
        (Options(nodes=3), [("m5.large", A), ("m5.large", B), ("m5.large", A)]),
        (Options(nodes=2, zones=(B,)), [("m5.large", B), ("m5.large", B)]),
        (
            Options(nodes=3, instance_type=("m5.large", "t3.medium")),
            [("m5.large", A), ("t3.medium", B), ("m5.large", A)],
        ),
        (Options(nodes=0), []),
    ],
    ids=["zones in turn", "one zone", "types in turn", "none"],
)
def test_nodes_take_types_and_zones_in_turn(options: Options, placement: list[object]) -> None:
    assert list(options.placement()) == placement
