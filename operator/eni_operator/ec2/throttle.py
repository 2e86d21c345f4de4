"""A token bucket for each EC2 API, so that we slow down before EC2 makes us.

Decides when a call may go out; does not make it (``ec2.client``). EC2's own buckets are per account, Region and API
(https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html); we take a share and leave the rest to the
account's other controllers. A refusal halves our rate, time brings it back.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

Clock = Callable[[], float]
Sleep = Callable[[float], Awaitable[None]]

SHARE: Final = 0.6
"""Part of the published bucket we use."""
SLOWEST: Final = 1 / 16
"""A refusal never slows an API below this part of its rate."""
RECOVERY_SECONDS: Final = 300.0
"""Time from a standstill to the full rate when EC2 refuses nothing more."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """EC2's published figures: calls at once, and calls a second after that."""

    capacity: float
    rate: float


_MUTATING: Final = Bucket(50, 5)
_INTERFACE: Final = Bucket(100, 5)
_DESCRIBE: Final = Bucket(100, 20)
_BUCKETS: Final = {
    "CreateNetworkInterface": _INTERFACE,
    "DeleteNetworkInterface": _INTERFACE,
    "ModifyNetworkInterfaceAttribute": _INTERFACE,
    "AssignIpv6Addresses": _INTERFACE,
    "AssignPrivateIpAddresses": _INTERFACE,
    "UnassignPrivateIpAddresses": _INTERFACE,
    "CreateTags": Bucket(100, 10),
}


def published(operation: str) -> Bucket:
    """Returns EC2's bucket for an API; whatever is not listed and does not describe is plain mutating."""
    return _DESCRIBE if operation.startswith(("Describe", "Get")) else _BUCKETS.get(operation, _MUTATING)


class _Tokens:
    """One API's bucket. Tokens may go below zero: that is the queue, first come first served."""

    def __init__(self, bucket: Bucket, now: float) -> None:
        self._full = Bucket(max(1.0, bucket.capacity * SHARE), bucket.rate * SHARE)
        self.rate = self._full.rate
        self._tokens = self._full.capacity
        self._at = now

    def _refill(self, now: float) -> None:
        passed = max(0.0, now - self._at)
        self._at = now
        self._tokens = min(self._full.capacity, self._tokens + passed * self.rate)
        self.rate = min(self._full.rate, self.rate + passed * self._full.rate / RECOVERY_SECONDS)

    def take(self, now: float) -> float:
        """Takes a token and returns the seconds to wait before using it."""
        self._refill(now)
        self._tokens -= 1
        return max(0.0, -self._tokens / self.rate)

    def refused(self, now: float) -> None:
        """Halves the rate and empties the bucket: EC2's own is empty too."""
        self._refill(now)
        self.rate = max(self._full.rate * SLOWEST, self.rate / 2)
        self._tokens = min(0.0, self._tokens)


class Throttle:
    """The buckets of one client."""

    def __init__(self, clock: Clock, sleep: Sleep) -> None:
        self._clock = clock
        self._sleep = sleep
        self._apis: dict[str, _Tokens] = {}

    def _of(self, operation: str) -> _Tokens:
        if operation not in self._apis:
            self._apis[operation] = _Tokens(published(operation), self._clock())
        return self._apis[operation]

    async def acquire(self, operation: str) -> float:
        """Waits for this API's turn; returns the seconds waited."""
        delay = self._of(operation).take(self._clock())
        if delay > 0:
            await self._sleep(delay)
        return delay

    def refused(self, operation: str) -> None:
        """Notes that EC2 answered RequestLimitExceeded."""
        self._of(operation).refused(self._clock())

    def rate(self, operation: str) -> float:
        """Returns the calls a second this API is held to now."""
        return self._of(operation).rate
