"""Every choice AWS does not document, and every delay, as one frozen value.

What AWS documents is not here but code in the modules beside this one. ``docs/standin-aws.md`` has a line a field.
"""

from dataclasses import asdict, replace
from typing import Any, Literal, Self

from pydantic import NonNegativeFloat, NonNegativeInt
from pydantic.dataclasses import dataclass

from eni_lab.aws.engine.parsing import STRICT, parse


@dataclass(frozen=True, slots=True, config=STRICT)
class Knobs:
    """Undocumented behaviour, delays and quotas; times in seconds."""

    region: str = "us-east-1"
    """Region name: part of zones, DNS names and ARNs."""

    attaching_seconds: NonNegativeFloat = 0.5
    """From Attach's effect until the attachment's state is ``attached``."""

    link_seconds: NonNegativeFloat = 1.5
    """From Attach's effect until the kernel link and the metadata show the ENI."""

    detaching_seconds: NonNegativeFloat = 2.0
    """From Detach's effect until the attachment is gone, the link vanishes and the ENI is ``available``."""

    creating_seconds: NonNegativeFloat = 0.0
    """How long Describe shows a new ENI as ``pending``; the reply of Create always does."""

    launch_seconds: NonNegativeFloat = 0.0
    """How long a new instance is ``pending``."""

    shutdown_seconds: NonNegativeFloat = 0.0
    """How long an instance is ``shutting-down`` before it is ``terminated`` and its ENIs are let go."""

    terminated_visible_seconds: NonNegativeFloat = 3600.0
    """How long DescribeInstances shows a terminated instance."""

    describe_lag_seconds: NonNegativeFloat = 0.0
    """Describe answers as of so long ago (eventual consistency); a younger resource is NotFound."""

    visible_after_seconds: NonNegativeFloat = 0.0
    """A mutation that names an ENI younger than this gets NotFound, as EC2 sometimes answers."""

    attachment_hidden_seconds: NonNegativeFloat = 0.0
    """After Attach, Describe shows ``in-use`` without any Attachment for so long."""

    metadata_lag_seconds: NonNegativeFloat = 0.8
    """Metadata of an ENI it shows already (addresses, prefixes, groups) is so old."""

    address_choice: Literal["random", "packed"] = "random"
    """How EC2 picks single addresses: scattered as seen in practice, or lowest first."""

    prefix_choice: Literal["random", "packed"] = "random"
    """How EC2 picks /28s outside of reservations."""

    prefix_reservation_fallback: bool = True
    """Whether a full ``prefix`` reservation sends /28s to the general range, or is InsufficientCidrBlocks."""

    deleted_eni_replay: Literal["reply", "new", "error"] = "reply"
    """A ClientToken whose ENI is deleted: repeat the old reply, make a new ENI, or answer NotFound."""

    unattached_address_limit: NonNegativeInt = 50
    """Addresses and prefixes an unattached ENI may hold; its instance type's limit is checked at Attach."""

    unpaginated_limit: NonNegativeInt = 1000
    """With more ENIs, DescribeNetworkInterfaces without page size and indexed filter is OperationNotPermitted."""

    filter_values_limit: NonNegativeInt = 200
    """Filter values per call before FilterLimitExceeded."""

    eni_quota: NonNegativeInt = 5000
    """ENIs per Region."""

    group_quota: NonNegativeInt = 5
    """Security groups per ENI."""

    tag_quota: NonNegativeInt = 50
    """Tags per resource, ``aws:`` ones not counted."""

    throttling: bool = True
    """Whether the published request buckets apply."""

    throttle_scale: NonNegativeFloat = 1.0
    """Multiplies capacity and refill of every bucket (an account's raised quota, or a faster clock)."""

    rejected_calls_cost: bool = False
    """Whether a throttled call takes a token all the same."""

    ids_count_as_filter: bool = False
    """Whether a Describe by ids uses the filtered bucket (100/20) or the plain one (50/10)."""

    def changed(self, **changes: Any) -> Self:
        """Returns a copy with changes; raises ValueError with a sentence for an unknown knob or a bad value."""
        return parse(type(self), {**asdict(self), **changes})

    def without_delays(self) -> Self:
        """Returns a copy in which every change takes effect and shows at once."""
        return replace(self, attaching_seconds=0.0, link_seconds=0.0, detaching_seconds=0.0, metadata_lag_seconds=0.0)

    @property
    def longest_lag(self) -> float:
        """Returns how far back any reader looks, in seconds."""
        return max(self.describe_lag_seconds, self.metadata_lag_seconds)
