"""The worked figures of docs/ipam-math.md, each row a case: a person's table cannot drift from the code."""

from pathlib import Path
from typing import Any

import pytest

from eni_testing.pool_simulation import FakePool, instance_of
from eni_testing.worlds import policy_of

DOCUMENT = Path(__file__).parents[3] / "docs" / "ipam-math.md"


def rows() -> list[dict[str, str]]:
    """Returns every row of the tables that begin with an instance type, by column."""
    found: list[dict[str, str]] = []
    header: list[str] = []
    for line in DOCUMENT.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if cells[0] == "type":
            header = cells
        elif not line.startswith("|"):
            header = []
        elif header and not cells[0].startswith("-"):
            found.append(dict(zip(header, cells, strict=True)))
    return found


ROWS = rows()


def settled(row: dict[str, str]) -> FakePool:
    names = ("warmENIs", "warmPrefixes", "warmIPs", "minimumIPs")
    targets: dict[str, Any] = {name: int(row[name]) for name in names if row[name] != "-"}
    pool = FakePool(instance_of(row["type"]), policy_of(mode=row["mode"], **targets))
    for number in range(int(row["pods"])):
        pool.agent.add_pod(f"pod-{number}")
    pool.settle()
    return pool


def test_the_document_has_its_tables() -> None:
    assert len(ROWS) == 57
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
