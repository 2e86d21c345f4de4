"""The pool the CNI plugin draws on: assigns, holds a sandbox while the pool grows, releases.

Implements ``eni_cni_shim.plugin.addresspool.AddressPool`` over the ledger. Decides how long a sandbox waits and in
which order; which address it gets is the ledger's decision, how the pool grows is the operator's.
"""

import asyncio
import collections
import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final, NamedTuple

from eni_cni_shim.plugin.addresspool import Assignment, NoAddressError, PoolUnavailableError, Sandbox, SandboxKey
from eni_node_agent.ledger.journal import JournalError
from eni_node_agent.ledger.ledger import Holding, Ledger
from eni_node_agent.network.desired import POD_TABLE
from eni_node_agent.sandbox import names

log = logging.getLogger(__name__)


PATIENCE_SECONDS: Final = 2.0
"""A sandbox that waits for longer is told of: creating and attaching an ENI takes EC2 about as long."""


class Refusal(NamedTuple):
    """Why the pool does not grow, in the operator's words."""

    reason: str
    """Machine reason."""
    message: str
    """Sentence for a person."""


class Shortage(NamedTuple):
    """A sandbox without an address, and why."""

    sandbox: Sandbox
    reason: str
    """Machine reason."""
    message: str
    """Sentence for a person; the one the runtime gets."""
    is_final: bool
    """True: its ADD has failed; False: it waits on."""


@dataclass(slots=True, eq=False)
class _Waiter:
    sandbox: Sandbox
    answer: asyncio.Future[Holding]


class SandboxPool:
    """The addresses of this node as the plugin sees them. Lives in one event loop; first come, first served."""

    def __init__(
        self,
        ledger: Ledger,
        *,
        hold_seconds: float,
        clock: Callable[[], float],
        explain: Callable[[], Refusal],
        pressed: Callable[[], None],
        lacking: Callable[[Shortage], None] = lambda _: None,
    ) -> None:
        """Makes the pool.

        Args:
            ledger: who holds what.
            hold_seconds: how long a sandbox waits for the pool to grow.
            clock: seconds since boot.
            explain: tells why the pool does not grow.
            pressed: called when a sandbox begins to wait or an address is released: demand has changed.
            lacking: called when a sandbox has waited for longer than is usual, and when it has waited in vain.
        """
        self._ledger = ledger
        self._hold_seconds = hold_seconds
        self._clock = clock
        self._explain = explain
        self._pressed = pressed
        self._lacking = lacking
        self._waiters: collections.deque[_Waiter] = collections.deque()
        self._alarm: asyncio.TimerHandle | None = None
        self._unavailable = "the agent is starting"

    async def assign(self, sandbox: Sandbox) -> Assignment:
        """Returns the sandbox's address, the same again for the same key; waits while the pool grows.

        Raises:
            NoAddressError: none could be had in time; carries the operator's reason.
            PoolUnavailableError: the assignment could not be remembered, so it was not made.
        """
        holding = self._held(sandbox.key)
        if holding is None and not self._waiters:
            holding = self._try(sandbox)
        if holding is None:
            holding = await self._wait(sandbox)
        self._pressed()
        log.info("address assigned", extra=_names(holding, sandbox))
        return _assignment(holding, sandbox)

    async def release(self, key: SandboxKey) -> Assignment | None:
        """Takes the address back, it cools; None when the key is not known.

        Raises:
            PoolUnavailableError: the release could not be remembered; the address stays assigned.
        """
        holding = self._held(key)
        if holding is None:
            return None
        try:
            self._ledger.release(holding.sandbox.key, self._clock())
        except JournalError as error:
            raise PoolUnavailableError(str(error)) from error
        self._pressed()
        self.wake()
        log.info("address released", extra=_names(holding, holding.sandbox))
        return _assignment(holding, holding.sandbox)

    def find(self, key: SandboxKey) -> Assignment | None:
        """Returns what the key holds."""
        holding = self._held(key)
        return None if holding is None else _assignment(holding, holding.sandbox)

    def assignments(self) -> Collection[Assignment]:
        """Returns all that is assigned to sandboxes known by their key; not what was adopted from the kernel alone."""
        return [
            _assignment(holding, holding.sandbox)
            for holding in self._ledger.holdings()
            if not names.is_recovered(holding.sandbox.key)
        ]

    def check_ready(self) -> None:
        """Returns when ADD would be served or held; a full pool is ready, or STATUS would make a full node NotReady.

        Raises:
            PoolUnavailableError: there is no supply yet, or the host's network is not in order.
        """
        if self._unavailable:
            raise PoolUnavailableError(self._unavailable)

    def set_availability(self, problem: str) -> None:
        """Takes over why the pool cannot serve at all; an empty text: it can."""
        self._unavailable = problem

    def waiting(self) -> list[Sandbox]:
        """Returns the sandboxes that wait, the longest waiting first."""
        return [waiter.sandbox for waiter in self._waiters]

    def wake(self) -> None:
        """Serves those who wait, first come first, with what is free now; called when supply changed or time passed."""
        while self._waiters:
            waiter = self._waiters[0]
            if not waiter.answer.done() and not self._serve(waiter):
                break
            self._waiters.popleft()
        self._set_alarm()

    def _serve(self, waiter: _Waiter) -> bool:
        try:
            holding = self._try(waiter.sandbox)
        except PoolUnavailableError as error:
            waiter.answer.set_exception(error)
            return True
        if holding is None:
            return False
        waiter.answer.set_result(holding)
        return True

    def _try(self, sandbox: Sandbox) -> Holding | None:
        try:
            return self._ledger.assign(sandbox, self._clock())
        except JournalError as error:
            raise PoolUnavailableError(str(error)) from error

    async def _wait(self, sandbox: Sandbox) -> Holding:
        waiter = _Waiter(sandbox, asyncio.get_running_loop().create_future())
        self._waiters.append(waiter)
        self._set_alarm()
        self._pressed()
        try:
            is_answered = await self._is_answered(waiter)
        except asyncio.CancelledError:
            self._give_up(waiter)
            raise
        if is_answered:
            return waiter.answer.result()
        self._give_up(waiter)
        shortage = self._shortage(sandbox, is_final=True)
        self._lacking(shortage)
        raise NoAddressError(shortage.reason, shortage.message)

    async def _is_answered(self, waiter: _Waiter) -> bool:
        """Waits; says on the way that it takes long."""
        patience = min(PATIENCE_SECONDS, self._hold_seconds)
        done, _ = await asyncio.wait({waiter.answer}, timeout=patience)
        if not done and patience < self._hold_seconds:
            self._lacking(self._shortage(waiter.sandbox, is_final=False))
            done, _ = await asyncio.wait({waiter.answer}, timeout=self._hold_seconds - patience)
        return bool(done)

    def _shortage(self, sandbox: Sandbox, *, is_final: bool) -> Shortage:
        refusal = self._explain()
        return Shortage(sandbox, refusal.reason, f"no address came free: {refusal.message}", is_final)

    def _give_up(self, waiter: _Waiter) -> None:
        if waiter in self._waiters:
            self._waiters.remove(waiter)
        if waiter.answer.done() and not waiter.answer.exception():
            self._take_back(waiter.sandbox.key)
        waiter.answer.cancel()
        self._pressed()

    def _take_back(self, key: SandboxKey) -> None:
        """Releases what came in the very moment its asker left; the sweep does it later where this cannot."""
        try:
            self._ledger.release(key, self._clock())
        except JournalError as error:
            log.warning("address of a sandbox that gave up is kept until the sweep", extra={"error": str(error)})

    def _set_alarm(self) -> None:
        """Wakes the waiters when the next cooling address has rested."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        rested_at = self._ledger.next_cooled()
        if self._waiters and rested_at is not None:
            delay = max(rested_at - self._clock(), 0.01)
            self._alarm = asyncio.get_running_loop().call_later(delay, self.wake)

    def _held(self, key: SandboxKey) -> Holding | None:
        """Returns what the key holds.

        A sandbox adopted from the kernel is recognised by its host link, one of VPC CNI's by its container alone.
        """
        aliases = (key, names.recovered_key(names.host_ifname(key)), names.taken_over_key(key))
        return next((holding for alias in aliases if (holding := self._ledger.find(alias)) is not None), None)


def _names(holding: Holding, sandbox: Sandbox) -> dict[str, str]:
    pod = f"{sandbox.pod_namespace}/{sandbox.pod_name}"
    return {"address": holding.address, "eni_id": holding.eni_id, "pod": pod, "sandbox": sandbox.key.container_id}


def _assignment(holding: Holding, sandbox: Sandbox) -> Assignment:
    return Assignment(
        sandbox=sandbox,
        address=holding.address,
        eni_id=holding.eni_id,
        route_table=POD_TABLE,
        host_ifname=names.host_ifname_of(holding.sandbox),
    )
