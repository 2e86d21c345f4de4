"""Writes a pool's status by server-side apply when it differs, and remembers what is written.

Decides when a difference is worth a write. What is remembered is what the planner takes for promised: after a write of
unknown outcome nothing is, so that no answer to a promise we may have withdrawn can ever count.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from eni_crds.names import POOL_GROUP, POOL_KIND, POOL_VERSION
from eni_crds.nodeippool import Condition, NodeIPPoolStatus, Supply
from eni_operator.controllers import status, worlds
from eni_operator.controllers.kube import KubeApi, KubeError, KubeObject
from eni_operator.domain.reasons import Verdict

MESSAGE_SECONDS: Final = 10.0
"""A change of wording alone (counts in a message) is written at most this often."""


class Publisher:
    """Writes the status of one pool."""

    def __init__(self, kube: KubeApi, node_name: str, clock: Callable[[], float]) -> None:
        self._kube = kube
        self._node_name = node_name
        self._clock = clock
        self._written_at = 0.0
        self._is_certain = False
        self.supply: Supply | None = None
        self.conditions: list[Condition] = []
        self.handshakes = worlds.Handshakes()

    def take_over(self, found: NodeIPPoolStatus) -> None:
        """Continues from what a predecessor wrote."""
        self.supply = found.supply
        self.conditions = found.conditions
        self.handshakes = worlds.handshakes(found.supply)
        self._is_certain = True

    def forget(self) -> None:
        """The object is gone: nothing is written and nothing promised."""
        self.take_over(NodeIPPoolStatus())

    async def publish(self, supply: Supply | None, verdicts: tuple[Verdict, ...]) -> float | None:
        """Writes what differs; returns when to call again for a change of wording. Raises KubeError.

        ``supply`` None keeps the one that is written: to apply without it would delete it.
        """
        kept = supply if supply is not None else self.supply
        now = self._clock()
        conditions = status.conditions(verdicts, self.conditions, datetime.fromtimestamp(int(now), UTC))
        if self._is_certain and kept == self.supply and _meaning(conditions) == _meaning(self.conditions):
            if conditions == self.conditions:
                return None
            if now < self._written_at + MESSAGE_SECONDS:
                return self._written_at + MESSAGE_SECONDS
        await self._write(kept, conditions)
        return None

    async def _write(self, supply: Supply | None, conditions: list[Condition]) -> None:
        try:
            await self._kube.apply_pool_status(_body(self._node_name, supply, conditions))
        except KubeError:
            self._is_certain = False
            self.handshakes = worlds.Handshakes()
            raise
        self.supply, self.conditions, self._is_certain = supply, conditions, True
        self.handshakes = worlds.handshakes(supply)
        self._written_at = self._clock()


def _meaning(conditions: list[Condition]) -> set[tuple[str, str, str]]:
    return {(condition.type, condition.status, condition.reason) for condition in conditions}


def _body(name: str, supply: Supply | None, conditions: list[Condition]) -> KubeObject:
    part: KubeObject = {"conditions": [condition.dump() for condition in conditions]}
    if supply is not None:
        part["supply"] = supply.dump()
    return {
        "apiVersion": f"{POOL_GROUP}/{POOL_VERSION}",
        "kind": POOL_KIND,
        "metadata": {"name": name},
        "status": part,
    }
