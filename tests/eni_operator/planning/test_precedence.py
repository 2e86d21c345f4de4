from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eni_crds.nodeippool import Family, Mode, NodeIPPoolSpec, PolicySpec
from eni_operator.domain.policy import EnvironmentPolicy, Origin, Policy
from eni_operator.planning import precedence


def resolve(pool: dict[str, Any] | None = None, eniconfig: dict[str, Any] | None = None, **environment: Any) -> Policy:
    return precedence.resolve(
        NodeIPPoolSpec(policy=PolicySpec.parse(pool or {})),
        None if eniconfig is None else PolicySpec.parse(eniconfig),
        EnvironmentPolicy(**environment),
    )


def test_nothing_set_anywhere_gives_our_default() -> None:
    policy = resolve()
    assert policy.mode is Mode.SECONDARY
    assert (policy.warm_ips, policy.minimum_ips, policy.warm_prefixes, policy.warm_enis) == (None,) * 4
    assert (policy.cooldown_seconds, policy.release_after_seconds, policy.headroom) == (30.0, 5.0, 1)
    assert (policy.release_batch, policy.drain_on_change) == (None, False)
    assert (policy.families, policy.provisioning, policy.paused) == ((Family.IPV4,), True, False)
    assert policy.origins == dict.fromkeys(
        ["mode", "cooldown_seconds", "release_after_seconds", "drain_on_change"], Origin.DEFAULT
    )


@pytest.mark.parametrize(
    ("pool", "eniconfig", "environment", "value", "origin"),
    [
        (3, 4, 5, 3, Origin.POOL),
        (None, 4, 5, 4, Origin.ENICONFIG),
        (None, None, 5, 5, Origin.ENVIRONMENT),
    ],
    ids=["the pool wins", "then the ENIConfig", "then the environment"],
)
def test_the_strongest_level_that_sets_a_field_gives_its_value_and_origin(
    pool: int | None, eniconfig: int | None, environment: int, value: int, origin: Origin
) -> None:
    policy = resolve({"warmIPs": pool}, {"warmIPs": eniconfig}, warm_ips=environment)
    assert (policy.warm_ips, policy.origins["warm_ips"]) == (value, origin)


def test_fields_come_from_different_levels() -> None:
    policy = resolve({"mode": "prefix"}, {"minimumIPs": 9}, warm_ips=5, cooldown_seconds=10)
    assert (policy.mode, policy.minimum_ips, policy.warm_ips, policy.cooldown_seconds) == (Mode.PREFIX, 9, 5, 10.0)


@pytest.mark.parametrize("variable", ["warm_ips", "minimum_ips", "maximum_enis"])
def test_zero_in_the_environment_means_not_set_where_aws_says_so(variable: str) -> None:
    zero: dict[str, Any] = {variable: 0}
    policy = resolve(**zero)
    assert getattr(policy, variable) is None
    assert variable not in policy.origins


@pytest.mark.parametrize("variable", ["warm_enis", "warm_prefixes", "cooldown_seconds"])
def test_zero_in_the_environment_is_a_value_elsewhere(variable: str) -> None:
    zero: dict[str, Any] = {variable: 0}
    policy = resolve(**zero)
    assert (getattr(policy, variable), policy.origins[variable]) == (0, Origin.ENVIRONMENT)


def test_zero_on_the_pool_is_a_value_and_hides_weaker_ones() -> None:
    policy = resolve({"warmIPs": 0}, warm_ips=5)
    assert (policy.warm_ips, policy.origins["warm_ips"]) == (0, Origin.POOL)


def test_address_targets_of_the_environment_do_not_undo_warm_enis_of_the_pool() -> None:
    policy = resolve({"warmENIs": 1}, warm_ips=5, minimum_ips=10)
    assert (policy.warm_enis, policy.warm_ips, policy.minimum_ips) == (1, None, None)
    assert "warm_ips" not in policy.origins


def test_address_targets_of_the_same_level_stay_beside_warm_enis() -> None:
    """VPC CNI's manifest sets both; there the address targets override."""
    policy = resolve(warm_enis=1, warm_ips=5)
    assert (policy.warm_enis, policy.warm_ips) == (1, 5)


def test_the_target_of_the_other_mode_does_not_hide_address_targets() -> None:
    assert resolve({"mode": "prefix", "warmENIs": 1}, warm_ips=5).warm_ips == 5


@pytest.mark.parametrize(
    ("pool", "eniconfig", "value", "origin"),
    [
        ({"releaseBatch": 4}, {"releaseBatch": 8}, 4, Origin.POOL),
        ({}, {"releaseBatch": 8}, 8, Origin.ENICONFIG),
        ({}, None, None, None),
    ],
)
def test_release_batch_comes_from_people_or_is_unbounded(
    pool: dict[str, Any], eniconfig: dict[str, Any] | None, value: int | None, origin: Origin | None
) -> None:
    policy = resolve(pool, eniconfig)
    assert (policy.release_batch, policy.origins.get("release_batch")) == (value, origin)


@pytest.mark.parametrize(
    ("pool", "eniconfig", "origin"),
    [
        ({"drainOnChange": True}, {"drainOnChange": False}, Origin.POOL),
        ({}, {"drainOnChange": True}, Origin.ENICONFIG),
    ],
)
def test_drain_on_change_is_asked_for(pool: dict[str, Any], eniconfig: dict[str, Any], origin: Origin) -> None:
    policy = resolve(pool, eniconfig)
    assert (policy.drain_on_change, policy.origins["drain_on_change"]) == (True, origin)


def test_a_pool_may_refuse_the_drain_its_eniconfig_asks_for() -> None:
    policy = resolve({"drainOnChange": False}, {"drainOnChange": True})
    assert (policy.drain_on_change, policy.origins["drain_on_change"]) == (False, Origin.POOL)


IPV4, IPV6 = Family.IPV4, Family.IPV6


@pytest.mark.parametrize(
    ("pool", "environment", "families"),
    [
        ([IPV6], (IPV4,), (IPV6,)),
        ([IPV6, IPV4, IPV6], None, (IPV4, IPV6)),
        (None, (IPV4, IPV6), (IPV4, IPV6)),
        (None, (IPV6,), (IPV6,)),
        ([], (IPV6,), (IPV6,)),
        (None, None, (IPV4,)),
    ],
)
def test_families_are_the_pools_then_the_environments_then_ipv4(
    pool: list[Family] | None, environment: tuple[Family, ...] | None, families: tuple[Family, ...]
) -> None:
    policy = precedence.resolve(NodeIPPoolSpec(families=pool), None, EnvironmentPolicy(families=environment))
    assert policy.families == families
    assert "families" not in policy.origins


def test_nobody_overrules_provisioning_that_is_off() -> None:
    policy = precedence.resolve(NodeIPPoolSpec(paused=False), None, EnvironmentPolicy(provisioning=False))
    assert (policy.provisioning, policy.is_halted) == (False, True)


def test_paused_is_the_persons_word() -> None:
    spec = NodeIPPoolSpec(paused=True)
    policy = precedence.resolve(spec, None, EnvironmentPolicy())
    assert (policy.paused, policy.is_halted) == (True, True)


NUMBER = st.none() | st.integers(1, 60)
SPECS = st.builds(
    PolicySpec,
    mode=st.none() | st.sampled_from(Mode),
    **{name: NUMBER for name in PolicySpec.wire_names() if name not in ("mode", "drain_on_change")},
    drain_on_change=st.none() | st.booleans(),
)
ENVIRONMENTS = st.builds(
    EnvironmentPolicy,
    mode=st.sampled_from([None, Mode.PREFIX, Mode.SECONDARY]),
    warm_ips=NUMBER,
    minimum_ips=NUMBER,
    warm_prefixes=NUMBER,
    warm_enis=NUMBER,
    maximum_enis=NUMBER,
    cooldown_seconds=NUMBER,
)


@given(pool=SPECS, eniconfig=SPECS, environment=ENVIRONMENTS)
def test_a_value_in_force_is_that_of_its_origin_and_no_stronger_level_sets_it(
    pool: PolicySpec, eniconfig: PolicySpec, environment: EnvironmentPolicy
) -> None:
    policy = precedence.resolve(NodeIPPoolSpec(policy=pool), eniconfig, environment)
    levels = {Origin.POOL: pool, Origin.ENICONFIG: eniconfig, Origin.ENVIRONMENT: environment}
    for name in PolicySpec.wire_names():
        told = {origin: getattr(level, name, None) for origin, level in levels.items()}
        told = {origin: value for origin, value in told.items() if value is not None}
        if name in policy.origins and policy.origins[name] is not Origin.DEFAULT:
            assert next(iter(told.items())) == (policy.origins[name], getattr(policy, name))
        elif name in policy.origins:
            assert not told
        else:
            assert getattr(policy, name) is None
            assert not told or name in ("warm_ips", "minimum_ips")
