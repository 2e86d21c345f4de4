"""What the executor does with a plan's actions, and with EC2's answers to them."""

import asyncio
from collections.abc import Callable

import pytest

from eni_operator.domain.actions import Action, AssignAddresses, AttachEni, CreateEni, RemoveEni, Unassign
from eni_operator.domain.eni import Attachment, AttachmentId, AttachmentState, Eni, EniId, InstanceId, SubnetId
from eni_operator.ec2.api import Assigned, EniRequest
from eni_operator.ec2.errors import (
    BusyError,
    DeniedError,
    Ec2Error,
    Ec2UnavailableError,
    NotAssignedError,
    NotFoundError,
    ThrottledError,
)
from eni_operator.execution.executor import Executor
from eni_operator.inventory.instance import InstanceInventory
from eni_operator.inventory.region import Region

ONE, TWO = EniId("eni-1"), EniId("eni-2")
SUBNET = SubnetId("subnet-1")


class ScriptedEc2:
    """Answers at once, or fails as scripted, one error for each call of an API; holds calls while ``gate`` is shut."""

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []
        self.errors: dict[str, list[Ec2Error]] = {}
        self.gate = asyncio.Event()
        self.gate.set()

    async def _call(self, name: str, *arguments: object) -> None:
        self.calls.append((name, *arguments))
        await self.gate.wait()
        if self.errors.get(name):
            raise self.errors[name].pop(0)

    async def create_eni(self, request: EniRequest) -> Eni:
        await self._call("create", request.client_token)
        return Eni(ONE, "02:00:00:00:00:01", request.subnet_id, "10.0.0.4")

    async def attach_eni(self, eni_id: EniId, _instance_id: InstanceId, device_index: int) -> AttachmentId:
        await self._call("attach", eni_id, device_index)
        return AttachmentId("eni-attach-1")

    async def set_delete_on_termination(self, eni_id: EniId, _attachment_id: AttachmentId) -> None:
        await self._call("modify", eni_id)

    async def detach_eni(self, attachment_id: AttachmentId) -> None:
        await self._call("detach", attachment_id)

    async def delete_eni(self, eni_id: EniId) -> None:
        await self._call("delete", eni_id)

    async def assign(self, eni_id: EniId, *, addresses: int = 0, prefixes: int = 0) -> Assigned:
        await self._call("assign", eni_id, addresses, prefixes)
        return Assigned(addresses=tuple(f"10.0.1.{n}" for n in range(addresses)))

    async def unassign(self, eni_id: EniId, *, addresses: tuple[str, ...] = (), prefixes: tuple[str, ...] = ()) -> None:
        await self._call("unassign", eni_id, *addresses, *prefixes)


class Bench:
    """An executor on a scripted EC2 and a virtual clock."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []
        self.changes = 0
        self.ec2 = ScriptedEc2()
        region = Region(self.ec2, self.clock)  # type: ignore[arg-type] # an executor only writes
        self.inventory = InstanceInventory(
            InstanceId("i-1"), region, clock=self.clock, jitter=lambda: 1.0, resync_seconds=1800
        )
        self.executor = Executor(
            self.inventory,
            region.ec2,
            clock=self.clock,
            sleep=self.sleep,
            jitter=lambda: 1.0,
            changed=self._changed,
        )

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    def _changed(self) -> None:
        self.changes += 1

    def holds(self, eni_id: EniId, *addresses: str, attached: bool = True) -> Eni:
        tie = Attachment(AttachmentId("eni-attach-9"), InstanceId("i-1"), 1, 0, AttachmentState.ATTACHED, True)  # noqa: FBT003 - a value
        eni = Eni(eni_id, "02:00:00:00:00:09", SUBNET, "10.0.0.9", (), addresses, attachment=tie if attached else None)
        self.inventory.attachments.created(eni)
        return eni

    def believed(self, eni_id: EniId) -> Eni | None:
        return self.inventory.attachments.get(eni_id)

    async def perform(self, *actions: Action) -> None:
        self.executor.start(actions)
        await self.executor.settle()


@pytest.fixture
async def bench() -> Bench:
    return Bench()


def creation(device: int = 1) -> CreateEni:
    return CreateEni(device, SUBNET, (), addresses=0, prefixes=0, client_token="t", tags={})


async def test_a_new_eni_takes_three_calls(bench: Bench) -> None:
    await bench.perform(creation())
    assert bench.ec2.calls == [("create", "t"), ("attach", ONE, 1), ("modify", ONE)]
    eni = bench.believed(ONE)
    assert eni is not None
    assert eni.is_attached
    assert eni.attachment is not None
    assert eni.attachment.delete_on_termination


async def test_an_eni_that_ec2_does_not_know_yet_is_asked_for_again(bench: Bench) -> None:
    bench.ec2.errors["attach"] = [NotFoundError("AttachNetworkInterface")] * 2
    await bench.perform(creation())
    assert bench.slept == [0.3, 0.6]
    assert not bench.executor.failures


async def test_an_eni_that_cannot_be_attached_stays_in_the_belief_for_the_next_plan(bench: Bench) -> None:
    bench.ec2.errors["attach"] = [DeniedError("AttachNetworkInterface")]
    await bench.perform(creation())
    eni = bench.believed(ONE)
    assert eni is not None
    assert eni.attachment is None
    await bench.perform(AttachEni(ONE, 1))
    assert bench.ec2.calls[-2:] == [("attach", ONE, 1), ("modify", ONE)]


async def test_enis_are_worked_on_side_by_side_and_none_twice_at_a_time(bench: Bench) -> None:
    bench.holds(ONE)
    bench.holds(TWO)
    bench.ec2.gate.clear()
    bench.executor.start([AssignAddresses(ONE, 2)])
    bench.executor.start([AssignAddresses(ONE, 3), AssignAddresses(TWO, 1)])
    await asyncio.sleep(0)
    assert bench.ec2.calls == [("assign", ONE, 2, 0), ("assign", TWO, 1, 0)]
    bench.ec2.gate.set()
    await bench.executor.settle()
    assert bench.changes >= 2


async def test_a_device_index_is_not_used_twice_at_a_time(bench: Bench) -> None:
    bench.holds(TWO, attached=False)
    bench.ec2.gate.clear()
    bench.executor.start([creation(device=1)])
    bench.executor.start([AttachEni(TWO, 1), creation(device=1), creation(device=2)])
    await asyncio.sleep(0)
    assert [call[0] for call in bench.ec2.calls] == ["create", "create"]
    await bench.executor.close()


async def test_actions_on_one_eni_keep_their_order_and_stop_at_the_first_failure(bench: Bench) -> None:
    bench.holds(ONE, "10.0.1.7")
    bench.ec2.errors["unassign"] = [ThrottledError("UnassignPrivateIpAddresses")]
    await bench.perform(Unassign(ONE, ("10.0.1.7",), ()), AssignAddresses(ONE, 1))
    assert [call[0] for call in bench.ec2.calls] == ["unassign"]


async def test_an_address_is_out_of_the_belief_before_ec2_is_asked_to_take_it(bench: Bench) -> None:
    bench.holds(ONE, "10.0.1.7", "10.0.1.8")
    bench.ec2.gate.clear()
    bench.executor.start([Unassign(ONE, ("10.0.1.7",), ())])
    await asyncio.sleep(0)
    eni = bench.believed(ONE)
    assert eni is not None
    assert eni.addresses == ("10.0.1.8",)
    await bench.executor.close()


@pytest.mark.parametrize(
    ("error", "addresses"),
    [
        (ThrottledError("UnassignPrivateIpAddresses"), ("10.0.1.8", "10.0.1.7")),
        (Ec2UnavailableError("UnassignPrivateIpAddresses"), ("10.0.1.8",)),
    ],
    ids=["refused: it is still ours", "no answer: it may be gone"],
)
async def test_an_address_returns_only_when_ec2_surely_kept_it(
    bench: Bench, error: Ec2Error, addresses: tuple[str, ...]
) -> None:
    bench.holds(ONE, "10.0.1.7", "10.0.1.8")
    bench.ec2.errors["unassign"] = [error]
    await bench.perform(Unassign(ONE, ("10.0.1.7",), ()))
    eni = bench.believed(ONE)
    assert eni is not None
    assert eni.addresses == addresses


async def test_what_is_given_back_already_does_not_keep_the_rest(bench: Bench) -> None:
    bench.holds(ONE, "10.0.1.7", "10.0.1.8")
    missing = NotAssignedError("UnassignPrivateIpAddresses")
    bench.ec2.errors["unassign"] = [missing, missing]
    await bench.perform(Unassign(ONE, ("10.0.1.7", "10.0.1.8"), ()))
    assert bench.ec2.calls[1:] == [("unassign", ONE, "10.0.1.7"), ("unassign", ONE, "10.0.1.8")]
    assert not bench.executor.failures


async def test_removal_waits_for_the_detachment_and_tries_until_it_is_over(bench: Bench) -> None:
    bench.holds(ONE)
    bench.ec2.errors["delete"] = [BusyError("DeleteNetworkInterface")] * 2
    await bench.perform(RemoveEni(ONE, AttachmentId("eni-attach-9")))
    assert [call[0] for call in bench.ec2.calls] == ["detach", "delete", "delete", "delete"]
    assert bench.slept == [2.0, 0.5, 1.0]
    assert bench.believed(ONE) is None


@pytest.mark.parametrize("api", ["detach", "delete"])
async def test_removing_what_is_gone_is_done(bench: Bench, api: str) -> None:
    bench.holds(ONE)
    bench.ec2.errors[api] = [NotFoundError("x")]
    await bench.perform(RemoveEni(ONE, AttachmentId("eni-attach-9")))
    assert bench.believed(ONE) is None
    assert not bench.executor.failures


async def test_an_eni_that_may_not_be_detached_serves_on(bench: Bench) -> None:
    before = bench.holds(ONE)
    bench.ec2.errors["detach"] = [DeniedError("DetachNetworkInterface")]
    await bench.perform(RemoveEni(ONE, AttachmentId("eni-attach-9")))
    assert bench.believed(ONE) == before


async def test_a_failure_waits_longer_each_time_and_success_forgets_it(bench: Bench) -> None:
    bench.holds(ONE)
    bench.ec2.errors["assign"] = [ThrottledError("AssignPrivateIpAddresses")] * 3
    waits = []
    for _ in range(3):
        await bench.perform(AssignAddresses(ONE, 1))
        retry_at = bench.executor.retry_at()
        assert retry_at is not None
        waits.append(retry_at - bench.now)
        await bench.perform(AssignAddresses(ONE, 1))
        bench.now = retry_at
    assert waits == [1.0, 2.0, 4.0]
    assert len(bench.ec2.calls) == 3
    await bench.perform(AssignAddresses(ONE, 1))
    assert (bench.executor.failures, bench.executor.retry_at()) == ((), None)


async def test_what_is_not_asked_for_any_more_is_no_failure(bench: Bench) -> None:
    bench.holds(ONE)
    bench.ec2.errors["assign"] = [ThrottledError("AssignPrivateIpAddresses")]
    await bench.perform(AssignAddresses(ONE, 1))
    assert bench.executor.failures
    bench.executor.retain([])
    assert not bench.executor.failures


@pytest.mark.parametrize(
    ("error", "doubtful"),
    [
        (Ec2UnavailableError("x"), True),
        (NotFoundError("x"), True),
        (ThrottledError("x"), False),
        (DeniedError("x"), False),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_only_what_may_have_changed_ec2_makes_us_look_again(
    bench: Bench, error: Ec2Error, *, doubtful: bool
) -> None:
    bench.holds(ONE)
    bench.ec2.errors["assign"] = [error]
    await bench.perform(AssignAddresses(ONE, 1))
    assert bench.inventory.doubtful is doubtful


async def test_a_bug_in_one_action_is_a_failure_like_any_other(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> Callable[[], None]:
        raise RuntimeError("a bug")

    bench.holds(ONE)
    monkeypatch.setattr(bench.inventory.attachments, "assigned", broken)
    await bench.perform(AssignAddresses(ONE, 1))
    [failure] = bench.executor.failures
    assert "a bug" in str(failure.error)
    assert "an action broke" in caplog.text
