"""What the agent reports of itself: usage and its two conditions, from ledger, pods and the host's network.

Decides what the numbers and sentences are; when they are written is ``usage``'s decision.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from eni_cni_shim.plugin.addresspool import Sandbox
from eni_crds.conditions import ConditionType, Reason
from eni_crds.nodeippool import CardUsage, Condition, ConditionStatus, Usage
from eni_node_agent.cluster import pods as cluster_pods
from eni_node_agent.cluster.flow import SupplyFlow
from eni_node_agent.cluster.pods import Pod
from eni_node_agent.cluster.usage import Report
from eni_node_agent.ledger.ledger import Ledger
from eni_node_agent.sandbox.pool import SandboxPool

DRIFT_SECONDS: Final = 600.0
"""How long a repair is reported; long enough that a person who looks after an incident still sees it."""
_LONGEST_LIST: Final = 5
"""Addresses named in a message; the rest is counted."""


class Reporter:
    """Makes the report of the moment."""

    def __init__(
        self, ledger: Ledger, pool: SandboxPool, flow: SupplyFlow, *, boot_id: str, clock: Callable[[], float]
    ) -> None:
        """Makes the reporter; ``clock`` gives seconds since boot."""
        self._ledger = ledger
        self._pool = pool
        self._flow = flow
        self._boot_id = boot_id
        self._clock = clock
        self._pods: Mapping[str, Pod] = {}
        self._repairs: Counter[str] = Counter()
        self._repaired_at = float("-inf")
        self._conflicts: tuple[str, ...] = ()
        self._stated: dict[ConditionType, Condition] = {}

    def see_pods(self, pods: Mapping[str, Pod]) -> None:
        """Takes over the pods bound to this node, by uid."""
        self._pods = dict(pods)

    def see_repair(self, kind: str) -> None:
        """Takes over that something of the host's network was changed by others and repaired."""
        if self._clock() - self._repaired_at > DRIFT_SECONDS:
            self._repairs.clear()
        self._repairs[kind] += 1
        self._repaired_at = self._clock()

    def see_conflicts(self, conflicts: Sequence[str]) -> None:
        """Takes over the sentences about what other tools put into pods' way and is there now."""
        self._conflicts = tuple(conflicts)

    @property
    def pending(self) -> int:
        """Pods that have no address yet; none while somebody else gives them out."""
        return self._pending(self._pods.values(), self._pool.waiting())

    def _pending(self, pods: Iterable[Pod], waiting: Iterable[Sandbox]) -> int:
        if self._flow.is_held_back:
            return 0
        holdings = self._ledger.holdings()
        return cluster_pods.pending(
            pods,
            [holding.sandbox for holding in holdings],
            waiting,
            {address for holding in holdings for address in holding.addresses},
        )

    def _cards(self, cards: Sequence[CardUsage]) -> list[CardUsage]:
        """Returns the cards with who waits for them: every pod that wants a link on each."""
        if not cards:
            return []
        wanting = (pod for pod in self._pods.values() if pod.every_card)
        pending = self._pending(wanting, (sandbox for sandbox in self._pool.waiting() if sandbox.every_card))
        return [card.replace(pending=pending) for card in cards]

    def report(self) -> Report:
        """Returns usage and conditions."""
        tally = self._ledger.tally(self._clock())
        usage = Usage(
            assigned=tally.assigned,
            cooling=tally.cooling,
            free=tally.free,
            pending=self.pending,
            idle=[] if self._flow.is_held_back else list(tally.idle),
            released=list(tally.released) if self._flow.is_saved and not self._flow.is_held_back else [],
            leaving=list(tally.leaving),
            cards=self._cards(tally.cards),
            boot_id=self._boot_id,
        )
        return Report(usage=usage, conditions=[self._connected(), self._drift()])

    def _connected(self) -> Condition:
        obstacle = self._flow.obstacle
        if obstacle is not None:
            return self._state(ConditionType.AGENT_CONNECTED, ConditionStatus.FALSE, *obstacle)
        message = "the agent has taken the supply over and serves pods"
        return self._state(ConditionType.AGENT_CONNECTED, ConditionStatus.TRUE, Reason.AGENT_SERVING, message)

    def _drift(self) -> Condition:
        sentences = []
        if self._clock() - self._repaired_at <= DRIFT_SECONDS:
            kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(self._repairs.items()))
            sentences.append(f"something else changed the host's network; repaired: {kinds}")
        lost = sorted(self._ledger.lost_addresses())
        if lost:
            named = ", ".join(lost[:_LONGEST_LIST]) + (" and more" if len(lost) > _LONGEST_LIST else "")
            sentences.append(f"{len(self._ledger.lost())} pods hold addresses the supply does not name: {named}")
        sentences += self._conflicts[:_LONGEST_LIST]
        if sentences:
            text = "; ".join(sentences)
            reason = Reason.RULE_CONFLICT if self._conflicts else Reason.NETWORK_REPAIRED
            return self._state(ConditionType.DRIFT_DETECTED, ConditionStatus.TRUE, reason, text)
        text = "the host's network is as it should be"
        return self._state(ConditionType.DRIFT_DETECTED, ConditionStatus.FALSE, Reason.NETWORK_IN_ORDER, text)

    def _state(self, kind: ConditionType, status: ConditionStatus, reason: str, message: str) -> Condition:
        """Returns a condition; since when it has its status is kept, as the API conventions want it."""
        before = self._stated.get(kind)
        since = before.last_transition_time if before and before.status is status else datetime.now(UTC)
        condition = Condition(type=kind, status=status, reason=reason, message=message, last_transition_time=since)
        self._stated[kind] = condition
        return condition
