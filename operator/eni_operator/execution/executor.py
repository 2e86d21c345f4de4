"""Performs the actions of plans: in parallel across ENIs, in order within one, none twice at a time.

Decides when a failed action may be tried again; what each action means is ``execution.steps``. Plans are made anew
while actions are under way; an action for an ENI or a place on a network card that is being worked on is left for a
later plan.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Final

from eni_operator import vpc_cni_metrics
from eni_operator.domain.actions import (
    Action,
    AssignAddresses,
    AssignIpv6Prefix,
    AssignPrefixes,
    AttachEni,
    CreateEni,
    SetSecurityGroups,
)
from eni_operator.domain.eni import EniId
from eni_operator.ec2.api import Ec2Api
from eni_operator.ec2.errors import (
    AddressLimitReachedError,
    CredentialsMissingError,
    DeniedError,
    Ec2Error,
    IdempotencyMismatchError,
    LimitReachedError,
    NoFreePrefixError,
    NotFoundError,
    QuotaReachedError,
    SubnetFullError,
    ThrottledError,
    UnknownSecurityGroupError,
    UnknownSubnetError,
    WrongZoneError,
)
from eni_operator.execution.steps import Performer
from eni_operator.inventory.instance import InstanceInventory

log = logging.getLogger(__name__)

FIRST_RETRY_SECONDS: Final = 1.0
LAST_RETRY_SECONDS: Final = 60.0
PERSON_RETRY_SECONDS: Final = 15.0
"""Least wait after a refusal that only a person can mend."""
_FOR_A_PERSON: Final = (
    CredentialsMissingError,
    DeniedError,
    QuotaReachedError,
    UnknownSecurityGroupError,
    UnknownSubnetError,
    WrongZoneError,
)
_SAYS_NOTHING: Final = (*_FOR_A_PERSON, ThrottledError)
"""Refused for what was asked or by whom: our belief of what is there stands."""

Key = tuple[str, ...]
"""An action's kind, the ENI or place it is about, and the subnet and groups it names: mended, it is another action."""


@dataclass(frozen=True, slots=True)
class Failure:
    """The latest failure of an action that has not succeeded since."""

    action: Action
    error: Ec2Error
    retry_at: float
    times: int = 1
    """How often in a row."""


class Executor:
    """Works on one instance. ``changed`` is called when the belief has changed or an action has ended."""

    def __init__(
        self,
        inventory: InstanceInventory,
        ec2: Ec2Api,
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
        jitter: Callable[[], float],
        changed: Callable[[], None],
    ) -> None:
        self._inventory = inventory
        self._clock = clock
        self._jitter = jitter
        self._changed = changed
        self._performer = Performer(inventory, ec2, sleep, changed)
        self._patient = Performer(inventory, inventory.patient_ec2, sleep, changed)
        self._busy: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._failures: dict[Key, Failure] = {}
        self._asked_for: set[Key] = set()
        self.tokens_spent = 0
        """Counts client tokens that name an ENI which is not to be had: their next use needs another generation."""

    @property
    def busy(self) -> bool:
        """Tells whether anything is under way."""
        return bool(self._tasks)

    @property
    def failures(self) -> tuple[Failure, ...]:
        """Returns what has failed and not succeeded since, while the plans still ask for it."""
        return tuple(failure for key, failure in self._failures.items() if key in self._asked_for)

    def retry_at(self) -> float | None:
        """Returns when the next failed action may be tried again; what is being tried now says when it has ended."""
        resting = (failure for failure in self.failures if self._busy.isdisjoint(_claims(failure.action)))
        return min((failure.retry_at for failure in resting), default=None)

    def retain(self, actions: Iterable[Action]) -> None:
        """Drops failures of what is not asked for any more.

        Their wait goes on, so that two plans by turns are no way round it.
        """
        now = self._clock()
        self._asked_for = {_key(action) for action in actions}
        self._failures = {k: f for k, f in self._failures.items() if k in self._asked_for or f.retry_at > now}

    def start(self, actions: Iterable[Action]) -> None:
        """Starts what is not under way and not waiting after a failure; returns at once."""
        ready = [action for action in actions if not self._rests(action)]
        for subject, chain in _by_subject(ready).items():
            claimed = {claim for action in chain for claim in _claims(action)}
            if self._busy.isdisjoint(claimed):
                self._busy |= claimed
                task = asyncio.create_task(self._run(chain, claimed), name=f"ec2 {subject}")
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    def _rests(self, action: Action) -> bool:
        key = _key(action)
        self._asked_for.add(key)
        failure = self._failures.get(key)
        return failure is not None and failure.retry_at > self._clock()

    async def _run(self, chain: list[Action], claimed: set[str]) -> None:
        def own(eni_id: EniId) -> None:
            claimed.add(eni_id)
            self._busy.add(eni_id)

        try:
            for action in chain:
                if not await self._attempt(action, own):
                    break
        finally:
            self._busy -= claimed
            self._changed()

    async def _attempt(self, action: Action, own: Callable[[EniId], None]) -> bool:
        try:
            with vpc_cni_metrics.performing(action):
                await (self._performer if _serves_pods(action) else self._patient).perform(action, own)
        except Ec2Error as error:
            self._note(action, error)
            return False
        except Exception as bug:
            log.exception("an action broke", extra={"action": repr(action)})
            self._note(action, Ec2Error(type(action).__name__, detail=repr(bug)))
            return False
        self._failures.pop(_key(action), None)
        log.info("done in EC2", extra={"action": repr(action)})
        return True

    def _note(self, action: Action, error: Ec2Error) -> None:
        vpc_cni_metrics.failed(action, error.operation, error.code or type(error).__name__)
        before = self._failures.get(_key(action))
        times = before.times + 1 if before else 1
        delay = min(FIRST_RETRY_SECONDS * 2 ** (times - 1), LAST_RETRY_SECONDS) * self._jitter()
        if isinstance(error, _FOR_A_PERSON):
            delay = max(delay, PERSON_RETRY_SECONDS)
        failure = Failure(action, error, self._clock() + delay, times)
        self._failures[_key(action)] = failure
        log.warning("refused by EC2", extra={"action": repr(action), "error": str(error), "times": times})
        self._learn(action, error)

    def _learn(self, action: Action, error: Ec2Error) -> None:
        """What a refusal says about the world goes into the belief, or makes us look again."""
        if isinstance(error, SubnetFullError | NoFreePrefixError):
            if not isinstance(action, AssignIpv6Prefix):  # what we believe of subnets is their IPv4
                self._rest_subnet(action, error)
        elif not isinstance(error, _SAYS_NOTHING):
            self._inventory.doubt(unanswered=error.ambiguous)
        if isinstance(error, LimitReachedError) and isinstance(action, CreateEni | AttachEni):
            self._inventory.learned_limit(action.network_card)
        if isinstance(error, AddressLimitReachedError):
            self._learn_address_limit(action)
        if isinstance(action, CreateEni) and _names_nothing(error):
            self.tokens_spent += 1

    def _learn_address_limit(self, action: Action) -> None:
        """Counts for a type whose limits nobody knows; what an ENI was made with is refused when it is attached."""
        if isinstance(action, AssignAddresses | AssignPrefixes):
            self._inventory.learned_address_limit(action.eni_id, action.count)
        elif isinstance(action, AttachEni):
            self._inventory.learned_address_limit(action.eni_id)

    def _rest_subnet(self, action: Action, error: Ec2Error) -> None:
        eni = None if isinstance(action, CreateEni) else self._inventory.attachments.get(action.eni_id)
        subnet_id = action.subnet_id if isinstance(action, CreateEni) else eni.subnet_id if eni else None
        if subnet_id is not None and isinstance(error, SubnetFullError):
            self._inventory.subnets.refused_address(subnet_id)
        elif subnet_id is not None:
            self._inventory.subnets.refused_prefix(subnet_id)

    async def settle(self) -> None:
        """Waits until nothing is under way."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def close(self) -> None:
        """Abandons what is under way; a successor finds it by tag and token."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _names_nothing(error: Ec2Error) -> bool:
    """Tells whether the client token's ENI is not to be had; what else may be unknown is not the token's fault."""
    return isinstance(error, IdempotencyMismatchError) or type(error) is NotFoundError


def _place(action: CreateEni | AttachEni) -> str:
    return f"card {action.network_card} device {action.device_index}"


def _subject(action: Action) -> str:
    return _place(action) if isinstance(action, CreateEni) else action.eni_id


def _serves_pods(action: Action) -> bool:
    """Tells whether pods may wait for it; for a bare ENI they do not, and it must not go before another node's pods."""
    if isinstance(action, CreateEni):
        return bool(action.addresses or action.prefixes or action.ipv6_prefixes)
    return isinstance(action, AttachEni | AssignAddresses | AssignPrefixes | AssignIpv6Prefix)


def _claims(action: Action) -> set[str]:
    """An ENI being attached also holds its place."""
    return {_subject(action), *([_place(action)] if isinstance(action, CreateEni | AttachEni) else [])}


def _key(action: Action) -> Key:
    subnet = (action.subnet_id,) if isinstance(action, CreateEni) else ()
    groups = action.security_groups if isinstance(action, CreateEni | SetSecurityGroups) else ()
    return type(action).__name__, _subject(action), *subnet, *groups


def _by_subject(actions: Iterable[Action]) -> dict[str, list[Action]]:
    chains: dict[str, list[Action]] = {}
    for action in actions:
        chains.setdefault(_subject(action), []).append(action)
    return chains
