"""What is refused together, in one sentence that names every variable, and what is not."""

import pytest

from eni_crds.nodeippool import Family
from eni_operator.settings import Settings, SettingsError

NODE = {"MY_NODE_NAME": "node-a"}
PREFIXES = {"ENABLE_PREFIX_DELEGATION": "true"}


def refusal(environ: dict[str, str], scope: str | None = None) -> str:
    with pytest.raises(SettingsError) as caught:
        Settings.from_env(NODE | environ, scope=scope)
    return str(caught.value)


@pytest.mark.parametrize(
    ("environ", "families"),
    [
        ({}, None),
        ({"ENABLE_IPv4": "true"}, (Family.IPV4,)),
        ({"ENABLE_IPv4": "true", "ENABLE_IPv6": "false"}, (Family.IPV4,)),
        ({"ENABLE_IPv6": "false"}, (Family.IPV4,)),
        ({"ENABLE_IPv6": "true"} | PREFIXES, (Family.IPV6,)),
        ({"ENABLE_IPv4": "false", "ENABLE_IPv6": "true"} | PREFIXES, (Family.IPV6,)),
        ({"ENABLE_IPv4": "true", "ENABLE_IPv6": "true"} | PREFIXES, (Family.IPV4, Family.IPV6)),
    ],
)
def test_the_two_switches_give_the_families(environ: dict[str, str], families: tuple[Family, ...] | None) -> None:
    settings = Settings.from_env(NODE | environ)
    assert (settings.policy.families, settings.warnings) == (families, ())


@pytest.mark.parametrize("environ", [{"ENABLE_IPv4": "false"}, {"ENABLE_IPv4": "false", "ENABLE_IPv6": "false"}])
def test_a_node_without_any_family_is_refused(environ: dict[str, str]) -> None:
    assert refusal(environ) == "neither ENABLE_IPv4 nor ENABLE_IPv6 is true: at least one of them must be"


@pytest.mark.parametrize("ipv4", ["true", "false"])
@pytest.mark.parametrize("prefixes", ["", "false", "maybe"])
def test_ipv6_needs_prefix_delegation(ipv4: str, prefixes: str) -> None:
    told = refusal({"ENABLE_IPv4": ipv4, "ENABLE_IPv6": "true", "ENABLE_PREFIX_DELEGATION": prefixes})
    assert told == "ENABLE_IPv6 is true, so ENABLE_PREFIX_DELEGATION must be true: IPv6 comes in prefixes only"


def test_ipv6_and_custom_networking_exclude_each_other() -> None:
    told = refusal({"ENABLE_IPv6": "true", "AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG": "true"} | PREFIXES)
    assert told == "ENABLE_IPv6 and AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG are both true: only one of them may be"


@pytest.mark.parametrize(
    ("targets", "said"),
    [
        ({"WARM_PREFIX_TARGET": "0"}, "WARM_PREFIX_TARGET=0"),
        ({"WARM_IP_TARGET": "0"}, "WARM_IP_TARGET=0"),
        ({"MINIMUM_IP_TARGET": "0"}, "MINIMUM_IP_TARGET=0"),
        ({"WARM_IP_TARGET": "-1"}, "WARM_IP_TARGET=-1"),
        ({"WARM_IP_TARGET": "0", "WARM_PREFIX_TARGET": "0"}, "WARM_IP_TARGET=0 and WARM_PREFIX_TARGET=0"),
    ],
)
def test_prefixes_with_targets_of_nothing_are_refused(targets: dict[str, str], said: str) -> None:
    assert refusal(targets | PREFIXES) == (
        f"ENABLE_PREFIX_DELEGATION is true with {said}: one of WARM_IP_TARGET, MINIMUM_IP_TARGET, WARM_PREFIX_TARGET "
        "must be above zero, or none of them set"
    )


@pytest.mark.parametrize(
    "environ",
    [
        PREFIXES,
        PREFIXES | {"WARM_PREFIX_TARGET": ""},
        PREFIXES | {"WARM_ENI_TARGET": "0"},
        PREFIXES | {"WARM_PREFIX_TARGET": "1", "WARM_IP_TARGET": "0"},
        PREFIXES | {"WARM_PREFIX_TARGET": "0", "MINIMUM_IP_TARGET": "10"},
        PREFIXES | {"WARM_PREFIX_TARGET": "0", "WARM_IP_TARGET": "+1"},
        {"WARM_PREFIX_TARGET": "0"},
        {"WARM_PREFIX_TARGET": "0", "ENABLE_PREFIX_DELEGATION": "false"},
    ],
    ids=str,
)
def test_prefixes_with_a_target_or_without_any_are_taken(environ: dict[str, str]) -> None:
    assert Settings.from_env(NODE | environ).warnings == ()


def test_one_operator_for_a_cluster_cannot_ask_each_nodes_metadata_service() -> None:
    told = refusal({"ENABLE_IMDS_ONLY_MODE": "true"}, scope="cluster")
    assert told.startswith("ENABLE_IMDS_ONLY_MODE is true and ENI_SCOPE (or --scope) is 'cluster': only one")


def test_security_groups_for_pods_are_refused() -> None:
    assert refusal({"ENABLE_POD_ENI": "true"}) == (
        "ENABLE_POD_ENI must be false: security groups for pods are not in this release"
    )


def test_an_unknown_mode_of_security_groups_for_pods_is_ignored() -> None:
    settings = Settings.from_env(NODE | {"POD_SECURITY_GROUP_ENFORCING_MODE": "lax"})
    assert settings.warnings == ("POD_SECURITY_GROUP_ENFORCING_MODE='lax' is ignored: it must be strict or standard",)


@pytest.mark.parametrize("mode", ["standard", "Strict"])
def test_network_policies_are_told_to_have_no_effect(mode: str) -> None:
    [warning] = Settings.from_env(NODE | {"NETWORK_POLICY_ENFORCING_MODE": mode}).warnings
    assert warning == (
        f"NETWORK_POLICY_ENFORCING_MODE={mode.lower()!r} has no effect: "
        "network policies are not enforced in this release"
    )


def test_an_unknown_mode_of_network_policies_is_refused_as_vpc_cni_does() -> None:
    told = refusal({"NETWORK_POLICY_ENFORCING_MODE": "audit"})
    assert told == "NETWORK_POLICY_ENFORCING_MODE='audit' is wrong: it must be one of none, standard, strict"


@pytest.mark.parametrize(
    "environ",
    [
        {"ENABLE_IPv6": "true"} | PREFIXES,
        {"DISABLE_LEAKED_ENI_CLEANUP": "false", "DISABLE_NETWORK_RESOURCE_PROVISIONING": "true"},
    ],
    ids=str,
)
def test_leaked_enis_are_left_where_nothing_may_be_changed_and_for_ipv6_alone(environ: dict[str, str]) -> None:
    assert not Settings.from_env(NODE | environ).sweep


def test_leaked_enis_are_looked_for_in_dual_stack() -> None:
    assert Settings.from_env(NODE | PREFIXES | {"ENABLE_IPv4": "true", "ENABLE_IPv6": "true"}).sweep
