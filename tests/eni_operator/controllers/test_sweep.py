"""Which ENIs are leaked: a law for the decision, and the sweep itself in virtual time."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eni_crds.names import TAG_CLUSTER, TAG_INSTANCE, TAG_NO_MANAGE
from eni_operator.controllers.kube import KubeObject
from eni_operator.controllers.sweep import Claims, Sweep, SweepSeams, is_candidate, sweep_decision
from eni_operator.domain.eni import Attachment, AttachmentId, AttachmentState, Eni, EniId, InstanceId, SubnetId
from eni_operator.ec2.errors import BusyError, Ec2Error, NotFoundError, ThrottledError

NODE, DEAD = "i-0aaaaaaaaaaaaaaaa", "i-0bbbbbbbbbbbbbbbb"


def loose(name: str = "eni-1", instance: str = DEAD, **changes: Any) -> Eni:
    values: dict[str, Any] = {
        "id": EniId(name),
        "mac": "02:00:00:00:00:01",
        "subnet_id": SubnetId("subnet-1"),
        "primary_ip": "10.0.0.4",
        "description": f"aws-K8S-{instance}",
        "tags": {TAG_INSTANCE: instance},
    }
    return Eni(**{**values, **changes})


def attachment() -> Attachment:
    return Attachment(AttachmentId("a"), InstanceId(DEAD), 1, 0, AttachmentState.ATTACHING, delete_on_termination=True)


@pytest.mark.parametrize(
    ("eni", "cluster", "expected"),
    [
        (loose(), "", True),
        (loose(attachment=attachment()), "", False),
        (loose(tags={}), "", False),
        (loose(description="made by hand"), "", False),
        (loose(tags={TAG_INSTANCE: DEAD, TAG_NO_MANAGE: "true"}), "", False),
        (loose(tags={TAG_INSTANCE: DEAD, TAG_NO_MANAGE: ""}), "", False),
        (loose(), "mine", False),
        (loose(tags={TAG_INSTANCE: DEAD, TAG_CLUSTER: "other"}), "mine", False),
        (loose(tags={TAG_INSTANCE: DEAD, TAG_CLUSTER: "mine"}), "mine", True),
    ],
)
def test_only_what_is_loose_and_ours_is_a_candidate(eni: Eni, cluster: str, *, expected: bool) -> None:
    assert is_candidate(eni, cluster) is expected


@pytest.mark.parametrize(
    ("instance", "age", "deleted"),
    [(DEAD, 0, False), (DEAD, 299, False), (DEAD, 300, True), (NODE, 3599, False), (NODE, 3600, True)],
)
def test_an_eni_of_a_node_is_left_to_its_operator_for_an_hour(instance: str, age: float, *, deleted: bool) -> None:
    eni = loose(instance=instance)
    decision = sweep_decision({eni.id: 1000.0}, [eni], Claims(instances={NODE}), "", 1000 + age)
    assert (decision.delete == (eni,)) is deleted
    assert decision.remember == ({} if deleted else {eni.id: 1000.0})


def test_what_a_pool_names_is_never_deleted() -> None:
    claims = Claims()
    claims.add_pool({"status": {"supply": {"instance": {"id": NODE, "vpcID": "vpc-1"}, "enis": [{"id": "eni-1"}]}}})
    assert sweep_decision({EniId("eni-1"): 0.0}, [loose()], claims, "", 1e6).delete == ()
    assert (claims.instances, claims.vpcs) == ({NODE}, {"vpc-1"})


ENIS = st.builds(
    loose,
    name=st.sampled_from([f"eni-{n}" for n in range(5)]),
    instance=st.sampled_from([NODE, DEAD]),
    attachment=st.one_of(st.none(), st.just(attachment())),
    description=st.sampled_from([f"aws-K8S-{DEAD}", "", "ELB app/x"]),
    tags=st.dictionaries(
        st.sampled_from([TAG_INSTANCE, TAG_CLUSTER, TAG_NO_MANAGE]), st.sampled_from([DEAD, NODE, "mine", "true"])
    ),
)


@given(
    looks=st.lists(st.tuples(st.floats(0, 4000), st.lists(ENIS, max_size=5)), max_size=8),
    named=st.sets(st.sampled_from(["eni-0", "eni-1"])),
    cluster=st.sampled_from(["", "mine"]),
)
def test_nothing_attached_foreign_named_or_seen_once_is_ever_deleted(
    looks: list[tuple[float, list[Eni]]], named: set[str], cluster: str
) -> None:
    now, seen, sightings = 0.0, dict[EniId, float](), dict[EniId, float]()
    for seconds, page in looks:
        now += seconds
        decision = sweep_decision(seen, page, Claims(enis=named, instances={NODE}), cluster, now)
        for eni in decision.delete:
            assert eni.attachment is None
            assert TAG_NO_MANAGE not in eni.tags
            assert eni.description.startswith("aws-K8S-")
            assert eni.id not in named
            assert cluster in ("", eni.tags.get(TAG_CLUSTER))
            assert now - sightings[eni.id] >= 300
        for eni in page:
            sightings.setdefault(eni.id, now)
        seen = dict(decision.remember)


@dataclass
class Cloud:
    """EC2 as far as a sweep uses it."""

    enis: list[Eni] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    refuse: Ec2Error | None = None
    page: int = 2

    async def available_pages(self, vpc_id: str, _cluster: str) -> AsyncIterator[list[Eni]]:
        assert vpc_id == "vpc-1"
        enis = list(self.enis)
        for start in range(0, len(enis), self.page):
            yield enis[start : start + self.page]

    async def delete_eni(self, eni_id: EniId) -> None:
        if self.refuse is not None:
            raise self.refuse
        self.deleted.append(eni_id)
        self.enis = [eni for eni in self.enis if eni.id != eni_id]


class Cluster:
    """Its nodes and pools; one node has a pool."""

    async def pages(self, _plural: str) -> AsyncIterator[list[KubeObject]]:
        yield [{"metadata": {"name": "a"}, "spec": {"providerID": f"aws:///us-east-1a/{NODE}"}}]

    async def pools(self) -> AsyncIterator[list[KubeObject]]:
        yield [{"status": {"supply": {"instance": {"id": NODE, "vpcID": "vpc-1"}, "enis": []}}}]

    async def apply_eniconfig_status(self, config: KubeObject) -> KubeObject:
        return config


class Sweeping:
    def __init__(self, enis: Sequence[Eni]) -> None:
        self.cloud, self.now, self.leads = Cloud(list(enis)), 0.0, True
        seams = SweepSeams(clock=lambda: self.now, sleep=self._sleep, chance=lambda: 0.5, leads=lambda: self.leads)
        cluster = Cluster()
        self.sweep = Sweep(self.cloud, cluster, cluster.pools, "", seams)

    async def _sleep(self, seconds: float) -> None:
        self.now += seconds
        if self.now > 20_000:
            raise EndOfTimeError


class EndOfTimeError(Exception):
    """Enough has been seen."""


async def test_leaked_enis_go_at_the_second_sighting_at_a_measured_pace() -> None:
    run = Sweeping([loose(f"eni-{n}") for n in range(5)])
    await run.sweep.once()
    assert run.cloud.deleted == []
    run.now = 300
    await run.sweep.once()
    assert len(run.cloud.deleted) == 5
    assert run.now == 305


@pytest.mark.parametrize(
    ("refusal", "later"), [(NotFoundError("Delete"), 0), (BusyError("Delete"), 1)], ids=["gone", "in use"]
)
async def test_what_is_gone_is_done_and_what_is_in_use_comes_later(refusal: Ec2Error, later: int) -> None:
    run = Sweeping([loose()])
    await run.sweep.once()
    run.now, run.cloud.refuse = 400, refusal
    await run.sweep.once()
    assert len(run.sweep._seen) == later


async def test_who_leads_no_more_deletes_no_more() -> None:
    run = Sweeping([loose()])
    await run.sweep.once()
    run.now, run.leads = 400, False
    await run.sweep.once()
    assert run.cloud.deleted == []


async def test_an_eni_that_was_gone_meanwhile_is_seen_anew() -> None:
    run = Sweeping([])
    for now, enis in ((0, [loose()]), (3600, []), (7200, [loose()])):
        run.now, run.cloud.enis = now, enis
        await run.sweep.once()
    assert run.cloud.deleted == []


async def test_it_sweeps_hourly_and_sooner_after_a_first_sighting() -> None:
    run = Sweeping([loose("eni-dead"), loose("eni-of-a-node", NODE)])
    moments: list[float] = []
    once = run.sweep.once

    async def note() -> None:
        moments.append(run.now)
        await once()

    run.sweep.once = note  # type: ignore[method-assign]
    with pytest.raises(EndOfTimeError):
        await run.sweep.run()
    assert moments[:4] == [150, 750, 4350, 7950]
    assert run.cloud.deleted == ["eni-dead", "eni-of-a-node"]


async def test_a_refusal_ends_the_sweep_and_nothing_else() -> None:
    run = Sweeping([loose()])
    run.cloud.refuse = ThrottledError("Delete")
    with pytest.raises(EndOfTimeError):
        await run.sweep.run()
    assert run.cloud.deleted == []
