"""Deletes leaked ENIs: ours by tag, attached to nothing, wanted by nobody. The leader's duty.

Decides which ENI is leaked. A node's own operator looks after the ENIs of its instance; this is for instances that are
gone, and for what an operator left behind an hour ago. What it remembers, it has seen itself: another leader starts
anew. Errs towards keeping: EC2 itself refuses to delete what is attached.
"""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from eni_crds.names import DESCRIPTION_PREFIX, TAG_CLUSTER, TAG_INSTANCE, TAG_NO_MANAGE
from eni_operator import metrics, vpc_cni_metrics
from eni_operator.controllers.identity import instance_of
from eni_operator.controllers.kube import NODES, KubeError, KubeObject, LeaderApi, Pages
from eni_operator.domain.eni import Eni, EniId
from eni_operator.ec2.errors import BusyError, Ec2Error, NotFoundError

log = logging.getLogger(__name__)

SIGHTING_SECONDS: Final = 300.0
"""An ENI is leaked only when it was seen loose twice so far apart: one on its way to an instance is not."""
NODE_SECONDS: Final = 3600.0
"""An ENI whose instance is a node is left to that node's own operator for so long."""
SWEEP_SECONDS: Final = 3600.0
START_SECONDS: Final = 300.0
"""A sweep starts up to so much later, by chance: other clusters of the account sweep too."""
DELETE_GAP_SECONDS: Final = 1.0
"""A pause before every delete: pools that grow and shrink come first in the account's rate."""

FirstSeen = Mapping[EniId, float]
"""Since when each candidate has been seen loose, sweep after sweep."""


@dataclass(slots=True)
class Claims:
    """What the cluster's objects say is in use. Filled a page at a time."""

    enis: set[str] = field(default_factory=set)
    """Named in a pool's supply."""
    instances: set[str] = field(default_factory=set)
    """Nodes of the cluster."""
    vpcs: set[str] = field(default_factory=set)

    def add_pool(self, pool: KubeObject) -> None:
        """Takes in what a pool's supply names."""
        supply = (pool.get("status") or {}).get("supply") or {}
        instance = supply.get("instance") or {}
        self.enis.update(eni["id"] for eni in supply.get("enis") or [])
        if instance:
            self.instances.add(instance["id"])
            self.vpcs.add(instance["vpcID"])

    def add_node(self, node: KubeObject) -> None:
        """Takes in a node's instance."""
        instance = instance_of(node)
        if instance is not None:
            self.instances.add(instance)


@dataclass(frozen=True, slots=True)
class Decision:
    """What a page of loose ENIs comes to."""

    remember: FirstSeen
    """Every candidate of the page that is not deleted."""
    delete: tuple[Eni, ...]


def is_candidate(eni: Eni, cluster_name: str) -> bool:
    """Tells whether an ENI is loose and ours: by tag, by description and, where it has a name, by cluster."""
    return (
        eni.attachment is None
        and TAG_INSTANCE in eni.tags
        and eni.description.startswith(DESCRIPTION_PREFIX)
        and TAG_NO_MANAGE not in eni.tags
        and cluster_name in ("", eni.tags.get(TAG_CLUSTER))
    )


def sweep_decision(
    seen_before: FirstSeen, page: Iterable[Eni], claims: Claims, cluster_name: str, now: float
) -> Decision:
    """Returns which ENIs of a page are leaked, and since when the others have been seen."""
    remember: dict[EniId, float] = {}
    delete = []
    for eni in page:
        if eni.id in claims.enis or not is_candidate(eni, cluster_name):
            continue
        since = seen_before.get(eni.id)
        rest = NODE_SECONDS if eni.tags[TAG_INSTANCE] in claims.instances else SIGHTING_SECONDS
        if since is not None and now - since >= rest:
            delete.append(eni)
        else:
            remember[eni.id] = now if since is None else since
    return Decision(remember, tuple(delete))


class LooseEnis(Protocol):
    """The part of ``ec2.api.Ec2Api`` a sweep uses."""

    def available_pages(self, vpc_id: str, cluster_name: str) -> AsyncIterator[list[Eni]]:
        """Yields the VPC's unattached ENIs that carry our instance tag, page by page."""
        ...

    async def delete_eni(self, eni_id: EniId) -> None:
        """Deletes an unattached ENI."""
        ...


@dataclass(frozen=True, slots=True)
class SweepSeams:
    """What a process has and a test brings."""

    clock: Callable[[], float]
    """Seconds that never go back."""
    sleep: Callable[[float], Awaitable[None]]
    chance: Callable[[], float]
    """From 0 up to 1."""
    leads: Callable[[], bool]
    """Asked again before every delete."""


class Sweep:
    """Sweeps every hour, and sooner when something seen loose is due."""

    def __init__(self, ec2: LooseEnis, kube: LeaderApi, pools: Pages, cluster_name: str, seams: SweepSeams) -> None:
        self._ec2 = ec2
        self._kube = kube
        self._pools = pools
        self._cluster_name = cluster_name
        self._seams = seams
        self._seen: dict[EniId, float] = {}

    async def run(self) -> None:
        """Sweeps for ever; knows nothing of what was seen before it was called."""
        self._seen = {}
        while True:
            began = self._seams.clock()
            await self._seams.sleep(START_SECONDS * self._seams.chance())
            try:
                await self.once()
            except (KubeError, Ec2Error) as error:
                log.warning("a sweep for leaked ENIs failed", extra={"error": str(error)})
            await self._seams.sleep(max(0.0, began + self._pause() - self._seams.clock()))

    def _pause(self) -> float:
        """Seconds from one sweep to the next: an ENI seen for the first time is looked at again soon."""
        now = self._seams.clock()
        is_news = any(now - since < SIGHTING_SECONDS for since in self._seen.values())
        return SIGHTING_SECONDS + START_SECONDS if is_news else SWEEP_SECONDS

    async def once(self) -> None:
        """Sweeps once. Raises KubeError and Ec2Error; loose ENIs that were not looked at are forgotten then."""
        claims = await self._claims()
        before, self._seen = self._seen, {}
        for vpc_id in sorted(claims.vpcs):
            async for page in self._ec2.available_pages(vpc_id, self._cluster_name):
                decision = sweep_decision(before, page, claims, self._cluster_name, self._seams.clock())
                self._seen.update(decision.remember)
                for eni in decision.delete:
                    if not await self._delete(eni):
                        self._seen[eni.id] = before[eni.id]
        metrics.SWEEP_CANDIDATES.set(len(self._seen))

    async def _claims(self) -> Claims:
        claims = Claims()
        async for pools in self._pools():
            for pool in pools:
                claims.add_pool(pool)
        async for nodes in self._kube.pages(NODES):
            for node in nodes:
                claims.add_node(node)
        return claims

    async def _delete(self, eni: Eni) -> bool:
        """Deletes an ENI; False when it is for a later sweep. Raises Ec2Error when it is no use to go on."""
        await self._seams.sleep(DELETE_GAP_SECONDS)
        if not self._seams.leads():
            return False
        try:
            await self._ec2.delete_eni(eni.id)
        except NotFoundError:
            return True
        except Ec2Error as error:
            vpc_cni_metrics.undeleted("cleanUpLeakedENIDeleteErr", error.code or type(error).__name__)
            if not isinstance(error, BusyError):
                raise
            log.info("an ENI taken for leaked is in use", extra={"eni": eni.id, "error": str(error)})
            return False
        metrics.SWEPT.inc()
        log.info("deleted a leaked ENI", extra={"eni": eni.id, "instance": eni.tags[TAG_INSTANCE]})
        return True
