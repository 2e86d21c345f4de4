"""The loop of one node: observe, plan, write what the plan promises, perform it. The only writer of its status.

Decides order and timing; content comes from ``planning`` (what to do), ``inventory`` (what is) and
``controllers.status`` (how it is written). Level-triggered: every run starts from the world as it is now, so it may be
run at any time, any number of times, and be killed anywhere.
"""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final

from pydantic import ValidationError

from eni_crds.conditions import ConditionType, Reason
from eni_crds.names import POOL_GROUP, POOL_KIND, POOL_VERSION
from eni_crds.nodeippool import NodeIPPool, Supply
from eni_operator import metrics
from eni_operator.controllers import eniconfigs, refusals, status, world
from eni_operator.controllers.eniconfigs import Choice
from eni_operator.controllers.events import Events, notices
from eni_operator.controllers.identity import MetadataError, instance_of
from eni_operator.controllers.kube import KubeApi, KubeError, KubeObject
from eni_operator.controllers.observed import Observed
from eni_operator.controllers.publishing import Publisher
from eni_operator.controllers.refusals import Refusal
from eni_operator.controllers.trigger import Trigger
from eni_operator.domain.actions import RemoveEni
from eni_operator.domain.eni import EniId, InstanceId
from eni_operator.domain.policy import Policy
from eni_operator.domain.pool import World
from eni_operator.domain.reasons import Verdict
from eni_operator.ec2.errors import Ec2Error
from eni_operator.execution.executor import Executor
from eni_operator.inventory.instance import InstanceInventory
from eni_operator.inventory.region import Region
from eni_operator.planning.plan import Plan, plan
from eni_operator.planning.precedence import resolve
from eni_operator.settings import Settings

log = logging.getLogger(__name__)

SHORTEST_WAIT_SECONDS: Final = 0.05
FIRST_RETRY_SECONDS: Final = 0.5
LAST_RETRY_SECONDS: Final = 30.0
KUBE_RESYNC_SECONDS: Final = 600.0
"""The API server is asked for everything again about this often: a watch tells nothing of what vanished while it was
down."""


@dataclass(frozen=True, slots=True)
class Seams:
    """What a process has and a test brings: time, chance, and the instance's own knowledge of itself."""

    clock: Callable[[], float]
    """Unix seconds."""
    sleep: Callable[[float], Awaitable[None]]
    jitter: Callable[[], float]
    """A factor around one."""
    nonce: Callable[[], str]
    """Never the same twice, in this process or another."""
    own_instance: Callable[[], Awaitable[InstanceId]]
    """Asks the metadata service; raises MetadataError."""


class Reconciler:
    """Works on one node. ``trigger`` is poked by feeds and by itself."""

    def __init__(self, settings: Settings, kube: KubeApi, region: Region, events: Events, seams: Seams) -> None:
        self.observed = Observed(settings.node_name)
        self.trigger = Trigger(seams.sleep)
        self._settings = settings
        self._kube = kube
        self._region = region
        self._events = events
        self._seams = seams
        self._publisher = Publisher(kube, settings.node_name, seams.clock)
        self._inventory: InstanceInventory | None = None
        self._executor: Executor | None = None
        self._surplus_since: float | None = None
        self._generation: int | None = None
        self._tokens_spent = 0
        self._leaving: frozenset[EniId] = frozenset()
        self._look_failure: Refusal | None = None
        self._resync_at = 0.0
        self._adopted_uid: str | None = None
        self.succeeded_at: float | None = None
        """When a run last got through; None before the first."""

    async def run(self) -> None:
        """Runs for ever."""
        failures = 0
        while True:
            wait = SHORTEST_WAIT_SECONDS
            try:
                wait = max(wait, await self.once() - self._seams.clock())
                failures = 0
            except (KubeError, MetadataError) as error:
                failures += 1
                log.warning("a run failed", extra={"error": str(error)})
            except Exception:
                failures += 1
                log.exception("a run broke")
            if failures:
                metrics.RECONCILE_FAILURES.inc()
                delay = min(FIRST_RETRY_SECONDS * 2 ** (failures - 1), LAST_RETRY_SECONDS)
                await self._seams.sleep(delay * self._seams.jitter())
            else:
                await self.trigger.wait(wait)

    async def once(self) -> float:
        """Runs once; returns when to run again though nothing changes. Raises KubeError and MetadataError."""
        with metrics.RECONCILE_SECONDS.time():
            await self._resync()
            again = await self._reconcile()
        self.succeeded_at = self._seams.clock()
        return min(again, self._resync_at)

    async def close(self) -> None:
        """Abandons what is under way in EC2."""
        if self._executor is not None:
            await self._executor.close()

    async def _resync(self) -> None:
        now = self._seams.clock()
        if now >= self._resync_at:
            await self.observed.look(self._kube)
            self._resync_at = now + KUBE_RESYNC_SECONDS * self._seams.jitter()

    async def _reconcile(self) -> float:
        node = self.observed.node
        if node is None:
            log.info("waiting for the node to appear", extra={"node": self._settings.node_name})
            return self._resync_at
        pool = await self._pool(node)
        inventory, executor = await self._workplace(node)
        await self._look(inventory)
        if not inventory.known:
            again = await self._publish(node, None, ())
            return min(inventory.look_at(), again)
        choice = self._choose(node, pool)
        policy = resolve(
            pool.spec, choice.config.spec.policy if choice and choice.config else None, self._settings.policy
        )
        believed = inventory.attachments.version
        decision = self._decide(self._world(node, pool, choice, inventory, executor), policy)
        executor.retain(decision.actions)
        facts = self._facts(node, inventory, policy, choice, decision)
        verdicts = (*decision.verdicts, *_missing(choice))
        again = await self._publish(node, status.supply(facts, decision), verdicts)
        if inventory.attachments.version != believed:
            return self._seams.clock()  # something ended while we wrote: this plan would do it a second time
        if not inventory.doubtful:
            executor.start(decision.actions)
        return min(t for t in (again, decision.recheck_at, inventory.look_at(), executor.retry_at()) if t is not None)

    # Observe

    async def _pool(self, node: KubeObject) -> NodeIPPool:
        """Returns the pool's object, made where it is missing, and what is written in it when it is new to us."""
        if self.observed.pool is None:
            self.observed.pool = await self._kube.apply_pool(_new_pool(node))
        raw = self.observed.pool
        try:
            pool = NodeIPPool.model_validate(raw)
        except ValidationError:
            log.exception("the status of the pool cannot be read and is written anew")
            pool = NodeIPPool.model_validate({**raw, "status": {}})
        uid = raw["metadata"].get("uid", "")
        if uid != self._adopted_uid:
            self._publisher.take_over(pool.status)
            self._adopted_uid = uid
            written = pool.status.supply.generation if pool.status.supply else 0
            self._generation = max(written, self._generation or 0)
        return pool

    async def _workplace(self, node: KubeObject) -> tuple[InstanceInventory, Executor]:
        if self._inventory is None or self._executor is None:
            instance_id = instance_of(node) or await self._seams.own_instance()
            seams = self._seams
            self._inventory = InstanceInventory(
                instance_id,
                self._region,
                clock=seams.clock,
                jitter=seams.jitter,
                resync_seconds=self._settings.resync_seconds,
            )
            self._executor = Executor(
                self._inventory,
                self._region.ec2,
                clock=seams.clock,
                sleep=seams.sleep,
                jitter=seams.jitter,
                changed=lambda: self.trigger.poke("ec2", urgent=True),
            )
        return self._inventory, self._executor

    async def _look(self, inventory: InstanceInventory) -> None:
        if self._seams.clock() < inventory.look_at():
            return
        try:
            await inventory.look()
        except Ec2Error as error:
            log.warning("EC2 could not be asked", extra={"error": str(error)})
            self._look_failure = Refusal(error, None, inventory.look_at())
        else:
            self._look_failure = None

    def _choose(self, node: KubeObject, pool: NodeIPPool) -> Choice | None:
        return eniconfigs.choose(
            pool.spec.eni_config,
            node,
            self.observed.eniconfigs,
            annotation=self._settings.eniconfig_annotation,
            label=self._settings.eniconfig_label,
        )

    # Decide

    def _world(
        self,
        node: KubeObject,
        pool: NodeIPPool,
        choice: Choice | None,
        inventory: InstanceInventory,
        executor: Executor,
    ) -> World:
        instance = inventory.instance(world.maximum_pods(node))
        if executor.tokens_spent != self._tokens_spent:
            self._generation = (self._generation or 0) + executor.tokens_spent - self._tokens_spent
            self._tokens_spent = executor.tokens_spent
        extra = choice.config.spec.tags if choice and choice.config else {}
        return World(
            instance=instance,
            subnets=inventory.subnets.known(),
            candidates=(instance.subnet_id,),
            enis=inventory.attachments.enis,
            usage=world.usage(pool.status.usage),
            releasing=self._publisher.handshakes.releasing,
            draining=self._publisher.handshakes.draining,
            surplus_since=self._surplus_since,
            generation=self._generation or 0,
            security_groups=instance.security_groups,
            tags=world.tags(instance.id, self._settings.cluster_name, self._settings.tags, extra),
            leaving=world.is_leaving(node),
        )

    def _decide(self, seen: World, policy: Policy) -> Plan:
        now, nonce = self._seams.clock(), self._seams.nonce()
        decision = plan(seen, policy, now, nonce)
        leaving = frozenset(action.eni_id for action in decision.actions if isinstance(action, RemoveEni))
        if leaving and leaving <= self._leaving:
            # Asked for before and not done yet: it is counted already.
            decision = plan(replace(seen, generation=seen.generation - 1), policy, now, nonce)
        self._leaving = leaving
        self._generation = decision.generation
        self._surplus_since = (self._surplus_since or now) if decision.surplus else None
        return decision

    # Write

    def _facts(
        self, node: KubeObject, inventory: InstanceInventory, policy: Policy, choice: Choice | None, decision: Plan
    ) -> status.Facts:
        return status.Facts(
            instance=inventory.instance(world.maximum_pods(node)),
            enis=inventory.attachments.enis,
            subnet_cidrs=inventory.subnets.cidrs(),
            vpc_cidrs=inventory.vpc_cidrs,
            policy=policy,
            eniconfig=choice.name if choice and choice.config else None,
            generation=decision.generation,
        )

    async def _publish(self, node: KubeObject, supply: Supply | None, planned: tuple[Verdict, ...]) -> float:
        failures = self._executor.failures if self._executor else ()
        refused = [Refusal(failure.error, failure.action, failure.retry_at) for failure in failures]
        if self._look_failure is not None:
            refused.insert(0, self._look_failure)
        before = self._publisher.conditions
        again = await self._publisher.publish(supply, refusals.merge(planned, refused))
        for notice in notices(before, self._publisher.conditions):
            self._events.post(notice, node["metadata"].get("uid", ""))
        metrics.observe_pool(self._publisher.supply)
        return again if again is not None else self._resync_at


def _new_pool(node: KubeObject) -> KubeObject:
    """Owned by the Node, so that it goes with it; no finalizer, for a dead node must not hang."""
    metadata = node["metadata"]
    owner = {"apiVersion": "v1", "kind": "Node", "name": metadata["name"], "uid": metadata["uid"]}
    return {
        "apiVersion": f"{POOL_GROUP}/{POOL_VERSION}",
        "kind": POOL_KIND,
        "metadata": {"name": metadata["name"], "ownerReferences": [owner]},
    }


def _missing(choice: Choice | None) -> tuple[Verdict, ...]:
    if choice is None or choice.config is not None:
        return ()
    message = (
        f"ENIConfig {choice.name!r}, named by {choice.named_by}, {choice.problem}; "
        "its policy and tags count as soon as that is mended"
    )
    return (Verdict(type=ConditionType.SUFFICIENT, status=False, reason=Reason.ENICONFIG_MISSING, message=message),)
