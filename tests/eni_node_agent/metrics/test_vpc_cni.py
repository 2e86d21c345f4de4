from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from eni_crds.nodeippool import EniRole, Mode, PolicyValue, Supply
from eni_crds.nodeippool import Family as AddressFamily
from eni_crds.vpc_cni_metrics import SHAPES
from eni_node_agent.metrics import vpc_cni
from eni_node_agent.metrics.vpc_cni import Counts, Losses, Pool
from eni_testing.supplies import eni, supply

SINGLE = ["10.0.1.4", "10.0.1.5"]
PREFIX = "10.0.2.16/28"


def values(pool: Pool, counts: Counts | None = None) -> dict[str, dict[tuple[str, ...], float]]:
    """Returns by name, without ``awscni_``, the value by the labels' values."""
    found = vpc_cni.families(pool, counts or Counts(), "1.2.3")
    return {family.name: {each.labels: each.value for each in family.samples} for family in found}


def pool(seen: Supply | None, *assigned: str) -> Pool:
    return Pool(seen, assigned, {"success": 4}, is_marking=True, is_starting=False)


def in_mode(seen: Supply, mode: Mode) -> Supply:
    return seen.replace(policy={"mode": PolicyValue(value=mode.value, origin="pool")})


def test_counts_what_is_there() -> None:
    seen = supply(eni(0, addresses=SINGLE), eni(1, prefixes=[PREFIX]), eni(2, role=EniRole.TRUNK))
    found = values(pool(seen, "10.0.1.4", "10.0.2.17"))
    totals = {name: found[name][()] for name in ("eni_allocated", "total_ip_addresses", "total_ipv4_prefixes")}
    assert totals == {"eni_allocated": 2, "total_ip_addresses": 18, "total_ipv4_prefixes": 1}
    assert found["assigned_ip_addresses"] == {(): 2}
    assert found["assigned_ip_per_eni"] == {(eni(0).id,): 1, (eni(1).id,): 1}


def test_single_addresses_are_counted_together_and_prefixes_each() -> None:
    seen = supply(eni(0, addresses=SINGLE, prefixes=[PREFIX, "10.0.2.32/28"]))
    found = values(pool(seen, "10.0.1.4", "10.0.1.5", "10.0.2.17"))
    assert found["assigned_ip_per_cidr"] == {("10.0.0.0/16",): 2, (PREFIX,): 1, ("10.0.2.32/28",): 0}


def test_of_a_pod_with_both_families_one_address_is_counted() -> None:
    both = eni(0, addresses=SINGLE).replace(ipv6_prefixes=["2001:db8:0:0:1::/80"])
    dual = supply(both).replace(families=[AddressFamily.IPV4, AddressFamily.IPV6])
    held = ("10.0.1.4", "2001:db8:0:0:1::7")
    assert values(pool(dual, *held))["assigned_ip_addresses"] == {(): 1}
    assert values(pool(dual, *held))["assigned_ip_per_cidr"][("2001:db8:0:0:1::/80",)] == 1
    alone = dual.replace(families=[AddressFamily.IPV6])
    assert values(pool(alone, held[1]))["assigned_ip_per_eni"] == {(eni(0).id,): 1}


def test_the_series_of_a_cidr_goes_with_it() -> None:
    gone = values(pool(supply(eni(0, addresses=SINGLE)), "10.0.2.17"))
    assert set(gone["assigned_ip_per_cidr"]) == {("10.0.0.0/16",)}


@pytest.mark.parametrize(("mode", "most"), [(Mode.SECONDARY, 27), (Mode.PREFIX, 27 * 16), (Mode.AUTO, 27 * 16)])
def test_the_most_addresses_follow_the_mode(mode: Mode, most: int) -> None:
    found = values(pool(in_mode(supply(eni(0)), mode)))
    assert (found["eni_max"], found["ip_max"]) == ({(): 3}, {(): most})


def test_what_others_attached_takes_room() -> None:
    assert values(pool(supply(eni(0), eni(1, role=EniRole.UNMANAGED))))["eni_max"] == {(): 2}


def test_without_a_supply_everything_is_zero() -> None:
    found = values(pool(None))
    assert {found[name][()] for name in ("eni_max", "ip_max", "eni_allocated", "total_ip_addresses")} == {0}
    assert found["assigned_ip_per_eni"] == found["assigned_ip_per_cidr"] == {}


def test_counters_are_counted() -> None:
    counts = Counts(adds=7, dels=Counter(PodDeleted=2, SetupNSFailed=1), refusals=3, setup_failures=4)
    found = values(pool(None), counts)
    assert found["add_ip_req_count"] == {(): 7}
    assert found["del_ip_req_count"] == {("PodDeleted",): 2, ("SetupNSFailed",): 1}
    assert found["no_available_ip_addresses"] == {(): 3}
    assert found["ipamd_error_count"] == {("increaseIPPoolsetupENIFailed",): 4}
    assert found["connmark_reconcile_total"] == {("success",): 4, ("error",): 0}


def test_an_eni_taken_from_under_pods_is_counted_once() -> None:
    losses = Losses()
    losses.see(supply(eni(0), eni(1, addresses=SINGLE), eni(2, prefixes=[PREFIX])), [])
    rest = supply(eni(0))
    for _ in range(3):
        losses.see(rest, [*SINGLE, "10.0.2.20"])
    assert (losses.enis, losses.addresses) == (2, 3)


def test_an_eni_that_leaves_without_pods_is_no_loss() -> None:
    losses = Losses()
    losses.see(supply(eni(0), eni(1, addresses=SINGLE)), [])
    losses.see(supply(eni(0)), [])
    assert (losses.enis, losses.addresses) == (0, 0)


def test_the_agent_serves_what_the_contract_says_it_does() -> None:
    registry = CollectorRegistry()
    vpc_cni.StartTimes(registry)
    histograms = {metric.name.removeprefix("awscni_") for metric in registry.collect()}
    assert set(values(pool(None))) | histograms == {n for n, shape in SHAPES.items() if "agent" in shape.served_by}


@given(st.lists(st.sampled_from([f"10.0.2.{last}" for last in range(64)]), unique=True))
def test_the_series_of_cidrs_add_up_to_the_assigned(assigned: list[str]) -> None:
    seen = supply(eni(0, prefixes=["10.0.2.0/28", "10.0.2.16/28"]), eni(1, prefixes=["10.0.2.32/28", "10.0.2.48/28"]))
    found = values(pool(seen, *assigned))
    assert sum(found["assigned_ip_per_cidr"].values()) == sum(found["assigned_ip_per_eni"].values()) == len(assigned)
