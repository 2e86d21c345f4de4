"""What the loop keeps between two plans: since when there is a surplus, and how many ENIs have left.

Decides nothing about the pool (``planning`` does); sees to it that time-outs run on and that a client token never names
an ENI that is gone. Lost at a restart without harm: the surplus waits anew, the generation is read from the status.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from eni_operator.domain.actions import RemoveEni
from eni_operator.domain.policy import Policy
from eni_operator.domain.pool import World
from eni_operator.planning.plan import Plan, plan

if TYPE_CHECKING:
    from eni_operator.domain.eni import EniId


class Decider:
    """Plans for one pool."""

    def __init__(self, clock: Callable[[], float], nonce: Callable[[], str]) -> None:
        self._clock = clock
        self._nonce = nonce
        self._surplus_since: float | None = None
        self._generation = 0
        self._tokens_spent = 0
        self._leaving: frozenset[EniId] = frozenset()

    def take_over(self, generation: int) -> None:
        """Continues from what is written."""
        self._generation = max(generation, self._generation)

    def spent(self, tokens: int) -> None:
        """Notes how many client tokens, in all, name an ENI that is not to be had."""
        self._generation += max(0, tokens - self._tokens_spent)
        self._tokens_spent = tokens

    def decide(self, seen: World, policy: Policy) -> Plan:
        """Returns the plan for a world, whose ``surplus_since`` and ``generation`` are filled in here."""
        now, nonce = self._clock(), self._nonce()
        world = replace(seen, surplus_since=self._surplus_since, generation=self._generation)
        decision = plan(world, policy, now, nonce)
        leaving = frozenset(action.eni_id for action in decision.actions if isinstance(action, RemoveEni))
        if leaving and leaving <= self._leaving:
            # Asked for before and not done yet: it is counted already.
            decision = plan(replace(world, generation=world.generation - 1), policy, now, nonce)
        self._leaving = leaving
        self._generation = decision.generation
        self._surplus_since = (self._surplus_since or now) if decision.surplus else None
        return decision
