"""Supplies for tests of the agent: one ENI a line, addresses by hand."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from eni_crds.conditions import ConditionType, Reason
from eni_crds.nodeippool import (
    Condition,
    ConditionStatus,
    EniRole,
    EniState,
    Family,
    PolicyValue,
    Releasing,
    Supply,
    SupplyEni,
    SupplyInstance,
    SupplyLimits,
    Totals,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

FOUR = tuple(f"10.0.1.{last}" for last in range(4, 8))
"""Secondary addresses enough for a test's few pods."""
SUBNET_FULL = Condition(
    type=ConditionType.SUBNET_EXHAUSTED,
    status=ConditionStatus.TRUE,
    reason=Reason.SUBNET_FULL,
    message="subnet-1 has 0 free addresses",
    last_transition_time=datetime(2026, 1, 1, tzinfo=UTC),
)
"""Why the pool does not grow, in the operator's words."""


def eni(
    index: int,
    *,
    addresses: Sequence[str] = (),
    prefixes: Sequence[str] = (),
    releasing: Sequence[tuple[str, str]] = (),
    state: EniState = EniState.ATTACHED,
    role: EniRole | None = None,
    card: int = 0,
    excluded: str | None = None,
    ipv6_prefixes: Sequence[str] = (),
) -> SupplyEni:
    """Returns the ENI at a device index of a card; ``releasing`` as pairs of CIDR and token."""
    return SupplyEni(
        id=f"eni-{card:08x}{index:09x}",
        mac=f"02:00:00:00:{card:02x}:{index:02x}",
        device_index=index,
        network_card=card,
        role=role or (EniRole.SECONDARY if index or card else EniRole.PRIMARY),
        subnet_id="subnet-1",
        subnet_cidr="10.0.0.0/16",
        gateway="10.0.0.1",
        primary_ip=f"10.0.{250 + card}.{index + 10}",
        state=state,
        addresses=list(addresses),
        prefixes=list(prefixes),
        releasing=[Releasing(cidr=cidr, token=token) for cidr, token in releasing],
        excluded=excluded,
        ipv6_prefixes=list(ipv6_prefixes),
    )


def supply(*enis: SupplyEni, cooldown_seconds: int = 30, families: Sequence[Family] = (Family.IPV4,)) -> Supply:
    """Returns the supply of an instance with these ENIs."""
    return Supply(
        instance=SupplyInstance(id="i-0000000000000000a", type="m5.large", zone="us-east-1a", vpc_id="vpc-1"),
        limits=SupplyLimits(enis=3, addresses_per_eni=10, maximum_pods=29),
        vpc_cidrs=["10.0.0.0/16"],
        policy={"cooldownSeconds": PolicyValue(value=cooldown_seconds, origin="default")},
        wanted=1,
        totals=Totals(),
        enis=list(enis),
        families=list(families),
    )
