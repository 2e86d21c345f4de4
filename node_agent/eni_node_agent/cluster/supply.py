"""Supply: the operator's part of this node's NodeIPPool, followed in the API server and kept on disk.

Decides what counts as a usable object; a later bad one never replaces the last good one. Serving from the file alone
is what lets the agent start with the API server gone: no new pod can be bound without it, so the last supply is
enough. That it belongs to this instance is settled by the kernel: ENIs are found by their MAC, and no other has it.
"""

import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from eni_crds.conditions import ConditionType, Reason
from eni_crds.names import POOL_GROUP, POOL_PLURAL, POOL_VERSION
from eni_crds.nodeippool import Condition, ConditionStatus, NodeIPPool, Supply
from eni_node_agent.cluster.api import Json, ListWatch, Selection
from eni_node_agent.cluster.reflector import Reflector
from eni_node_agent.sandbox.pool import Refusal

log = logging.getLogger(__name__)

POOLS_PATH: Final = f"/apis/{POOL_GROUP}/{POOL_VERSION}/{POOL_PLURAL}"

_OBSTACLES: Final = (
    ConditionType.ACCESS_DENIED,
    ConditionType.SUBNET_EXHAUSTED,
    ConditionType.PREFIX_FRAGMENTED,
    ConditionType.LIMIT_REACHED,
    ConditionType.THROTTLED,
)
"""Conditions that say why a pool does not grow, the one a person must act on first."""
_UNDER_WAY: Final = frozenset({Reason.GROWING, Reason.AGENT_SILENT})
"""Reasons that pass by themselves: the operator is at work, or has not heard of this agent yet."""


class SupplyFile:
    """The last supply on disk; replaced as a whole or not at all."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> Supply | None:
        """Returns what was saved last; None when there is nothing or it cannot be read, which is logged."""
        try:
            return Supply.model_validate_json(self._path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as error:
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
            file.write(supply.model_dump_json(by_alias=True, exclude_none=True))
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._path)


def follow_pool(api: ListWatch, node: str, changed: Callable[[NodeIPPool], None]) -> Reflector[NodeIPPool]:
    """Returns a reflector that reports this node's NodeIPPool whenever it changes.

    Lists are never stale: an older supply could name an address as ours that the operator has given back since.
    """

    def report(pools: Mapping[str, NodeIPPool]) -> None:
        for pool in pools.values():
            changed(pool)

    return Reflector(api, Selection(POOLS_PATH, f"metadata.name={node}"), keep=_parse, changed=report)


def refusal(conditions: list[Condition]) -> Refusal | None:
    """Returns why the pool does not grow, from the operator's conditions; None when nothing is in its way."""
    by_type = {condition.type: condition for condition in conditions}
    for kind in _OBSTACLES:
        condition = by_type.get(kind)
        if condition is not None and condition.status is ConditionStatus.TRUE:
            return Refusal(condition.reason, condition.message)
    for kind in (ConditionType.SUFFICIENT, ConditionType.READY):
        condition = by_type.get(kind)
        if condition is not None and condition.status is ConditionStatus.FALSE and condition.reason not in _UNDER_WAY:
            return Refusal(condition.reason, condition.message)
    return None


def _parse(document: Json) -> NodeIPPool | None:
    try:
        return NodeIPPool.model_validate(document)
    except ValidationError as error:
        log.error("NodeIPPool cannot be read; the last good supply stays", extra={"error": str(error)})  # noqa: TRY400
        return None
