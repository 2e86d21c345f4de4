"""What is counted, timed and logged of a request, with the real plugin over a pool in memory."""

import asyncio
import json
import logging

import pytest

from eni_cni_shim import protocol
from eni_cni_shim.plugin.addresspool import Assignment, NoAddressError, PoolUnavailableError, Sandbox, SandboxKey
from eni_cni_shim.plugin.pod_network import PodNetworkError
from eni_cni_shim.plugin.verbs import Plugin
from eni_cni_shim.spec import Code
from eni_node_agent.ledger.journal import JournalError
from eni_node_agent.measured import MeasuredMemory, MeasuredNetwork, MeasuredPlugin, MeasuredPool, outcome_of
from eni_node_agent.metrics.instruments import Metrics
from eni_node_agent.metrics.vpc_cni import Counts
from eni_testing import cni
from eni_testing.cni import MemoryPool
from eni_testing.eventually import eventually
from eni_testing.holdings import Notebook, held


class Network:
    """A pod network that may refuse or hang."""

    def __init__(self) -> None:
        self.failure: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    async def add(self, _: int, __: Assignment, ___: int) -> int:
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        return 0

    async def check(self, _: int, __: Assignment, ___: int) -> list[str]:
        return ["a route is missing"]

    async def remove(self, _: Assignment) -> None:
        return


class World:
    def __init__(self) -> None:
        self.now = 0.0
        self.pool = MemoryPool()
        self.network = Network()
        self.metrics = Metrics()
        self.counts = Counts()
        self.served: list[str] = []
        self.measured_network = MeasuredNetwork(self.network, lambda: self.now)
        pool = MeasuredPool(self.pool, lambda sandbox: self.served.append(sandbox.pod_uid))
        self.plugin = MeasuredPlugin(Plugin(pool, self.measured_network), self.metrics, self.counts)

    async def ask(self, verb: str, name: str = "c1", **config: object) -> protocol.Reply:
        environ = {key: value for key, value in cni.environ(verb, name, netns="/proc/1/ns/net").items() if value}
        stdin = json.dumps({**cni.CONFIG, "cniVersion": "1.1.0", **config}).encode()
        try:
            return await self.plugin.handle(protocol.Request(environ, stdin), 0)
        finally:
            await asyncio.sleep(0)  # what is told of a request comes right after its answer

    def value(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


def requests(caplog: pytest.LogCaptureFixture) -> list[dict[str, object]]:
    return [vars(record) for record in caplog.records if record.message == "request answered"]


@pytest.fixture(autouse=True)
def _level(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "eni_node_agent.measured")


async def test_an_add_is_one_line_with_pod_address_and_outcome(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    await world.ask("ADD")
    [line] = requests(caplog)
    told = {key: line[key] for key in ("verb", "outcome", "sandbox", "ifname", "pod", "address", "eni_id")}
    assert told == {
        "verb": "ADD",
        "outcome": "success",
        "sandbox": "c1",
        "ifname": "eth0",
        "pod": "default/web-0",
        "address": "10.0.1.20",
        "eni_id": "eni-1",
    }
    assert {"duration_seconds", "address_seconds", "kernel_seconds"} <= line.keys()
    assert world.served == ["u1"]


async def test_an_add_and_its_phases_are_timed() -> None:
    world = World()
    await world.ask("ADD")
    assert world.value("eni_agent_request_seconds_count", verb="ADD", outcome="success") == 1
    for phase in ("address", "kernel"):
        assert world.value("eni_agent_phase_seconds_count", verb="ADD", phase=phase, outcome="success") == 1
    assert world.counts.adds == 1


async def test_a_del_tells_the_address_it_gave_back(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    await world.ask("ADD")
    await world.ask("DEL")
    assert requests(caplog)[-1]["address"] == "10.0.1.20"
    assert world.counts.dels == {"PodDeleted": 1}


async def test_an_add_without_an_address_says_why(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    world.pool.failure = NoAddressError("SubnetFull", "subnet-1 has 0 free addresses")
    await world.ask("ADD")
    [line] = requests(caplog)
    told = (line["levelname"], line["outcome"], line["reason"], line["error"])
    assert told == ("WARNING", "no_address", "SubnetFull", "subnet-1 has 0 free addresses")
    assert world.counts.refusals == 1
    assert world.value("eni_agent_phase_seconds_count", verb="ADD", phase="address", outcome="error") == 1


async def test_an_add_the_kernel_refused_counts_as_undone() -> None:
    world = World()
    world.network.failure = PodNetworkError("the kernel refused")
    await world.ask("ADD")
    assert world.value("eni_agent_request_seconds_count", verb="ADD", outcome="kernel") == 1
    assert world.counts.dels == {"SetupNSFailed": 1}


async def test_an_add_whose_runtime_left_is_told_of_too(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    world.network.gate.clear()
    adding = asyncio.create_task(world.ask("ADD"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    adding.cancel()
    await asyncio.gather(adding, return_exceptions=True)
    assert requests(caplog)[0]["outcome"] == "cancelled"
    assert world.value("eni_agent_request_seconds_count", verb="ADD", outcome="cancelled") == 1


async def test_the_oldest_work_of_the_kernel_is_known() -> None:
    world = World()
    assert world.measured_network.oldest_work == 0
    world.network.gate.clear()
    adding = asyncio.create_task(world.ask("ADD"))
    await eventually(lambda: bool(world.measured_network._works), "the kernel is at work")
    world.now = 12.0
    assert world.measured_network.oldest_work == 12.0
    world.network.gate.set()
    await adding
    assert world.measured_network.oldest_work == 0


async def test_status_is_told_when_it_changes(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    for failure in (None, None, PoolUnavailableError("the agent is starting"), None):
        world.pool.failure = failure
        await world.ask("STATUS")
    assert [line["outcome"] for line in requests(caplog)] == ["success", "unavailable", "success"]


async def test_what_is_no_verb_makes_no_series_of_its_own() -> None:
    world = World()
    await world.ask("DROP TABLE")
    assert world.value("eni_agent_request_seconds_count", verb="other", outcome="invalid") == 1


@pytest.mark.parametrize(
    ("code", "details", "outcome"),
    [
        (Code.TRY_AGAIN, "SubnetFull", "no_address"),
        (Code.TRY_AGAIN, "", "unavailable"),
        (Code.NOT_AVAILABLE, "", "unavailable"),
        (Code.KERNEL_REFUSED, "", "kernel"),
        (Code.NETWORK_DIFFERS, "", "differs"),
        (Code.UNKNOWN_CONTAINER, "", "unknown"),
        (Code.INTERNAL, "", "internal"),
        (Code.INVALID_CONFIG, "", "invalid"),
        (999, "", "invalid"),
    ],
)
def test_an_error_has_an_outcome_in_a_word(code: int, details: str, outcome: str) -> None:
    assert outcome_of(1, {"code": int(code), "details": details}) == outcome
    assert outcome_of(0, {}) == "success"


def test_writes_to_the_journal_are_timed_and_failures_counted() -> None:
    world, memory = World(), Notebook()
    measured = MeasuredMemory(memory, world.metrics)
    holding = held(Sandbox(SandboxKey("eni", "c1", "eth0")), "10.0.1.4")
    measured.hold(holding)
    measured.release(holding, 1.0)
    memory.is_full = True
    with pytest.raises(JournalError):
        measured.hold(holding)
    assert world.value("eni_agent_journal_write_seconds_count", operation="hold") == 2
    assert world.value("eni_agent_journal_write_seconds_count", operation="release") == 1
    assert world.value("eni_agent_journal_failures_total", operation="hold") == 1
