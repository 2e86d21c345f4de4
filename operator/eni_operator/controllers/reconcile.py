"""The loop of one node: observe, plan, write what the plan promises, perform it. The only writer of its status.

Decides order and timing; content comes from ``planning`` (what to do), ``inventory`` (what is) and
``controllers.status`` (how it is written). Level-triggered: every run starts from the world as it is now, so it may be
run at any time, any number of times, and be killed anywhere.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from eni_crds.contract import ContractError
from eni_crds.names import POOL_GROUP, POOL_KIND, POOL_VERSION
from eni_crds.nodeippool import NodeIPPool, Supply
from eni_operator import metrics, vpc_cni_metrics
from eni_operator.controllers import eniconfigs, refusals, status, worlds
from eni_operator.controllers.deciding import Decider
from eni_operator.controllers.eniconfigs import Keys
from eni_operator.controllers.events import Events, Subject, missing_permissions, notices
from eni_operator.controllers.identity import instance_of
from eni_operator.controllers.kube import KubeApi, KubeError, KubeObject
from eni_operator.controllers.observed import Observed
from eni_operator.controllers.publishing import Publisher
from eni_operator.controllers.trigger import Trigger
from eni_operator.controllers.workplace import Seams, Workplace
from eni_operator.controllers.worlds import Asked
from eni_operator.domain.actions import CreateEni
from eni_operator.domain.instance import Instance
from eni_operator.domain.policy import Policy
from eni_operator.domain.pool import World
from eni_operator.domain.reasons import Verdict
from eni_operator.ec2.api import Ec2Api
from eni_operator.inventory.metadata import Metadata, MetadataError
from eni_operator.inventory.region import Region
from eni_operator.planning import sourcing
from eni_operator.planning.plan import Plan
from eni_operator.planning.precedence import resolve
from eni_operator.planning.sourcing import Choice, Rules, Source
from eni_operator.settings import Settings

log = logging.getLogger(__name__)

SHORTEST_WAIT_SECONDS: Final = 0.05
FIRST_RETRY_SECONDS: Final = 0.5
LAST_RETRY_SECONDS: Final = 30.0
NOT_FOUND: Final = 404
SILENCE_SECONDS: Final = 5.0
"""How soon an agent that speaks again is noticed though it says nothing new."""
KUBE_RESYNC_SECONDS: Final = 600.0
"""The API server is asked for everything again about this often: a watch tells nothing of what vanished while it was
down."""


@dataclass(frozen=True, slots=True)
class Process:
    """What the loops of one process share."""

    settings: Settings
    kube: KubeApi
    region: Region
    lane: Callable[[Callable[[], float]], Ec2Api]
    """Returns a client whose calls queue by an urgency, which is read again whenever a call may go out."""
    events: Events
    seams: Seams
    pod: Subject | None = None
    """The operator's own pod, for VPC CNI's Event; None where the downward API does not tell."""


class Reconciler:
    """Works on one node. ``trigger`` is poked by feeds and by itself."""

    def __init__(self, node_name: str, process: Process, observed: Observed) -> None:
        self.observed = observed
        self.trigger = Trigger(process.seams.sleep)
        self.node_name = node_name
        self._process = process
        self._settings = process.settings
        self._kube = process.kube
        self._seams = process.seams
        self._publisher = Publisher(process.kube, node_name, process.seams.clock)
        self._decider = Decider(process.seams.clock, process.seams.nonce)
        self._workplace: Workplace | None = None
        self._resync_at = 0.0
        self._adopted_uid: str | None = None
        self._waiting = 0
        self._grows = False
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
                log.warning("a run failed", extra={"error": str(error), "node": self.node_name})
            except Exception:
                failures += 1
                log.exception("a run broke", extra={"node": self.node_name})
            if failures:
                metrics.RECONCILE_FAILURES.inc()
                delay = min(FIRST_RETRY_SECONDS * 2 ** (failures - 1), LAST_RETRY_SECONDS)
                await self._seams.sleep(delay * self._seams.jitter())
            else:
                await self.trigger.wait(wait)

    async def once(self) -> float:
        """Runs once; returns when to run again though nothing changes. Raises KubeError and MetadataError."""
        with metrics.RECONCILE_SECONDS.time(), vpc_cni_metrics.under_way("nodeIPPoolReconcile"):
            await self._resync()
            again = await self._reconcile()
        self.succeeded_at = self._seams.clock()
        return min(again, self._resync_at)

    async def follow_hints(self, metadata: Metadata) -> None:
        """Looks at EC2 where the instance's metadata shows what is not believed."""
        if self._workplace is not None and await self._workplace.is_hinted(metadata):
            self.trigger.poke("metadata")

    async def close(self) -> None:
        """Abandons what is under way in EC2."""
        if self._workplace is not None:
            await self._workplace.close()
        self._process.events.forget(self.node_name)
        metrics.forget_pool(self.node_name)

    async def _resync(self) -> None:
        now = self._seams.clock()
        if now >= self._resync_at:
            await self.observed.look(self._kube)
            self._resync_at = now + KUBE_RESYNC_SECONDS * self._seams.jitter()

    async def _reconcile(self) -> float:
        node = self.observed.node
        if node is None:
            log.info("waiting for the node to appear", extra={"node": self.node_name})
            return self._resync_at
        pool = await self._pool(node)
        workplace = await self._work_at(node)
        seen = self.observed.pool
        await workplace.look()
        if not workplace.inventory.known:
            again = await self._publish(node, workplace, None, ())
            return min(workplace.again_at(), again)
        if self.observed.pool is not seen:  # EC2 took its time, and pods have come: one plan serves them, not two
            pool = await self._pool(node)
        return await self._pursue(node, pool, workplace)

    async def _pursue(self, node: KubeObject, pool: NodeIPPool, workplace: Workplace) -> float:
        """Plans, writes what is promised, performs it."""
        choice = self._choose(node, pool)
        config = choice.config if choice is not None else None
        policy = resolve(pool.spec, config.policy if config is not None else None, self._settings.policy)
        instance = workplace.inventory.instance(worlds.maximum_pods(node))
        source = await self._source(choice, instance, policy, workplace)
        believed = workplace.inventory.attachments.version
        world = self._world(node, pool, Asked(choice, source, instance), workplace)
        decision = await self._decide(world, policy, workplace)
        workplace.executor.retain(decision.actions)
        facts = self._facts(world, policy, choice, workplace)
        again = await self._publish(node, workplace, status.supply(facts, decision), decision.verdicts)
        if workplace.inventory.attachments.version != believed:
            return self._seams.clock()  # something ended while we wrote: this plan would do it a second time
        if not workplace.inventory.doubtful:
            workplace.executor.start(decision.actions)
        times = (again, decision.recheck_at, workplace.again_at(), self._silent_at(pool))
        return min(time for time in times if time is not None)

    # Observe

    async def _pool(self, node: KubeObject) -> NodeIPPool:
        """Returns the pool's object, made where it is missing, and what is written in it when it is new to us."""
        if self.observed.pool is None:
            self.observed.pool = await self._kube.apply_pool(_new_pool(node))
        raw = self.observed.pool
        try:
            pool = NodeIPPool.parse(raw)
        except ContractError:
            log.exception("the status of the pool cannot be read and is written anew")
            pool = NodeIPPool.parse({**raw, "status": {}})
        uid = raw["metadata"].get("uid", "")
        if uid != self._adopted_uid:
            self._publisher.take_over(pool.status)
            self._adopted_uid = uid
            self._decider.take_over(pool.status.supply.generation if pool.status.supply else 0)
        return pool

    async def _work_at(self, node: KubeObject) -> Workplace:
        """Returns the node's workplace. What a former instance under the same name left written is not ours to keep."""
        if self._workplace is not None:
            return self._workplace
        instance_id = instance_of(node) or await self._seams.own_instance()
        written = self._publisher.supply
        if written is not None and written.instance.id != instance_id:
            self._publisher.forget()
        self._workplace = Workplace(
            instance_id,
            self._process.region,
            self._process.lane(lambda: float(self._waiting)),
            self._seams,
            resync_seconds=self._settings.resync_seconds,
            changed=lambda: self.trigger.poke("ec2", urgent=True),
        )
        supply = self._publisher.supply
        self._workplace.inventory.took_over(worlds.cidrs(supply) if supply is not None else None)
        return self._workplace

    def _choose(self, node: KubeObject, pool: NodeIPPool) -> Choice | None:
        settings = self._settings
        keys = Keys(settings.eniconfig_annotation, settings.eniconfig_label, settings.custom_networking)
        return eniconfigs.choose(pool.spec.eni_config, node, self.observed.eniconfigs, keys)

    async def _source(self, choice: Choice | None, instance: Instance, policy: Policy, workplace: Workplace) -> Source:
        settings = self._settings
        discovers = settings.subnet_discovery and not settings.imds_only  # metadata knows no other subnets
        rules = Rules(settings.custom_networking, discovers, settings.cluster_name)
        asked = sourcing.question(rules, choice, instance)
        found = await workplace.subnets(asked, instance, growing=self._grows)
        return worlds.source(rules, choice, instance, found, workplace.believed, policy)

    def _world(self, node: KubeObject, pool: NodeIPPool, asked: Asked, workplace: Workplace) -> World:
        usage = worlds.usage(
            pool.status.usage, silent_after=self._settings.agent_silent_seconds, now=self._seams.clock()
        )
        self._waiting = usage.pending
        self._decider.spent(workplace.executor.tokens_spent)
        promised = self._publisher.handshakes
        return worlds.world(node, self._settings, asked, usage, promised, workplace.believed)

    def _silent_at(self, pool: NodeIPPool) -> float | None:
        """Returns when the agent's silence begins to matter, if it goes on; or when to see whether it has ended."""
        spoke_at = worlds.spoken_at(pool.status.usage)
        if spoke_at is None:
            return None
        return max(spoke_at + self._settings.agent_silent_seconds, self._seams.clock() + SILENCE_SECONDS)

    # Decide

    async def _decide(self, world: World, policy: Policy, workplace: Workplace) -> Plan:
        """Plans; where a new ENI may come from several subnets, with free counts that are not stale."""
        decision = self._decider.decide(world, policy)
        self._grows = any(isinstance(action, CreateEni) for action in decision.actions)
        if self._grows and len(world.candidates) > 1 and await workplace.refresh_subnets(world.candidates):
            decision = self._decider.decide(replace(world, subnets=workplace.believed.subnets), policy)
        return decision

    # Write

    def _facts(self, world: World, policy: Policy, choice: Choice | None, workplace: Workplace) -> status.Facts:
        config = choice.config if choice is not None else None
        return status.Facts(
            world=world,
            policy=policy,
            vpc_cidrs=workplace.inventory.vpc_cidrs,
            vpc_ipv6_cidrs=workplace.inventory.vpc_ipv6_cidrs,
            eniconfig=choice.name if choice is not None and config is not None else None,
            snat=config.snat if config is not None else None,
        )

    async def _publish(
        self, node: KubeObject, workplace: Workplace, supply: Supply | None, planned: tuple[Verdict, ...]
    ) -> float:
        before = self._publisher.conditions
        try:
            again = await self._publisher.publish(supply, refusals.merge(planned, workplace.refusals))
        except KubeError as error:
            if error.status == NOT_FOUND:  # deleted while no watch was up: the next run makes it anew
                self.observed.pool = None
            raise
        after = self._publisher.conditions
        subject = Subject(self.node_name, node["metadata"].get("uid", ""))
        for notice in notices(before, after):
            self._process.events.post(subject, notice)
        if self._process.pod is not None:
            for notice in missing_permissions(before, after):
                self._process.events.post(self._process.pod, notice)
        metrics.observe_pool(self.node_name, self._publisher.supply, after)
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
