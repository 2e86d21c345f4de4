"""What the executor does with a plan's actions, and with EC2's answers to them."""

import asyncio
from collections.abc import Callable

import pytest

from eni_operator.domain.actions import (
    Action,
    AssignAddresses,
    AssignIpv6Prefix,
    AttachEni,
    CreateEni,
    RemoveEni,
    SetSecurityGroups,
    SetTags,
    Unassign,
)
from eni_operator.domain.eni import (
    Attachment,
    AttachmentId,
    AttachmentState,
    Eni,
    EniId,
    InstanceId,
    SecurityGroupId,
    SubnetId,
)
from eni_operator.ec2.api import Assigned, EniRequest
from eni_operator.ec2.errors import (
    BusyError,
    DeniedError,
    Ec2Error,
    Ec2UnavailableError,
    IdempotencyMismatchError,
    LimitReachedError,
    NoFreePrefixError,
    NotAssignedError,
    NotFoundError,
    ThrottledError,
    UnknownInstanceError,
    UnknownSecurityGroupError,
    UnknownSubnetError,
    WrongZoneError,
)
from eni_operator.execution.executor import Executor
from eni_operator.inventory.instance import InstanceInventory
from eni_operator.inventory.region import Region

ONE, TWO = EniId("eni-1"), EniId("eni-2")
SUBNET = SubnetId("subnet-1")
GOOD, BAD = SecurityGroupId("sg-good"), SecurityGroupId("sg-bad")


class ScriptedEc2:
    """Answers at once, or fails as scripted, one error for each call of an API; holds calls while ``gate`` is shut."""

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []
        self.requests: list[EniRequest] = []
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
        self.requests.append(request)
        return Eni(ONE, "02:00:00:00:00:01", request.subnet_id, "10.0.0.4")

    async def attach_eni(
        self, eni_id: EniId, _instance_id: InstanceId, device_index: int, network_card: int
    ) -> AttachmentId:
        await self._call("attach", eni_id, device_index, network_card)
        return AttachmentId("eni-attach-1")

    async def assign_ipv6_prefix(self, eni_id: EniId) -> Assigned:
        await self._call("assign-ipv6", eni_id)
        return Assigned(ipv6_prefixes=("fd00::/80",))

    async def set_security_groups(self, eni_id: EniId, security_groups: tuple[SecurityGroupId, ...]) -> None:
        await self._call("groups", eni_id, *security_groups)

    async def set_tags(self, eni_id: EniId, tags: dict[str, str]) -> None:
        await self._call("tags", eni_id, *tags.items())

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


def creation(device: int = 1, card: int = 0, groups: tuple[SecurityGroupId, ...] = ()) -> CreateEni:
    return CreateEni(
        device, SUBNET, groups, addresses=0, prefixes=0, client_token="t", tags={}, network_card=card, ipv6_prefixes=1
    )


async def test_a_new_eni_takes_three_calls(bench: Bench) -> None:
    await bench.perform(creation())
    assert bench.ec2.calls == [("create", "t"), ("attach", ONE, 1, 0), ("modify", ONE)]
    eni = bench.believed(ONE)
    assert eni is not None
    assert eni.is_attached
    assert eni.attachment is not None
    assert eni.attachment.delete_on_termination


async def test_a_new_eni_goes_on_its_network_card_with_its_ipv6_prefix(bench: Bench) -> None:
    await bench.perform(creation(card=3))
    assert [request.ipv6_prefixes for request in bench.ec2.requests] == [1]
    assert ("attach", ONE, 1, 3) in bench.ec2.calls
    eni = bench.believed(ONE)
    assert eni is not None
    assert eni.network_card == 3


async def test_groups_tags_and_an_ipv6_prefix_are_believed_once_ec2_has_them(bench: Bench) -> None:
    before = bench.holds(ONE)
    done: list[Action] = [SetSecurityGroups(ONE, (GOOD,)), SetTags(ONE, {"team": "a"}), AssignIpv6Prefix(ONE)]
    bench.ec2.gate.clear()
    bench.executor.start(done)
    await asyncio.sleep(0)
    assert bench.believed(ONE) == before
    bench.ec2.gate.set()
    await bench.executor.settle()
    assert bench.ec2.calls == [("groups", ONE, GOOD), ("tags", ONE, ("team", "a")), ("assign-ipv6", ONE)]
    eni = bench.believed(ONE)
    assert eni is not None
    assert (eni.security_groups, eni.tags, eni.ipv6_prefixes) == ((GOOD,), {"team": "a"}, ("fd00::/80",))


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
    assert bench.ec2.calls[-2:] == [("attach", ONE, 1, 0), ("modify", ONE)]


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
    bench.executor.start([creation(device=1, card=1)])
    await asyncio.sleep(0)
    assert [call[0] for call in bench.ec2.calls] == ["create", "create", "create"]
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


@pytest.mark.parametrize(
    "error",
    [UnknownSecurityGroupError("x"), UnknownSubnetError("x"), WrongZoneError("x"), DeniedError("x")],
    ids=lambda error: type(error).__name__,
)
async def test_what_a_person_must_mend_waits_long_and_spends_no_token(bench: Bench, error: Ec2Error) -> None:
    bench.ec2.errors["create"] = [error]
    await bench.perform(creation(groups=(BAD,)))
    assert bench.executor.retry_at() == bench.now + 15
    assert bench.executor.tokens_spent == 0
    assert not bench.inventory.doubtful
    await bench.perform(creation(groups=(BAD,)))
    assert len(bench.ec2.calls) == 1


async def test_what_a_person_has_mended_is_tried_at_once(bench: Bench) -> None:
    bench.ec2.errors["create"] = [UnknownSecurityGroupError("CreateNetworkInterface")]
    await bench.perform(creation(groups=(BAD,)))
    bench.executor.retain([creation(groups=(GOOD,))])
    assert not bench.executor.failures
    await bench.perform(creation(groups=(GOOD,)))
    assert not bench.executor.failures
    assert bench.believed(ONE) is not None


async def test_plans_that_ask_by_turns_do_not_get_round_the_wait(bench: Bench) -> None:
    bench.ec2.errors["attach"] = [WrongZoneError("AttachNetworkInterface")]
    await bench.perform(creation())
    bench.executor.retain([RemoveEni(ONE, None)])
    assert (bench.executor.failures, bench.executor.retry_at()) == ((), None)
    await bench.perform(RemoveEni(ONE, None))
    bench.executor.retain([creation()])
    calls = len(bench.ec2.calls)
    await bench.perform(creation())
    assert len(bench.ec2.calls) == calls
    bench.now += 15
    await bench.perform(creation())
    assert len(bench.ec2.calls) == calls + 3


@pytest.mark.parametrize(
    ("api", "error", "spent"),
    [
        ("create", IdempotencyMismatchError("CreateNetworkInterface"), 1),
        ("create", NotFoundError("CreateNetworkInterface"), 1),
        ("create", Ec2UnavailableError("CreateNetworkInterface"), 0),
        ("create", UnknownInstanceError("CreateNetworkInterface"), 0),
        ("attach", UnknownInstanceError("AttachNetworkInterface"), 0),
        ("attach", LimitReachedError("AttachNetworkInterface"), 0),
    ],
    ids=lambda value: getattr(type(value), "__name__", value),
)
async def test_only_a_token_whose_eni_is_not_to_be_had_is_spent(
    bench: Bench, api: str, error: Ec2Error, spent: int
) -> None:
    bench.ec2.errors[api] = [error] * 5
    await bench.perform(creation())
    assert bench.executor.tokens_spent == spent


async def test_a_token_that_names_an_eni_the_plan_adopts_is_spent_and_the_eni_is_attached_once(bench: Bench) -> None:
    """A predecessor made it under this token for device 2, died, and it is the only one: it is adopted for device 1."""
    bench.holds(ONE, attached=False)
    await bench.perform(AttachEni(ONE, 1), creation(device=2))
    assert [call for call in bench.ec2.calls if call[0] == "attach"] == [("attach", ONE, 1, 0)]
    assert bench.executor.tokens_spent == 1


async def test_an_eni_that_ec2_keeps_not_knowing_stays_in_the_belief_and_no_second_is_made(bench: Bench) -> None:
    bench.ec2.errors["attach"] = [NotFoundError("AttachNetworkInterface")] * 5
    await bench.perform(creation())
    assert [call[0] for call in bench.ec2.calls] == ["create"] + ["attach"] * 5
    assert bench.believed(ONE) is not None
    assert bench.inventory.doubtful


@pytest.mark.parametrize("action", [creation(device=2, card=1), AttachEni(TWO, 2, 1)], ids=["new", "adopted"])
async def test_an_instance_that_takes_no_more_enis_teaches_the_inventory_so(
    bench: Bench, action: Action, monkeypatch: pytest.MonkeyPatch
) -> None:
    learned: list[int] = []
    monkeypatch.setattr(bench.inventory, "learned_limit", learned.append)
    bench.holds(TWO, attached=False)
    bench.ec2.errors["attach"] = [LimitReachedError("AttachNetworkInterface")]
    await bench.perform(action)
    assert learned == [1]
    assert bench.inventory.doubtful


async def test_a_lack_of_ipv6_prefixes_says_nothing_of_the_subnets_ipv4(bench: Bench) -> None:
    bench.holds(ONE)
    bench.ec2.errors["assign-ipv6"] = [NoFreePrefixError("AssignIpv6Addresses")]
    await bench.perform(AssignIpv6Prefix(ONE))
    assert bench.executor.failures
    assert bench.inventory.subnets.known() == {}


async def test_what_is_being_tried_again_asks_for_no_run_until_it_has_ended(bench: Bench) -> None:
    bench.holds(ONE)
    bench.ec2.errors["assign"] = [ThrottledError("AssignPrivateIpAddresses")]
    await bench.perform(AssignAddresses(ONE, 1))
    retry_at = bench.executor.retry_at()
    assert retry_at is not None
    bench.now = retry_at
    bench.ec2.gate.clear()
    bench.executor.start([AssignAddresses(ONE, 1)])
    assert bench.executor.retry_at() is None
    bench.ec2.gate.set()
    await bench.executor.settle()


@pytest.mark.parametrize(("addresses", "prefixes", "patient"), [(0, 0, True), (4, 0, False), (0, 1, False)])
async def test_only_an_eni_that_pods_may_wait_for_goes_by_the_nodes_urgent_client(
    bench: Bench, addresses: int, prefixes: int, *, patient: bool
) -> None:
    urgent = ScriptedEc2()
    executor = Executor(
        bench.inventory,
        urgent,  # type: ignore[arg-type] # an executor only writes
        clock=bench.clock,
        sleep=bench.sleep,
        jitter=lambda: 1.0,
        changed=lambda: None,
    )
    executor.start([CreateEni(1, SUBNET, (), addresses, prefixes, client_token="t", tags={})])
    await executor.settle()
    assert [len(ec2.calls) for ec2 in (bench.ec2, urgent)] == ([3, 0] if patient else [0, 3])
