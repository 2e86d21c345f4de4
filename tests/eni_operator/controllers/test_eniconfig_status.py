"""What an ENIConfig says of itself, from the pools that use it."""

from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from eni_crds.eniconfig import ENIConfigStatus
from eni_operator.controllers.eniconfig_status import ENIConfigStatuses, StatusSeams, status_of, use_of
from eni_operator.controllers.kube import KubeError, KubeObject

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC).timestamp()
CONFIG: KubeObject = {"metadata": {"name": "az-a"}, "spec": {"subnet": "subnet-0aaaaaaaaaaaaaaaa"}}


def pool(eniconfig: str | None = "az-a", *subnets: Mapping[str, Any], reason: str = "PoolReady") -> KubeObject:
    supply = {"eniConfig": eniconfig, "subnets": list(subnets)}
    condition = {"type": "Sufficient", "reason": reason, "message": f"because of {reason}"}
    return {"metadata": {"name": "n"}, "status": {"supply": supply, "conditions": [condition]}}


def subnet(name: str = "subnet-a", free: int = 10, **more: str) -> dict[str, Any]:
    return {"id": name, "zone": "us-east-1a", "cidr": "10.0.0.0/24", "free": free, **more}


def status(*pools: KubeObject, config: KubeObject = CONFIG, before: ENIConfigStatus | None = None) -> ENIConfigStatus:
    uses = [use for use in map(use_of, pools) if use is not None and use.eniconfig == "az-a"]
    return status_of(config, uses, before or ENIConfigStatus(), NOW)


def test_nodes_and_subnets_are_counted_over_the_pools_that_use_it() -> None:
    seen = status(
        pool("az-a", subnet(free=30), subnet("subnet-b", 5)), pool("az-a", subnet(free=20)), pool("az-b"), pool(None)
    )
    assert (seen.nodes, seen.subnet_count, seen.free) == (2, 2, 25)
    assert [(s.id, s.free, s.zone, s.cidr) for s in seen.subnets] == [
        ("subnet-a", 20, "us-east-1a", "10.0.0.0/24"),
        ("subnet-b", 5, "us-east-1a", "10.0.0.0/24"),
    ]


def test_the_latest_refusal_ahead_of_us_counts() -> None:
    early, late, past = "2026-03-01T12:01:00Z", "2026-03-01T12:02:00Z", "2026-03-01T11:59:00Z"
    [one] = status(
        pool("az-a", subnet(exhaustedUntil=early, fragmentedUntil=past)), pool("az-a", subnet(exhaustedUntil=late))
    ).subnets
    assert one.exhausted_until == datetime(2026, 3, 1, 12, 2, tzinfo=UTC)
    assert one.fragmented_until is None


@pytest.mark.parametrize(
    ("pools", "expected"),
    [
        ([], ("Unknown", "ENIConfigUnused", "no node uses it, so nobody knows whether it works")),
        ([pool()], ("True", "ENIConfigReady", "works for 1 node")),
        ([pool(reason="SubnetFull")], ("True", "ENIConfigReady", "works for 1 node")),
        (
            [pool(), pool(reason="WrongZone"), pool(reason="UnknownSubnet"), pool(reason="UnknownSubnet")],
            ("False", "UnknownSubnet", "fails for 2 of 4 nodes: because of UnknownSubnet"),
        ),
        ([pool(reason="UnknownSecurityGroup")], ("False", "UnknownSecurityGroup", None)),
    ],
)
def test_it_is_ready_when_it_works_for_every_node(
    pools: list[KubeObject], expected: tuple[str, str, str | None]
) -> None:
    [condition] = status(*pools).conditions
    assert (condition.type, condition.status, condition.reason) == ("Ready", *expected[:2])
    assert expected[2] in (None, condition.message)


def test_one_that_cannot_be_read_says_where() -> None:
    [condition] = status(pool(), config={"metadata": {"name": "az-a"}, "spec": {"subnet": "my-subnet"}}).conditions
    assert (condition.status, condition.reason) == ("False", "ENIConfigInvalid")
    assert "spec.subnet" in condition.message


def test_the_time_of_the_change_stays_while_the_status_does() -> None:
    first = status(pool())
    later = status_of(CONFIG, [], first, NOW + 60)
    again = status_of(CONFIG, [use for use in [use_of(pool())] if use], first, NOW + 60)
    assert again.conditions[0].last_transition_time == first.conditions[0].last_transition_time
    assert later.conditions[0].last_transition_time > first.conditions[0].last_transition_time


class Api:
    """ENIConfigs whose status is written, and pools."""

    def __init__(self, *pools: KubeObject) -> None:
        self.configs: dict[str, KubeObject] = {"az-a": dict(CONFIG), "az-b": {"metadata": {"name": "az-b"}, "spec": {}}}
        self.all = list(pools)
        self.writes: list[str] = []
        self.refuse: set[str] = set()

    async def pages(self, _plural: str) -> AsyncIterator[list[KubeObject]]:
        yield self.all

    async def apply_eniconfig_status(self, config: KubeObject) -> KubeObject:
        name = config["metadata"]["name"]
        if name in self.refuse:
            raise KubeError("apply", 409, "conflict")
        self.writes.append(name)
        self.configs[name] = {**self.configs[name], "status": config["status"]}
        return config

    def statuses(self) -> ENIConfigStatuses:
        async def sleep(_seconds: float) -> None:
            return

        return ENIConfigStatuses(
            self, lambda: self.configs, lambda: self.pages(""), StatusSeams(lambda: NOW, sleep), every_seconds=10
        )


async def test_only_what_differs_is_written() -> None:
    api = Api(pool("az-a", subnet()))
    statuses = api.statuses()
    await statuses.once()
    assert api.writes == ["az-a", "az-b"]
    await statuses.once()
    assert api.writes == ["az-a", "az-b"]
    api.all.append(pool("az-b"))
    await statuses.once()
    assert api.writes == ["az-a", "az-b", "az-b"]


async def test_one_refused_does_not_keep_the_others() -> None:
    api = Api(pool())
    api.refuse = {"az-a"}
    await api.statuses().once()
    assert api.writes == ["az-b"]
