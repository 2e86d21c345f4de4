"""One node's operator without HTTP: the real loop on the stand-in's engine, an API object and an agent in memory.

Time is virtual. The agent refuses what must never be: an address on offer, or given to a pod, that EC2 would not route
to this instance.
"""

import asyncio
import copy
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from botocore.exceptions import ClientError, EndpointConnectionError

from eni_crds.nodeippool import SERVING_ROLES, EniState, Supply, SupplyEni
from eni_lab.aws.engine.errors import Ec2Error
from eni_lab.aws.engine.knobs import Knobs
from eni_lab.aws.engine.model import AttachmentState
from eni_operator.controllers.events import Events
from eni_operator.controllers.kube import KubeError, KubeObject
from eni_operator.controllers.observed import Observed
from eni_operator.controllers.reconcile import Process, Reconciler
from eni_operator.controllers.workplace import Seams
from eni_operator.domain.eni import InstanceId
from eni_operator.ec2.client import Ec2Client
from eni_operator.ec2.throttle import Throttle
from eni_operator.inventory.metadata import MetadataError
from eni_operator.inventory.region import Region
from eni_operator.settings import Settings
from eni_testing.ec2_engine import EngineLab

NODE = "node-a"
READS = ("Describe", "get_", "list_")


class Killed(BaseException):
    """The process is dead: nothing of it runs any more."""


@dataclass
class Life:
    """What a process does to the outside, step by step; it may be killed before or after any of them."""

    kill_at: int | None = None
    after: bool = False
    steps: list[str] = field(default_factory=list)
    dead: bool = False

    async def step(self, name: str, effect: Callable[[], Any]) -> Any:
        """Performs an effect, unless the process dies of it."""
        await asyncio.sleep(0)
        self._check()
        is_read = name.startswith(READS)
        number = len(self.steps)
        if not is_read:
            self.steps.append(name)
        fatal = not is_read and number == self.kill_at
        if fatal and not self.after:
            self._die()
        result = effect()
        if fatal:
            self._die()
        return result

    def _check(self) -> None:
        if self.dead:
            raise Killed

    def _die(self) -> None:
        self.dead = True
        raise Killed


class EngineSdk:
    """What the SDK's client does, on an engine in the same process. ``refuse`` answers errors by API."""

    def __init__(self, lab: EngineLab, life: Life, calls: list[str], refuse: dict[str, tuple[str, str, int]]) -> None:
        self._lab = lab
        self._life = life
        self._calls = calls
        self._refuse = refuse
        self.lose_reply_of: set[str] = set()

    async def _make_api_call(self, operation: str, parameters: dict[str, Any]) -> Any:
        self._calls.append(operation)
        return await self._life.step(operation, lambda: self._perform(operation, parameters))

    def _perform(self, operation: str, parameters: dict[str, Any]) -> Any:
        if operation in self._refuse:
            raise _client_error(operation, *self._refuse[operation])
        try:
            reply = self._lab.engine.call(operation, parameters)
        except Ec2Error as error:
            raise _client_error(operation, error.code, error.message, error.status) from error
        if operation in self.lose_reply_of:
            self.lose_reply_of.discard(operation)
            raise EndpointConnectionError(endpoint_url="http://ec2")
        return _without_none(reply)


def _without_none(value: Any) -> Any:
    """What the wire leaves out: absent members."""
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    return [_without_none(item) for item in value] if isinstance(value, list) else value


def _client_error(operation: str, code: str, message: str, status: int) -> ClientError:
    response = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, operation)


class MemoryKube:
    """The API server's part: one Node, its pool, ENIConfigs; status is merged as server-side apply would."""

    def __init__(self, instance_id: str) -> None:
        self.node: KubeObject = {
            "metadata": {"name": NODE, "uid": "node-uid", "labels": {}, "annotations": {}},
            "spec": {"providerID": f"aws:///us-east-1a/{instance_id}"},
            "status": {"capacity": {"pods": "110"}},
        }
        self.pool: KubeObject | None = None
        self.eniconfigs: list[KubeObject] = []
        self.events: list[KubeObject] = []
        self.writes = 0
        self.outage: int | None = None
        """HTTP status with which every call fails; 0 for no answer."""
        self._uids = itertools.count(1)

    def snapshot(self) -> KubeObject:
        """Returns the pool as a watch would show it."""
        assert self.pool is not None
        return copy.deepcopy(self.pool)

    def put_pool(self, body: KubeObject) -> KubeObject:
        """Merges metadata in, making the object where it is missing."""
        if self.pool is None:
            self.pool = {"metadata": {"uid": f"pool-{next(self._uids)}"}, "spec": {}, "status": {}}
        self.pool["metadata"] |= body["metadata"]
        return self.snapshot()

    def put_status(self, body: KubeObject) -> KubeObject:
        """Replaces supply and the conditions of the same types."""
        if self.pool is None:
            raise KubeError("apply", 404, "no such pool")
        self.writes += 1
        status = self.pool.setdefault("status", {})
        conditions = {c["type"]: c for c in [*status.get("conditions", []), *body["status"]["conditions"]]}
        status["conditions"] = list(conditions.values())
        if "supply" in body["status"]:
            status["supply"] = copy.deepcopy(body["status"]["supply"])
        else:
            status.pop("supply", None)
        return self.snapshot()

    def drop_pool(self, uid: str) -> None:
        """Deletes the pool if it is still this one."""
        if self.pool is not None and self.pool["metadata"]["uid"] == uid:
            self.pool = None

    def condition(self, type_: str) -> KubeObject:
        """Returns one condition."""
        found: KubeObject = next(c for c in self.snapshot()["status"]["conditions"] if c["type"] == type_)
        return found

    def supply(self) -> Supply | None:
        """Returns the supply as the agent reads it."""
        raw = (self.pool or {}).get("status", {}).get("supply")
        return Supply.model_validate(raw) if raw else None


class KubeSession:
    """One process's access to the API server."""

    def __init__(self, kube: MemoryKube, life: Life) -> None:
        self._kube = kube
        self._life = life

    async def _do(self, name: str, effect: Callable[[], Any]) -> Any:
        if self._kube.outage is not None:
            raise KubeError(name, self._kube.outage, "outage")
        return await self._life.step(name, effect)

    async def get_node(self, _name: str) -> KubeObject | None:
        return await self._do("get_node", lambda: copy.deepcopy(self._kube.node))  # type: ignore[no-any-return]

    async def get_pool(self, _name: str) -> KubeObject | None:
        return await self._do("get_pool", lambda: copy.deepcopy(self._kube.pool))  # type: ignore[no-any-return]

    async def list_eniconfigs(self) -> list[KubeObject]:
        return await self._do("list_eniconfigs", lambda: copy.deepcopy(self._kube.eniconfigs))  # type: ignore[no-any-return]

    async def apply_pool(self, pool: KubeObject) -> KubeObject:
        return await self._do("apply_pool", lambda: self._kube.put_pool(pool))  # type: ignore[no-any-return]

    async def apply_pool_status(self, pool: KubeObject) -> KubeObject:
        return await self._do("apply_pool_status", lambda: self._kube.put_status(pool))  # type: ignore[no-any-return]

    async def delete_pool(self, _name: str, uid: str) -> None:
        await self._do("delete_pool", lambda: self._kube.drop_pool(uid))

    async def create_event(self, event: KubeObject) -> None:
        self._kube.events.append(event)

    async def patch_event(self, _namespace: str, _name: str, patch: KubeObject) -> None:
        self._kube.events.append(patch)


class MemoryAgent:
    """Gives pods addresses out of the supply it was shown, and answers handshakes."""

    def __init__(self) -> None:
        self.pods: dict[str, str | None] = {}
        self.seen: Supply | None = None

    def want(self, count: int) -> None:
        """Binds or removes pods until there are so many."""
        while len(self.pods) > count:
            del self.pods[next(reversed(self.pods))]
        for number in itertools.count():
            if len(self.pods) >= count:
                return
            self.pods.setdefault(f"pod-{number}", None)

    @property
    def pending(self) -> int:
        """Counts pods without an address."""
        return sum(address is None for address in self.pods.values())

    def report(self, supply: Supply | None, owned: set[str]) -> KubeObject:
        """Takes a supply over and returns ``status.usage``; ``owned`` is what EC2 routes to this instance now."""
        self.seen = supply
        offered = set(_offered(supply))
        assert offered <= owned, f"on offer, but not ours any more: {offered - owned}"
        held = {address for address in self.pods.values() if address is not None}
        assert held <= owned, f"a pod has an address that EC2 took back: {held - owned}"
        free = sorted(offered - held, key=IPv4Address)
        for pod, address in self.pods.items():
            if address is None and free:
                self.pods[pod] = free.pop(0)
        held = {address for address in self.pods.values() if address is not None}
        return self._usage(supply, held, len(free))

    def _usage(self, supply: Supply | None, held: set[str], free: int) -> KubeObject:
        enis = supply.enis if supply else []
        idle = [c for eni in enis for c in _kept(eni) if held.isdisjoint(_addresses_of(c))]
        released = [r.dump() for eni in enis for r in eni.releasing if held.isdisjoint(_addresses_of(r.cidr))]
        return {
            "assigned": len(held),
            "cooling": 0,
            "free": free,
            "pending": self.pending,
            "idle": idle,
            "released": released,
            "leaving": _leaving(supply, held),
            "bootID": "boot-1",
        }


def _leaving(supply: Supply | None, held: set[str]) -> list[KubeObject]:
    handshakes = [entry for eni in (supply.enis if supply else []) for entry in eni.releasing]
    counts = [(entry, len(held & _addresses_of(entry.cidr))) for entry in handshakes]
    return [{"cidr": entry.cidr, "token": entry.token, "held": count} for entry, count in counts if count]


def _addresses_of(cidr: str) -> set[str]:
    return {str(address) for address in IPv4Network(cidr)}


def _kept(eni: SupplyEni) -> list[str]:
    leaving = {item.cidr for item in eni.releasing}
    return [cidr for cidr in (*(f"{a}/32" for a in eni.addresses), *eni.prefixes) if cidr not in leaving]


def _offered(supply: Supply | None) -> list[str]:
    usable = [
        eni
        for eni in (supply.enis if supply else [])
        if eni.state is EniState.ATTACHED and eni.role in SERVING_ROLES and not eni.excluded
    ]
    return [address for eni in usable for cidr in _kept(eni) for address in _addresses_of(cidr)]


class OperatorNode:
    """A node with an operator that can be killed and started again."""

    def __init__(
        self, instance_type: str = "m5.large", *cidrs: str, knobs: Knobs | None = None, **settings: Any
    ) -> None:
        self.lab = EngineLab(*cidrs, knobs=knobs)
        self.instance_id = self.lab.instance(instance_type)
        self.kube = MemoryKube(self.instance_id)
        self.agent = MemoryAgent()
        self.calls: list[str] = []
        self.refuse: dict[str, tuple[str, str, int]] = {}
        self.settings = Settings(node_name=NODE, **settings)
        self._nonces = itertools.count(1)
        self.life = Life()
        self.start()

    def start(self, life: Life | None = None) -> None:
        """Starts a process that knows nothing."""
        self.life = life or Life()
        self.sdk = EngineSdk(self.lab, self.life, self.calls, self.refuse)
        ec2 = Ec2Client(self.sdk, Throttle(self._clock, self._sleep))
        session = KubeSession(self.kube, self.life)
        seams = Seams(
            clock=self._clock,
            sleep=self._sleep,
            jitter=lambda: 1.0,
            nonce=lambda: f"nonce-{next(self._nonces)}",
            own_instance=self._own_instance,
        )
        self.events = Events(session, self._clock)
        region = Region(ec2, self._clock)
        process = Process(self.settings, session, region, ec2.for_pool, self.events, seams)
        self.reconciler = Reconciler(NODE, process, Observed(NODE))

    def _clock(self) -> float:
        return self.lab.now

    async def _sleep(self, seconds: float) -> None:
        self.lab.now += seconds
        await asyncio.sleep(0)

    async def _own_instance(self) -> InstanceId:
        raise MetadataError("there is no metadata service here")

    async def step(self, seconds: float = 0.5) -> None:
        """Runs the loop once, lets EC2 work, lets the agent speak, lets time pass. A killed process is closed."""
        try:
            await self.reconciler.once()
            for _ in range(40):
                await asyncio.sleep(0)
        except Killed:
            pass
        if self.life.dead:
            await self.reconciler.close()
        self.agent_speaks()
        self.lab.now += seconds

    def agent_speaks(self) -> None:
        """Lets the agent see the supply and report usage, which the loop's watch then shows."""
        if self.kube.pool is not None:
            usage = self.agent.report(self.kube.supply(), self.owned())
            self.kube.pool.setdefault("status", {})["usage"] = usage
            self.reconciler.observed.take("nodeippools", "MODIFIED", self.kube.snapshot())

    def owned(self) -> set[str]:
        """Returns the pod addresses EC2 routes to the instance now."""
        owned: set[str] = set()
        for eni in self.enis():
            if eni.attachment.state(self.lab.now) in {AttachmentState.ATTACHING, AttachmentState.ATTACHED}:
                owned |= set(eni.addresses)
                for prefix in eni.prefixes:
                    owned |= _addresses_of(prefix)
        return owned

    def enis(self) -> list[Any]:
        """Returns the ENIs attached to the instance, as the engine has them."""
        enis = self.lab.engine.region.enis.values()
        return [eni for eni in enis if eni.attachment and eni.attachment.instance_id == self.instance_id]

    def leaked(self) -> list[str]:
        """Returns ENIs that belong to nothing, and attached ones that would outlive the instance."""
        enis = self.lab.engine.region.enis.values()
        loose = [eni.id for eni in enis if eni.attachment is None]
        return loose + [eni.id for eni in self.enis() if not eni.attachment.delete_on_termination]

    async def settle(self, *, within: int = 200) -> None:
        """Steps until every pod has its address and nothing has happened for a while."""
        quiet = 0
        for _ in range(within):
            before = (len(self.life.steps), self.agent.pending)
            await self.step()
            quiet = quiet + 1 if before == (len(self.life.steps), self.agent.pending) else 0
            if quiet >= 14 and not self.agent.pending:
                return
        raise AssertionError(f"not settled: {self.agent.pending} pods pending, last steps {self.life.steps[-10:]}")
