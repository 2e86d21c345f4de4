"""What the executor does side by side, what one after the other, and what not twice at a time."""

import asyncio

from eni_operator.domain.actions import AssignAddresses, AttachEni, Unassign
from eni_operator.ec2.errors import ThrottledError
from eni_testing.scripted_ec2 import ONE, TWO, Bench, creation


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
