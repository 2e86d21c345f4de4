"""Token buckets as EC2 keeps them, one for each API: its published figures, and how many calls may be under way.

Decides when a token is free; who gets it is ``ec2.throttle``'s. Pure: the instant is an argument. EC2's buckets are per
account, Region and API (https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html).
"""

from dataclasses import dataclass
from typing import Final

SLOWEST: Final = 1 / 16
"""A refusal never slows an API below this part of its rate."""
REFUSED_TOGETHER_SECONDS: Final = 1.0
"""Refusals this close are one: the calls were under way together, and the later ones say nothing new."""
RECOVERY_SECONDS: Final = 300.0
"""Time from a standstill to the full rate when EC2 refuses nothing more."""
_WHOLE: Final = 1 - 1e-9
"""A token, but for what sums of fractions lose."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """Calls at once, and calls a second after that."""

    capacity: float
    rate: float


_MUTATING: Final = Bucket(50, 5)
_INTERFACE: Final = Bucket(100, 5)
_READING: Final = Bucket(100, 20)
"""Of Describe calls with a filter or pages, and of all other reading ones; every Describe of ours has one."""
_PUBLISHED: Final = {
    "AssignIpv6Addresses": _INTERFACE,
    "AssignPrivateIpAddresses": _INTERFACE,
    "CreateNetworkInterface": _INTERFACE,
    "CreateTags": Bucket(100, 10),
    "DeleteNetworkInterface": _INTERFACE,
    "ModifyNetworkInterfaceAttribute": _INTERFACE,
    "UnassignPrivateIpAddresses": _INTERFACE,
}


def published(operation: str) -> Bucket:
    """Returns EC2's bucket for an API; whatever is not listed and does not read is plain mutating."""
    return _READING if operation.startswith(("Describe", "Get")) else _PUBLISHED.get(operation, _MUTATING)


class Tokens:
    """One bucket, or our share of one, as it would be if every call reached EC2 at the last moment possible.

    EC2 takes its token when a call arrives: some time after we sent it, and before we have the answer. A full bucket
    gains nothing, so calls that dawdle on the way meet a bucket that is emptier than one that counts at the sending. So
    a token that is under way still takes up its room here, until the answer: however long calls take, EC2's own bucket
    then never holds less than ours.
    """

    def __init__(self, bucket: Bucket, now: float) -> None:
        self._full = Bucket(max(1.0, bucket.capacity), bucket.rate)
        self._rate = bucket.rate
        self._free = self._full.capacity
        self._under_way = 0
        self._at = now
        self._refused_at = -REFUSED_TOGETHER_SECONDS

    def _refill(self, now: float) -> None:
        passed = max(0.0, now - self._at)
        self._at = now
        self._free = min(self._full.capacity - self._under_way, self._free + passed * self._rate)
        self._rate = min(self._full.rate, self._rate + passed * self._full.rate / RECOVERY_SECONDS)

    def free_in(self, now: float) -> float | None:
        """Returns the seconds until a token is free; None when a call under way must be answered first."""
        self._refill(now)
        if self._free >= _WHOLE:
            return 0.0
        return None if self._full.capacity - self._under_way < _WHOLE else (1 - self._free) / self._rate

    def rate(self, now: float) -> float:
        """Returns the tokens gained a second."""
        self._refill(now)
        return self._rate

    def take(self, now: float) -> bool:
        """Takes a token for a call that goes out now; False when none is free."""
        if self.free_in(now) != 0.0:
            return False
        self._free -= 1
        self._under_way += 1
        return True

    def answered(self, now: float) -> None:
        """A call is over: EC2 has taken its token."""
        self._refill(now)
        self._under_way -= 1

    def unused(self, now: float) -> None:
        """A token was taken, and the call never went out."""
        self.answered(now)
        self._free += 1

    def refused(self, now: float) -> None:
        """Empties the bucket, for EC2's own is empty too, and halves the rate."""
        self._refill(now)
        self._free = 0.0
        if now - self._refused_at >= REFUSED_TOGETHER_SECONDS:
            self._refused_at = now
            self._rate = max(self._full.rate * SLOWEST, self._rate / 2)
