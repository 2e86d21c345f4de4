"""The pool the CNI plugin draws on: assigns, holds a sandbox while the pool grows, releases.

Implements ``eni_cni_shim.plugin.addresspool.AddressPool`` over the ledger. Decides how long a sandbox waits and in
which order; which address it gets is the ledger's decision, how the pool grows is the operator's.
"""

import asyncio
import collections
import dataclasses
import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from eni_cni_shim.plugin.addresspool import Assignment, NoAddressError, PoolUnavailableError, Sandbox, SandboxKey
from eni_node_agent.ledger.journal import JournalError
from eni_node_agent.ledger.ledger import Holding, Ledger, LinkNames
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

    def __init__(  # noqa: PLR0913 - what has a default is passed by name
        self,
        ledger: Ledger,
        *,
        hold_seconds: float,
        clock: Callable[[], float],
        explain: Callable[[], Refusal],
        pressed: Callable[[], None],
        lacking: Callable[[Shortage], None] = lambda _: None,
        exhausted: Callable[[], Refusal | None] = lambda: None,
        veth_prefix: str = names.HOST_IFNAME_PREFIX,
    ) -> None:
        """Makes the pool.

        Args:
            ledger: who holds what.
            hold_seconds: how long a sandbox waits for the pool to grow.
            clock: seconds since boot.
            explain: tells why the pool does not grow.
            pressed: called when a sandbox begins to wait or an address is released: demand has changed.
            lacking: called when a sandbox has waited for longer than is usual, and when it has waited in vain.
            exhausted: tells why no address is left and none will come; None: one is free, cools, or may come.
            veth_prefix: what the names of new host ends begin with.
        """
        self._ledger = ledger
        self._hold_seconds = hold_seconds
        self._clock = clock
        self._explain = explain
        self._pressed = pressed
        self._lacking = lacking
        self._exhausted = exhausted
        self._veth_prefix = veth_prefix
        self._waiters: collections.deque[_Waiter] = collections.deque()
        self._asked: dict[SandboxKey, float] = {}
        self._alarm: asyncio.TimerHandle | None = None
        self._unavailable = "the agent is starting"
        self._limits_pods = False

    async def assign(self, sandbox: Sandbox) -> Assignment:
        """Returns the sandbox's addresses, the same again for the same key; waits while the pool grows.

        Raises:
            NoAddressError: not all could be had in time; carries the operator's reason.
            PoolUnavailableError: the assignment could not be remembered, so it was not made.
        """
        holdings = self._held(sandbox.key)
        if not holdings and not any(_is_before(waiter.sandbox, sandbox) for waiter in self._waiters):
            holding = self._try(sandbox)
            holdings = [holding] if holding is not None else []
        if not holdings:
            holdings = [await self._wait(sandbox)]
        self._pressed()
        self._asked.update((holding.sandbox.key, self._clock()) for holding in holdings)
        assignment = self._assignment(holdings, sandbox)
        if log.isEnabledFor(logging.DEBUG):
            log.debug("address assigned", extra=_names(assignment))
        return assignment

    async def release(self, key: SandboxKey) -> Assignment | None:
        """Takes the addresses back, they cool; None when the key is not known.

        Raises:
            PoolUnavailableError: the release could not be remembered; the addresses stay assigned.
        """
        holdings = self._held(key)
        if not holdings:
            return None
        try:
            for holding in holdings:
                self._ledger.release(holding.sandbox.key, self._clock())
                self._asked.pop(holding.sandbox.key, None)
        except JournalError as error:
            raise PoolUnavailableError(str(error)) from error
        self._pressed()
        self.wake()
        assignment = self._assignment(holdings, holdings[0].sandbox)
        if log.isEnabledFor(logging.DEBUG):
            log.debug("address released", extra=_names(assignment))
        return assignment

    def find(self, key: SandboxKey) -> Assignment | None:
        """Returns what the key holds."""
        holdings = self._held(key)
        return self._assignment(holdings, dataclasses.replace(holdings[0].sandbox, key=key)) if holdings else None

    def asked_at(self, key: SandboxKey) -> float:
        """Returns when a sandbox was given its addresses last, in seconds since boot; minus infinity: not by us."""
        return self._asked.get(key, float("-inf"))

    def assignments(self) -> Collection[Assignment]:
        """Returns all that is assigned to sandboxes known by their key; not what was adopted from the kernel alone."""
        return [
            self._assignment([holding], holding.sandbox)
            for holding in self._ledger.holdings()
            if not names.is_recovered(holding.sandbox.key)
        ]

    def check_ready(self) -> None:
        """Returns when ADD would be served or held, and on a node that is merely full.

        What fails here makes the node NotReady, and Kubernetes evicts the pods of such a node after five minutes: a
        pool that cannot grow is no reason for that while pods run well. Where none runs, nobody is hurt and the
        scheduler looks elsewhere.

        Raises:
            PoolUnavailableError: there is no supply yet, or the host's network is not in order.
            NoAddressError: no address is left, none will come, and no pod has one.
        """
        is_serving = bool(self._ledger.holdings())
        if self._unavailable:
            raise PoolUnavailableError(self._unavailable, limits_pods=self._limits_pods and is_serving)
        refusal = self._exhausted()
        if refusal is not None and not is_serving:
            raise NoAddressError(refusal.reason, f"no address can be had: {refusal.message}")

    def set_availability(self, problem: str, *, limits_pods: bool = False) -> None:
        """Takes over why the pool cannot serve at all, and whether pods that run feel it; an empty text: it can."""
        self._unavailable = problem
        self._limits_pods = limits_pods

    def waiting(self) -> list[Sandbox]:
        """Returns the sandboxes that wait, the longest waiting first."""
        return [waiter.sandbox for waiter in self._waiters]

    def wake(self) -> None:
        """Serves those who wait, first come first, with what is free now; called when supply changed or time passed.

        Who wants a link on every card may lack what others do not need: those behind it are served meanwhile.
        """
        unserved: list[_Waiter] = []
        for waiter in list(self._waiters):
            if any(_is_before(other.sandbox, waiter.sandbox) for other in unserved):
                continue
            if waiter.answer.done() or self._serve(waiter):
                self._waiters.remove(waiter)
            else:
                unserved.append(waiter)
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
            holding = self._ledger.assign(sandbox, self._clock(), self._name)
        except JournalError as error:
            raise PoolUnavailableError(str(error)) from error
        if holding is not None:
            self._asked[sandbox.key] = self._clock()
        return holding

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
            self._asked.pop(key, None)
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

    def _name(self, key: SandboxKey, number: int) -> LinkNames:
        return names.link_names(key, number, self._veth_prefix)

    def _held(self, key: SandboxKey) -> list[Holding]:
        """Returns what the key holds.

        A sandbox of VPC CNI's is recognised by its container; links adopted from the kernel are by their names, one by
        one.
        """
        holding = self._ledger.find(key) or self._ledger.find(names.taken_over_key(key))
        if holding is not None:
            return [holding]
        adopted: list[Holding] = []
        while (found := self._ledger.find(names.recovered_key(self._name(key, len(adopted)).host_ifname))) is not None:
            adopted.append(found)
        return adopted

    def _assignment(self, holdings: Sequence[Holding], sandbox: Sandbox) -> Assignment:
        """Returns the holdings of one sandbox as the plugin needs them; what was adopted learns the pod's own names."""
        links = [link for holding in holdings for link in holding.links]
        named = (
            link if link.ifname else dataclasses.replace(link, ifname=self._name(sandbox.key, number).ifname)
            for number, link in enumerate(links)
        )
        return Assignment(sandbox, tuple(named), POD_TABLE)


def _is_before(waiting: Sandbox, sandbox: Sandbox) -> bool:
    """Tells whether a sandbox that waits is to be served before another, which came later."""
    return sandbox.every_card or not waiting.every_card


def _names(assignment: Assignment) -> dict[str, str]:
    sandbox = assignment.sandbox
    return {
        "address": " ".join(assignment.addresses),
        "eni_id": assignment.eni_id,
        "pod": f"{sandbox.pod_namespace}/{sandbox.pod_name}",
        "sandbox": sandbox.key.container_id,
    }
