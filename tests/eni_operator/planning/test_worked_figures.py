"""The worked figures and decisions of docs/ipam-math.md, each row a case: a table cannot drift from the code."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from eni_operator.domain.actions import Action, AssignAddresses, AssignPrefixes, CreateEni
from eni_operator.domain.eni import Eni
from eni_operator.domain.instance import Instance, InstanceLimits
from eni_operator.domain.pool import Usage
from eni_operator.planning.plan import plan
from eni_testing.instances import attached, cidrs_of, instance_of
from eni_testing.pool_simulation import FakePool
from eni_testing.worlds import policy_of, world_of

DOCUMENT = Path(__file__).parents[3] / "docs" / "ipam-math.md"
TARGETS = ("warmENIs", "warmPrefixes", "warmIPs", "minimumIPs", "maximumPods")
ORDINALS = ("first", "second", "third", "fourth")


def rows(first: str) -> list[dict[str, str]]:
    """Returns every row of the tables whose first column is called so, by column."""
    found: list[dict[str, str]] = []
    header: list[str] = []
    for line in DOCUMENT.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if cells[0] == first:
            header = cells
        elif not line.startswith("|"):
            header = []
        elif header and not cells[0].startswith("-"):
            found.append(dict(zip(header, cells, strict=True)))
    return found


ROWS = rows("type")


def targets(row: dict[str, str]) -> dict[str, Any]:
    """Returns the targets of a row that are set."""
    return {name: int(row[name]) for name in TARGETS if row.get(name, "-") != "-"}


def ours(row: dict[str, str]) -> str:
    """Returns what the row says of us; a difference from VPC CNI has a reason."""
    assert (row["ours"] == "same") or row["why"]
    return row["VPC CNI"] if row["ours"] == "same" else row["ours"]


def name(row: dict[str, str]) -> str:
    return " ".join(value for key, value in row.items() if key != "why")


def settled(row: dict[str, str]) -> FakePool:
    pool = FakePool(instance_of(row["type"]), policy_of(mode=row["mode"], **targets(row)))
    for number in range(int(row["pods"])):
        pool.agent.add_pod(f"pod-{number}")
    pool.settle()
    return pool


def test_the_document_has_its_tables() -> None:
    assert len(ROWS) == 57
    tables = ("grows when", "short and over", "leaves", "growth goes", "mode changes")
    assert [len(rows(first)) for first in tables] == [19, 9, 8, 4, 5]
    assert sum(1 for row in ROWS[:36] if row["VPC CNI: ENIs / addresses"] == "same") == 35


@pytest.mark.parametrize("row", ROWS, ids=lambda row: " ".join(list(row.values())[:7]))
def test_a_worked_figure_is_what_the_planner_comes_to(row: dict[str, str]) -> None:
    pool = settled(row)
    assert not pool.agent.pending
    assert (len(pool.ec2.enis), pool.held) == (int(row["ENIs"]), int(row["addresses"]))
    assert pool.held - int(row["pods"]) == int(row["unused"])


def test_cooling_addresses_are_held_beside_the_warm_ones() -> None:
    pool = FakePool(instance_of("c5.xlarge"), policy_of(warmIPs=5))
    for number in range(10):
        pool.agent.add_pod(f"pod-{number}")
    pool.settle()
    for number in range(5):
        pool.agent.delete_pod(f"pod-{number}", pool.now)
    pool.settle()
    assert pool.held == 15
    pool.now += pool.agent.cooldown
    pool.settle()
    assert pool.held == 10


def holding(index: int, words: str, instance: Instance, mode: str) -> tuple[Eni, int]:
    """Returns the ENI a table tells of as ``efa 1/2``, and its used addresses."""
    *type_, counts = words.split()
    used, held = map(int, counts.split("/"))
    addresses, prefixes = (held, 0) if mode == "secondary" else (0, held // 16)
    eni = attached(instance, index, addresses=addresses, prefixes=prefixes)
    return replace(eni, interface_type=type_[0] if type_ else "interface"), used


def usage_of(enis: list[tuple[Eni, int]], *, cooling: int = 0) -> Usage:
    """Returns the report of an agent whose pods have the first addresses of each ENI."""
    idle: list[str] = []
    for eni, used in enis:
        busy = used + (cooling if eni.is_primary else 0)
        idle += cidrs_of(eni)[busy if eni.addresses else -(-busy // 16) :]
    return Usage(assigned=sum(used for _, used in enis), cooling=cooling, idle=tuple(idle), reported=True)


def grown(actions: tuple[Action, ...]) -> int:
    """Counts the slots that are filled."""
    growth = [a for a in actions if isinstance(a, AssignAddresses | AssignPrefixes | CreateEni)]
    return sum(a.addresses + a.prefixes if isinstance(a, CreateEni) else a.count for a in growth)


def instance_with(slots: int, enis: int = 4) -> Instance:
    return replace(instance_of("c5.xlarge"), limits=InstanceLimits(enis, slots + 1, prefixes=True), maximum_pods=500)


@pytest.mark.parametrize("row", rows("grows when"), ids=name)
def test_the_pool_grows_when_the_table_says_so(row: dict[str, str]) -> None:
    instance, mode = instance_with(int(row["slots"]), int(row["ENIs"])), row["grows when"]
    enis = [holding(0, f"{row['used']}/{row['held']}", instance, mode)]
    world = world_of("c5.xlarge", enis[0][0], instance=instance, usage=usage_of(enis, cooling=int(row["cooling"])))
    decision = plan(world, policy_of(mode=mode, **targets(row)), 0.0, "nonce")
    assert bool(grown(decision.actions)) == (ours(row) == "yes")


@pytest.mark.parametrize("row", rows("short and over"), ids=name)
def test_the_pool_is_as_far_from_its_target_as_the_table_says(row: dict[str, str]) -> None:
    instance, mode = instance_with(14), row["short and over"]
    enis = [holding(index, words, instance, mode) for index, words in enumerate(row["ENIs"].split(", "))]
    world = world_of("c5.xlarge", *(eni for eni, _ in enis), instance=instance, usage=usage_of(enis))
    decision = plan(world, policy_of(mode=mode, releaseAfterSeconds=0, **targets(row)), 0.0, "nonce")
    over = sum(len(handovers) for handovers in decision.releasing.values())
    assert f"{grown(decision.actions)} / {over}" == ours(row)


@pytest.mark.parametrize("row", rows("leaves"), ids=name)
def test_the_enis_leave_that_the_table_names(row: dict[str, str]) -> None:
    instance = instance_with(14, 6)
    enis = [holding(index, words, instance, "secondary") for index, words in enumerate(row["ENIs"].split(", "))]
    world = world_of("c5.xlarge", *(eni for eni, _ in enis), instance=instance, usage=usage_of(enis))
    decision = plan(world, policy_of(releaseAfterSeconds=0, **targets(row)), 0.0, "nonce")
    leaving = [ORDINALS[index] for index, (eni, _) in enumerate(enis) if eni.id in decision.draining]
    assert " and ".join(leaving or ["none"]) == ours(row)


@pytest.mark.parametrize("row", rows("growth goes"), ids=name)
def test_growth_goes_where_the_table_says(row: dict[str, str]) -> None:
    instance = instance_with(14)
    used = 14 if row["primary"] == "full" else 0
    primary, _ = holding(0, f"{used}/{used}", instance, "secondary")
    world = world_of(
        "c5.xlarge",
        primary,
        instance=instance,
        usage=Usage(assigned=used, reported=True),
        excluded={primary.id: "custom networking"} if row["primary"] == "excluded" else {},
        unschedulable=row["cordoned"] == "yes",
    )
    actions = plan(world, policy_of(**targets(row)), 0.0, "nonce").actions
    where = {CreateEni: "new ENI with", AssignAddresses: "on the primary"}
    told = [(where[type(action)], grown((action,))) for action in actions]
    texts = [f"{place} {count}" if place.startswith("new") else f"{count} {place}" for place, count in told]
    assert "".join(texts or ["nothing"]) == ours(row)


def test_the_pool_holds_what_the_table_says_as_the_mode_changes_under_a_pod() -> None:
    pool = FakePool(instance_of("p3dn.24xlarge"), policy_of(mode="secondary"))
    pool.agent.add_pod("pod-0")
    for number, row in enumerate(rows("mode changes")):
        pool.policy = policy_of(mode=row["mode changes"].split(",")[0])
        if "replaced" in row["mode changes"]:
            pool.agent.delete_pod(next(iter(pool.agent.assigned)), pool.now)
            pool.agent.add_pod(f"pod-{number + 1}")
            pool.now += pool.agent.cooldown
        pool.settle()
        assert pool.held == int(ours(row)), row["mode changes"]
