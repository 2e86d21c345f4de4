"""The shapes of VPC CNI's pages, held to files: a tool that reads them must not notice the difference."""

import json
from pathlib import Path

import pytest

from eni_crds.nodeippool import EniRole, PolicyValue
from eni_node_agent.introspection import vpc_cni
from eni_node_agent.introspection.vpc_cni import Held
from eni_node_agent.settings import Settings
from eni_testing.supplies import eni, supply

GOLDEN = Path(__file__).parent / "golden"
SUPPLY = supply(
    eni(0, addresses=["10.0.1.4", "10.0.1.5"]),
    eni(1, prefixes=["10.0.1.48/28"], excluded="subnet-1 is out of use"),
    eni(3, card=2, role=EniRole.EFA, addresses=["10.0.3.7"]),
    eni(2, role=EniRole.TRUNK),
)
HELD = [
    Held("10.0.1.4", "eni", "default", "web-0", assigned_at=1_700_000_000.0),
    Held("10.0.1.50", "eni", "default", "web-1", assigned_at=1_700_000_001.0),
    Held("10.0.1.51", released_at=1_700_000_002.0),
]


def held_to(name: str, body: object) -> None:
    assert body == json.loads((GOLDEN / f"{name}.json").read_text())


def test_enis() -> None:
    held_to("enis", vpc_cni.enis(SUPPLY, HELD))


def test_before_the_first_supply_there_is_a_card_without_enis() -> None:
    assert vpc_cni.enis(None, []) == {"0": {"TotalIPs": 0, "AssignedIPs": 0, "ENIs": {}}}


def test_network_settings() -> None:
    settings = Settings(node_name="node-a", snat_ports="hashrandom", exclude_snat_cidrs=("192.168.0.0/16",))
    held_to("networkutils-env-settings", vpc_cni.network_settings(settings))


def test_pool_settings() -> None:
    policy = {"warmIPs": PolicyValue(value=5, origin="environment"), "warmENIs": PolicyValue(value=1, origin="pool")}
    seen = SUPPLY.replace(policy=policy, eni_config="zone-a")
    held_to("ipamd-env-settings", vpc_cni.pool_settings(seen))


@pytest.mark.parametrize(("name", "expected"), [(None, "default"), ("zone-a", "zone-a")])
def test_the_eni_config_is_a_name(name: str | None, expected: str) -> None:
    assert vpc_cni.eni_config(SUPPLY.replace(eni_config=name)) == expected


def test_an_unknown_path_lists_the_four() -> None:
    held_to("commands", vpc_cni.commands())


def test_an_address_that_is_held_and_not_in_supply_is_on_no_eni() -> None:
    found = vpc_cni.enis(supply(eni(0, addresses=["10.0.1.4"])), [Held("10.9.9.9", "eni", assigned_at=0.0)])
    assert "10.9.9.9" not in json.dumps(found)
    assert found["0"]["AssignedIPs"] == 0
