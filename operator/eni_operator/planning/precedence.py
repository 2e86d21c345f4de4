"""Resolves the effective policy: NodeIPPool.spec > ENIConfig.spec.policy > AWS environment variables > our default.

Decides each value and its origin. Does not decide what a value means (``planning.capacity``) and parses nothing
(the operator's settings do). Not every level has every value:

=====================  ====  =========  ===========  =======
value                  pool  ENIConfig  environment  default
=====================  ====  =========  ===========  =======
mode, cooldown         yes   yes        yes          yes
warm, minimum targets  yes   yes        yes          demand
maximumENIs            yes   yes        yes          none
maximumPods, -IPs      yes   yes        no           none
releaseAfterSeconds    yes   yes        no           yes
releaseBatch           yes   yes        no           none
drainOnChange          yes   yes        no           yes
families               yes   no         yes          IPv4
paused                 yes   no         no           no
provisioning           no    no         yes          yes
=====================  ====  =========  ===========  =======
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from eni_crds.nodeippool import Family, Mode, NodeIPPoolSpec, PolicySpec
from eni_operator.domain.policy import EnvironmentPolicy, Origin, Policy

DEFAULT_COOLDOWN_SECONDS: Final = 30
"""VPC CNI's IP_COOLDOWN_PERIOD: kube-proxy and peers may still send to the pod that left."""
DEFAULT_RELEASE_AFTER_SECONDS: Final = 5
"""Outlasts the gap between two pods of a rolling update; the cooldown before it already damps churn."""
DEFAULT_HEADROOM: Final = 1
"""One free address lets the next pod start while the pool grows for the one after it."""

_FIELDS: Final = tuple(PolicySpec.wire_names())
_IP_TARGETS: Final = ("warm_ips", "minimum_ips")
_STRENGTH: Final = tuple(Origin)


@dataclass(frozen=True, slots=True)
class _Resolved:
    """The winning value of every field that is set, and who set it."""

    values: Mapping[str, int | Mode]
    origins: Mapping[str, Origin]


def resolve(pool: NodeIPPoolSpec, eniconfig: PolicySpec | None, environment: EnvironmentPolicy) -> Policy:
    """Returns the policy in force, field by field from the strongest level that sets the field.

    Address targets override ``warm_enis`` and ``warm_prefixes`` as in VPC CNI, but not those of a stronger level: a
    person's ``warmENIs`` on the pool is not undone by a WARM_IP_TARGET in the environment. ``origins`` names the fields
    of ``spec.policy`` that are in force; families, paused and provisioning are none of them.
    """
    levels = (
        (Origin.POOL, _set_fields(pool.policy)),
        (Origin.ENICONFIG, _set_fields(eniconfig or PolicySpec())),
        (Origin.ENVIRONMENT, _environment_fields(environment)),
        (Origin.DEFAULT, _defaults()),
    )
    resolved = _drop_weaker_ip_targets(_strongest(levels))
    return _policy(resolved, pool, environment)


def _families(pool: NodeIPPoolSpec, environment: EnvironmentPolicy) -> tuple[Family, ...]:
    """Returns the families of the strongest level that names any, IPv4 first and each once."""
    asked = pool.families or environment.families or (Family.IPV4,)
    return tuple(family for family in Family if family in asked)


def _set_fields(spec: PolicySpec) -> dict[str, int | Mode]:
    return {name: value for name in _FIELDS if (value := getattr(spec, name)) is not None}


def _environment_fields(environment: EnvironmentPolicy) -> dict[str, int | Mode]:
    """Leaves out what AWS reads as not set: address targets of zero, a MAX_ENI below one."""
    values: dict[str, int | Mode | None] = {
        "mode": environment.mode,
        "warm_ips": environment.warm_ips or None,
        "minimum_ips": environment.minimum_ips or None,
        "warm_prefixes": environment.warm_prefixes,
        "warm_enis": environment.warm_enis,
        "maximum_enis": environment.maximum_enis if (environment.maximum_enis or 0) >= 1 else None,
        "cooldown_seconds": environment.cooldown_seconds,
    }
    return {name: value for name, value in values.items() if value is not None}


def _defaults() -> dict[str, int | Mode]:
    return {
        "mode": Mode.SECONDARY,
        "cooldown_seconds": DEFAULT_COOLDOWN_SECONDS,
        "release_after_seconds": DEFAULT_RELEASE_AFTER_SECONDS,
        "drain_on_change": False,
    }


def _strongest(levels: tuple[tuple[Origin, dict[str, int | Mode]], ...]) -> _Resolved:
    values: dict[str, int | Mode] = {}
    origins: dict[str, Origin] = {}
    for origin, fields in reversed(levels):
        values |= fields
        origins |= dict.fromkeys(fields, origin)
    return _Resolved(values, origins)


def _drop_weaker_ip_targets(resolved: _Resolved) -> _Resolved:
    rival = "warm_enis" if resolved.values["mode"] is Mode.SECONDARY else "warm_prefixes"
    if rival not in resolved.origins:
        return resolved
    limit = _STRENGTH.index(resolved.origins[rival])
    weaker = {
        name for name in _IP_TARGETS if name in resolved.origins and _STRENGTH.index(resolved.origins[name]) > limit
    }
    return _Resolved(
        {name: value for name, value in resolved.values.items() if name not in weaker},
        {name: origin for name, origin in resolved.origins.items() if name not in weaker},
    )


def _policy(resolved: _Resolved, pool: NodeIPPoolSpec, environment: EnvironmentPolicy) -> Policy:
    mode = resolved.values["mode"]
    assert isinstance(mode, Mode)
    numbers = {name: value for name, value in resolved.values.items() if isinstance(value, int)}
    return Policy(
        mode=mode,
        warm_ips=numbers.get("warm_ips"),
        minimum_ips=numbers.get("minimum_ips"),
        warm_prefixes=numbers.get("warm_prefixes"),
        warm_enis=numbers.get("warm_enis"),
        maximum_enis=numbers.get("maximum_enis"),
        maximum_pods=numbers.get("maximum_pods"),
        maximum_ips=numbers.get("maximum_ips"),
        cooldown_seconds=float(numbers["cooldown_seconds"]),
        release_after_seconds=float(numbers["release_after_seconds"]),
        headroom=DEFAULT_HEADROOM,
        paused=pool.paused,
        origins=resolved.origins,
        release_batch=numbers.get("release_batch"),
        drain_on_change=bool(numbers["drain_on_change"]),
        families=_families(pool, environment),
        provisioning=environment.provisioning,
    )
