from typing import Any

import pytest

from eni_crds.nodeippool import Mode, NodeIPPoolSpec, PolicySpec
from eni_operator.domain.policy import EnvironmentPolicy, Origin, Policy
from eni_operator.planning import precedence


def resolve(pool: dict[str, Any] | None = None, eniconfig: dict[str, Any] | None = None, **environment: Any) -> Policy:
    return precedence.resolve(
        NodeIPPoolSpec(policy=PolicySpec.model_validate(pool or {})),
        None if eniconfig is None else PolicySpec.model_validate(eniconfig),
        EnvironmentPolicy(**environment),
    )


def test_nothing_set_anywhere_gives_our_default() -> None:
    policy = resolve()
    assert policy.mode is Mode.SECONDARY
    assert (policy.warm_ips, policy.minimum_ips, policy.warm_prefixes, policy.warm_enis) == (None,) * 4
    assert (policy.cooldown_seconds, policy.release_after_seconds, policy.headroom) == (30.0, 5.0, 1)
    assert set(policy.origins.values()) == {Origin.DEFAULT}


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


def test_paused_is_the_persons_word() -> None:
    spec = NodeIPPoolSpec(paused=True)
    assert precedence.resolve(spec, None, EnvironmentPolicy()).paused
