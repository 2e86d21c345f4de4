"""EC2's request throttling: one token bucket per API, with the published capacities and refill rates.

https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html. Buckets are per account and Region, so all
callers share them.
"""

from dataclasses import dataclass

from eni_lab.aws.engine.errors import Ec2Error
from eni_lab.aws.engine.knobs import Knobs
from eni_lab.aws.engine.region import Args


@dataclass(frozen=True, slots=True)
class Rate:
    """Bucket capacity, and tokens it gains a second."""

    capacity: float
    refill: float


MUTATING = Rate(50, 5)
DESCRIBE = Rate(100, 20)
PLAIN_DESCRIBE = Rate(50, 10)
"""For the Describe calls of ``PLAIN`` without filter and without pagination."""

PLAIN = {"DescribeInstances", "DescribeNetworkInterfaces", "DescribeSecurityGroups"}

RATES = {
    **dict.fromkeys(
        (
            "AssignIpv6Addresses",
            "AssignPrivateIpAddresses",
            "CreateNetworkInterface",
            "DeleteNetworkInterface",
            "ModifyNetworkInterfaceAttribute",
            "TerminateInstances",
            "UnassignPrivateIpAddresses",
        ),
        Rate(100, 5),
    ),
    **dict.fromkeys(("CreateTags", "DeleteTags"), Rate(100, 10)),
    **dict.fromkeys(("CreateSubnetCidrReservation", "DeleteSubnetCidrReservation"), Rate(5, 1)),
    "RunInstances": Rate(5, 2),
}

RESOURCE_RATES = {"RunInstances": Rate(1000, 2), "TerminateInstances": Rate(1000, 20)}
"""A second bucket that counts instances instead of calls."""


class Throttle:
    """All buckets of one account in one Region."""

    def __init__(self) -> None:
        self._buckets: dict[str, _Bucket] = {}

    def admit(self, action: str, args: Args, knobs: Knobs, now: float) -> None:
        """Takes the tokens a call costs.

        Raises:
            Ec2Error: RequestLimitExceeded with HTTP 503, on which some SDK retry modes depend.
        """
        if not knobs.throttling:
            return
        key, rate = bucket_of(action, args, knobs)
        charges = [(key, rate, 1.0)]
        if action in RESOURCE_RATES:
            charges.append((f"{action} instances", RESOURCE_RATES[action], float(_instances(args))))
        buckets = [(self._bucket(name, rate, knobs, now), cost) for name, rate, cost in charges]
        admitted = all(bucket.tokens >= cost for bucket, cost in buckets)
        if admitted or knobs.rejected_calls_cost:
            for bucket, cost in buckets:
                bucket.tokens = max(0.0, bucket.tokens - cost)
        if not admitted:
            text = "Request limit exceeded. Account has been throttled on "
            text += f"ec2:{action} because it exceeded its request rate limit."
            raise Ec2Error("RequestLimitExceeded", text, 503)

    def levels(self, knobs: Knobs, now: float) -> dict[str, dict[str, float]]:
        """Returns tokens, capacity and refill a second of every bucket in use, by its name."""
        scale = knobs.throttle_scale
        return {
            key: {
                "tokens": self._bucket(key, bucket.rate, knobs, now).tokens,
                "capacity": bucket.rate.capacity * scale,
                "refill": bucket.rate.refill * scale,
            }
            for key, bucket in sorted(self._buckets.items())
        }

    def _bucket(self, key: str, rate: Rate, knobs: Knobs, now: float) -> "_Bucket":
        capacity, refill = rate.capacity * knobs.throttle_scale, rate.refill * knobs.throttle_scale
        bucket = self._buckets.setdefault(key, _Bucket(rate, capacity, now))
        bucket.tokens = min(capacity, bucket.tokens + max(0.0, now - bucket.filled) * refill)
        bucket.filled = now
        return bucket


def bucket_of(action: str, args: Args, knobs: Knobs) -> tuple[str, Rate]:
    """Returns the name and rate of the bucket a call draws from."""
    if action in RATES:
        return action, RATES[action]
    if not action.startswith(("Describe", "Get", "List", "Search")):
        return action, MUTATING
    narrowed = bool(args.get("Filters")) or args.get("MaxResults") is not None
    by_ids = knobs.ids_count_as_filter and any(name.endswith("Ids") and args[name] for name in args)
    if action in PLAIN and not narrowed and not by_ids:
        return f"{action} unfiltered", PLAIN_DESCRIBE
    return action, DESCRIBE


@dataclass(slots=True)
class _Bucket:
    rate: Rate
    tokens: float
    filled: float


def _instances(args: Args) -> int:
    return len(args["InstanceIds"]) if "InstanceIds" in args else int(args.get("MaxCount", 1))
