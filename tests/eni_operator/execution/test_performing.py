"""What the executor asks EC2 for each action, and what it believes afterwards."""

import asyncio

import pytest

from eni_operator.domain.actions import (
    Action,
    AssignIpv6Prefix,
    CreateEni,
    RemoveEni,
    SetSecurityGroups,
    SetTags,
    Unassign,
)
from eni_operator.domain.eni import AttachmentId
from eni_operator.ec2.errors import BusyError, NotFoundError
from eni_operator.execution.executor import Executor
from eni_testing.scripted_ec2 import GOOD, ONE, SUBNET, Bench, ScriptedEc2, creation


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


async def test_an_address_is_out_of_the_belief_before_ec2_is_asked_to_take_it(bench: Bench) -> None:
    bench.holds(ONE, "10.0.1.7", "10.0.1.8")
    bench.ec2.gate.clear()
    bench.executor.start([Unassign(ONE, ("10.0.1.7",), ())])
    await asyncio.sleep(0)
    eni = bench.believed(ONE)
    assert eni is not None
    assert eni.addresses == ("10.0.1.8",)
    await bench.executor.close()


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
