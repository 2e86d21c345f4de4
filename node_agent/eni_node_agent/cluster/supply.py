"""Supply: the operator's part of this node's NodeIPPool, followed in the API server and kept on disk.

Decides what counts as a usable object; a later bad one never replaces the last good one. Serving from the file alone
is what lets the agent start with the API server gone: no new pod can be bound without it, so the last supply is
enough. That it belongs to this instance is settled by the kernel: ENIs are found by their MAC, and no other has it.
"""

import json
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from eni_crds.conditions import ConditionType, Reason
from eni_crds.contract import ContractError
from eni_crds.names import POOL_GROUP, POOL_PLURAL, POOL_VERSION
from eni_crds.nodeippool import Condition, ConditionStatus, NodeIPPool, Supply
from eni_node_agent.cluster.api import Json, ListWatch, Selection
from eni_node_agent.cluster.reflector import Reflector
from eni_node_agent.sandbox.pool import Refusal

log = logging.getLogger(__name__)

POOLS_PATH: Final = f"/apis/{POOL_GROUP}/{POOL_VERSION}/{POOL_PLURAL}"

_OBSTACLES: Final = (
    ConditionType.SUBNET_EXHAUSTED,
    ConditionType.PREFIX_FRAGMENTED,
    ConditionType.LIMIT_REACHED,
    ConditionType.THROTTLED,
)
"""Conditions that say why a pool does not grow where ``Sufficient`` does not, the one a person must act on first."""
_UNDER_WAY: Final = frozenset({Reason.GROWING, Reason.AGENT_SILENT})
"""Reasons that pass by themselves: the operator is at work, or has not heard of this agent."""
_PASSING: Final = _UNDER_WAY | {Reason.NOT_AFFECTED}
"""With what the operator says before it knows anything."""


class SupplyFile:
    """The last supply on disk; replaced as a whole or not at all."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> Supply | None:
        """Returns what was saved last; None when there is nothing or it cannot be read, which is logged."""
        try:
            return Supply.parse(json.loads(self._path.read_bytes()))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            log.warning("saved supply cannot be used", extra={"path": str(self._path), "error": str(error)})
            return None

    def save(self, supply: Supply) -> None:
        """Replaces the file, for good: it is there after a power cut too. Waits for the disk.

        Raises:
            OSError: the disk does not take it; the old file is whole then.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        draft = self._path.with_name(f".{self._path.name}.draft")
        with draft.open("w") as file:
            file.write(json.dumps(supply.dump(), separators=(",", ":")))
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._path)


def follow_pool(api: ListWatch, node: str, changed: Callable[[NodeIPPool | None], None]) -> Reflector[NodeIPPool]:
    """Returns a reflector that reports this node's NodeIPPool whenever it changes; None: there is none to be read.

    Lists are never stale: an older supply could name an address as ours that the operator has given back since.
    """

    def report(pools: Mapping[str, NodeIPPool]) -> None:
        changed(next(iter(pools.values()), None))

    return Reflector(api, Selection(POOLS_PATH, f"metadata.name={node}"), keep=_parse, changed=report)


def refusal(conditions: list[Condition]) -> Refusal | None:
    """Returns why the pool does not grow, from the operator's conditions; None when nothing is in its way.

    ``Sufficient`` is the operator's own answer to just this: while it is true the pool has enough or can still grow,
    whatever one subnet or one call refused.
    """
    by_type = {condition.type: condition for condition in conditions}
    sufficient, ready = by_type.get(ConditionType.SUFFICIENT), by_type.get(ConditionType.READY)
    found: list[Condition | None] = []
    if sufficient is None or sufficient.status is not ConditionStatus.TRUE:
        denied, *others = (_if_true(by_type.get(kind)) for kind in (ConditionType.ACCESS_DENIED, *_OBSTACLES))
        found = [denied, _if_refused(sufficient), *others]
    found.append(_if_refused(ready))
    return next((Refusal(condition.reason, condition.message) for condition in found if condition is not None), None)


def progress(conditions: list[Condition]) -> Refusal | None:
    """Returns what the operator says of a pool that nothing is in the way of; None when it says nothing of use."""
    by_type = {condition.type: condition for condition in conditions}
    for kind in (ConditionType.READY, ConditionType.SUFFICIENT):
        condition = by_type.get(kind)
        if condition is not None and condition.reason in _UNDER_WAY:
            return Refusal(condition.reason, condition.message)
    overcommitted = _if_true(by_type.get(ConditionType.OVERCOMMITTED))
    return Refusal(overcommitted.reason, overcommitted.message) if overcommitted else None


def _if_true(condition: Condition | None) -> Condition | None:
    return condition if condition is not None and condition.status is ConditionStatus.TRUE else None


def _if_refused(condition: Condition | None) -> Condition | None:
    if condition is None or condition.status is not ConditionStatus.FALSE or condition.reason in _PASSING:
        return None
    return condition


def _parse(document: Json) -> NodeIPPool | None:
    try:
        return NodeIPPool.parse(document)
    except ContractError as error:
        log.error("NodeIPPool cannot be read; the last good supply stays", extra={"error": str(error)})  # noqa: TRY400
        return None
