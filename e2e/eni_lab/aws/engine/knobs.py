"""Every choice AWS does not document, and every delay, as one frozen value.

What AWS documents is not here but code in the modules beside this one. ``docs/standin-aws.md`` has a line a field.
"""

from dataclasses import dataclass, fields, replace
from typing import Any, Literal, Self


@dataclass(frozen=True, slots=True)
class Knobs:
    """Undocumented behaviour, delays and quotas; times in seconds."""

    region: str = "us-east-1"
    """Region name: part of zones, DNS names and ARNs."""

    attaching_seconds: float = 0.5
    """From Attach's effect until the attachment's state is ``attached``."""

    link_seconds: float = 1.5
    """From Attach's effect until the kernel link and the metadata show the ENI."""

    detaching_seconds: float = 2.0
    """From Detach's effect until the attachment is gone, the link vanishes and the ENI is ``available``."""

    creating_seconds: float = 0.0
    """How long Describe shows a new ENI as ``pending``; the reply of Create always does."""

    launch_seconds: float = 0.0
    """How long a new instance is ``pending``."""

    shutdown_seconds: float = 0.0
    """How long an instance is ``shutting-down`` before it is ``terminated`` and its ENIs are let go."""

    terminated_visible_seconds: float = 3600.0
    """How long DescribeInstances shows a terminated instance."""

    describe_lag_seconds: float = 0.0
    """Describe answers as of so long ago (eventual consistency); a younger resource is NotFound."""

    visible_after_seconds: float = 0.0
    """A mutation that names an ENI younger than this gets NotFound, as EC2 sometimes answers."""

    attachment_hidden_seconds: float = 0.0
    """After Attach, Describe shows ``in-use`` without any Attachment for so long."""

    metadata_lag_seconds: float = 0.8
    """Metadata of an ENI it shows already (addresses, prefixes, groups) is so old."""

    address_choice: Literal["random", "packed"] = "random"
    """How EC2 picks single addresses: scattered as seen in practice, or lowest first."""

    prefix_choice: Literal["random", "packed"] = "random"
    """How EC2 picks /28s outside of reservations."""

    prefix_reservation_fallback: bool = True
    """Whether a full ``prefix`` reservation sends /28s to the general range, or is InsufficientCidrBlocks."""

    deleted_eni_replay: Literal["reply", "new", "error"] = "reply"
    """A ClientToken whose ENI is deleted: repeat the old reply, make a new ENI, or answer NotFound."""

    unattached_address_limit: int = 50
    """Addresses and prefixes an unattached ENI may hold; its instance type's limit is checked at Attach."""

    unpaginated_limit: int = 1000
    """With more ENIs, DescribeNetworkInterfaces without page size and indexed filter is OperationNotPermitted."""

    filter_values_limit: int = 200
    """Filter values per call before FilterLimitExceeded."""

    eni_quota: int = 5000
    """ENIs per Region."""

    group_quota: int = 5
    """Security groups per ENI."""

    tag_quota: int = 50
    """Tags per resource, ``aws:`` ones not counted."""

    throttling: bool = True
    """Whether the published request buckets apply."""

    throttle_scale: float = 1.0
    """Multiplies capacity and refill of every bucket (an account's raised quota, or a faster clock)."""

    rejected_calls_cost: bool = False
    """Whether a throttled call takes a token all the same."""

    ids_count_as_filter: bool = False
    """Whether a Describe by ids uses the filtered bucket (100/20) or the plain one (50/10)."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, int | float) and value < 0:
                raise ValueError(f"knob {field.name} is {value}, it must not be negative")
        _require_choice("address_choice", self.address_choice, ("random", "packed"))
        _require_choice("prefix_choice", self.prefix_choice, ("random", "packed"))
        _require_choice("deleted_eni_replay", self.deleted_eni_replay, ("reply", "new", "error"))

    def changed(self, **changes: Any) -> Self:
        """Returns a copy with changes; raises ValueError for an unknown knob, TypeError for a value of another type."""
        for name, value in changes.items():
            _require_type(name, value, getattr(self, name, None))
        return replace(self, **changes)

    def without_delays(self) -> Self:
        """Returns a copy in which every change takes effect and shows at once."""
        return replace(self, attaching_seconds=0.0, link_seconds=0.0, detaching_seconds=0.0, metadata_lag_seconds=0.0)

    @property
    def longest_lag(self) -> float:
        """Returns how far back any reader looks, in seconds."""
        return max(self.describe_lag_seconds, self.metadata_lag_seconds)


def _require_choice(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"knob {name} is {value!r}, allowed are {', '.join(allowed)}")


def _require_type(name: str, value: Any, current: Any) -> None:
    if current is None:
        raise ValueError(f"there is no knob {name!r}")
    kinds = (int, float) if isinstance(current, float) else (type(current),)
    if not isinstance(value, kinds) or (isinstance(value, bool) and not isinstance(current, bool)):
        raise TypeError(f"knob {name} is {value!r}, it must be of type {type(current).__name__}")
