"""Every variable of VPC CNI's that shapes pool and ENIs: what a good, an edge and a bad value become."""

from typing import Any

import pytest

from eni_crds.nodeippool import Family, Mode
from eni_operator.domain.policy import EnvironmentPolicy
from eni_operator.settings import Settings, SettingsError

NODE = {"MY_NODE_NAME": "node-a"}
NOT_SET = object()
"""Marks a bad value that counts as not set and is told."""

POLICY = [
    ("WARM_ENI_TARGET", "2", "warm_enis", 2),
    ("WARM_ENI_TARGET", "0", "warm_enis", 0),
    ("WARM_ENI_TARGET", "-1", "warm_enis", NOT_SET),
    ("WARM_IP_TARGET", "5", "warm_ips", 5),
    ("WARM_IP_TARGET", "+5", "warm_ips", 5),
    ("WARM_IP_TARGET", "007", "warm_ips", 7),
    ("WARM_IP_TARGET", f"{5:030}", "warm_ips", 5),
    ("WARM_IP_TARGET", "0", "warm_ips", 0),
    ("WARM_IP_TARGET", "-1", "warm_ips", NOT_SET),
    ("WARM_IP_TARGET", "many", "warm_ips", NOT_SET),
    ("WARM_IP_TARGET", "1.5", "warm_ips", NOT_SET),
    ("WARM_IP_TARGET", "0x5", "warm_ips", NOT_SET),
    ("WARM_IP_TARGET", " 5", "warm_ips", NOT_SET),
    ("WARM_IP_TARGET", "1_0", "warm_ips", NOT_SET),
    ("WARM_IP_TARGET", "\u0665", "warm_ips", NOT_SET),
    ("WARM_IP_TARGET", "9223372036854775807", "warm_ips", 2**63 - 1),
    ("WARM_IP_TARGET", "9223372036854775808", "warm_ips", NOT_SET),
    ("WARM_IP_TARGET", "9" * 5000, "warm_ips", NOT_SET),
    ("MINIMUM_IP_TARGET", "10", "minimum_ips", 10),
    ("MINIMUM_IP_TARGET", "-10", "minimum_ips", NOT_SET),
    ("WARM_PREFIX_TARGET", "1", "warm_prefixes", 1),
    ("WARM_PREFIX_TARGET", "one", "warm_prefixes", NOT_SET),
    ("MAX_ENI", "3", "maximum_enis", 3),
    ("MAX_ENI", "0", "maximum_enis", NOT_SET),
    ("MAX_ENI", "-1", "maximum_enis", NOT_SET),
    ("ENABLE_PREFIX_DELEGATION", "true", "mode", Mode.PREFIX),
    ("ENABLE_PREFIX_DELEGATION", "T", "mode", Mode.PREFIX),
    ("ENABLE_PREFIX_DELEGATION", "0", "mode", Mode.SECONDARY),
    ("ENABLE_PREFIX_DELEGATION", "yes", "mode", NOT_SET),
    ("ENABLE_PREFIX_DELEGATION", "tRUE", "mode", NOT_SET),
    ("ENABLE_PREFIX_DELEGATION", "true\n", "mode", NOT_SET),
    ("IP_COOLDOWN_PERIOD", "0", "cooldown_seconds", 0),
    ("IP_COOLDOWN_PERIOD", "60", "cooldown_seconds", 60),
    ("ENABLE_IPv4", "true", "families", (Family.IPV4,)),
    ("ENABLE_IPv4", "on", "families", NOT_SET),
    ("ENABLE_IPv6", "false", "families", (Family.IPV4,)),
    ("ENABLE_IPv6", "6", "families", NOT_SET),
    ("DISABLE_NETWORK_RESOURCE_PROVISIONING", "true", "provisioning", False),
    ("DISABLE_NETWORK_RESOURCE_PROVISIONING", "false", "provisioning", True),
    ("DISABLE_NETWORK_RESOURCE_PROVISIONING", "please", "provisioning", NOT_SET),
    ("ENABLE_IMDS_ONLY_MODE", "1", "provisioning", False),
]

OTHERS = [
    ("MY_NODE_NAME", "node-b", "node_name", "node-b"),
    ("MY_POD_NAME", "eni-operator-x", "pod_name", "eni-operator-x"),
    ("MY_POD_NAMESPACE", "kube-system", "pod_namespace", "kube-system"),
    ("MY_POD_UID", "0-1-2", "pod_uid", "0-1-2"),
    ("AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG", "true", "custom_networking", True),
    ("AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG", "enabled", "custom_networking", NOT_SET),
    ("ENI_CONFIG_ANNOTATION_DEF", "example.com/cfg", "eniconfig_annotation", "example.com/cfg"),
    ("ENI_CONFIG_LABEL_DEF", "topology.kubernetes.io/zone", "eniconfig_label", "topology.kubernetes.io/zone"),
    ("CLUSTER_NAME", "prod", "cluster_name", "prod"),
    ("ENABLE_SUBNET_DISCOVERY", "false", "subnet_discovery", False),
    ("ENABLE_SUBNET_DISCOVERY", "off", "subnet_discovery", NOT_SET),
    ("DISABLE_NETWORK_RESOURCE_PROVISIONING", "true", "sweep", False),
    ("ENABLE_IMDS_ONLY_MODE", "true", "imds_only", True),
    ("ENABLE_IMDS_ONLY_MODE", "true", "sweep", False),
    ("ENABLE_IMDS_ONLY_MODE", "2", "imds_only", NOT_SET),
    ("DISABLE_LEAKED_ENI_CLEANUP", "true", "sweep", False),
    ("DISABLE_LEAKED_ENI_CLEANUP", "no", "sweep", NOT_SET),
    ("AWS_MANAGE_ENIS_NON_SCHEDULABLE", "true", "manage_unschedulable", True),
    ("AWS_MANAGE_ENIS_NON_SCHEDULABLE", "x", "manage_unschedulable", NOT_SET),
    ("MANAGE_UNTAGGED_ENI", "f", "manage_untagged", False),
    ("MANAGE_UNTAGGED_ENI", "x", "manage_untagged", NOT_SET),
    ("ENABLE_MULTI_NIC", "true", "multi_card", True),
    ("ENABLE_MULTI_NIC", "x", "multi_card", NOT_SET),
    ("HTTP_TIMEOUT", "10", "http_timeout_seconds", 10),
    ("HTTP_TIMEOUT", "30", "http_timeout_seconds", 30),
    ("HTTP_TIMEOUT", "9", "http_timeout_seconds", NOT_SET),
    ("HTTP_TIMEOUT", "10s", "http_timeout_seconds", NOT_SET),
    ("AWS_EC2_ENDPOINT", "http://127.0.0.1:1", "ec2_endpoint", "http://127.0.0.1:1"),
    ("CLUSTER_ENDPOINT", "https://10.0.0.1", "cluster_endpoint", "https://10.0.0.1"),
    ("VPC_CNI_VERSION", "v1.23.1", "version", "v1.23.1"),
    ("AWS_REGION", "eu-west-1", "region", "eu-west-1"),
    ("AWS_DEFAULT_REGION", "eu-west-2", "region", "eu-west-2"),
    ("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://[fd00:ec2::254]", "imds_endpoint", "http://[fd00:ec2::254]"),
    ("AWS_VPC_K8S_CNI_LOGLEVEL", "DEBUG", "log_level", "debug"),
    ("AWS_VPC_K8S_CNI_LOGLEVEL", "warn", "log_level", "warning"),
    ("AWS_VPC_K8S_CNI_LOGLEVEL", "Error", "log_level", "error"),
    ("AWS_VPC_K8S_CNI_LOGLEVEL", "fatal", "log_level", "critical"),
    ("AWS_VPC_K8S_CNI_LOGLEVEL", "trace", "log_level", NOT_SET),
]

NO_EFFECT = [
    ("ENABLE_POD_ENI", "false"),
    ("POD_SECURITY_GROUP_ENFORCING_MODE", "strict"),
    ("POD_SECURITY_GROUP_ENFORCING_MODE", "standard"),
    ("NETWORK_POLICY_ENFORCING_MODE", "None"),
    ("ANNOTATE_POD_IP", "true"),
    ("AWS_VPC_K8S_CNI_BACKING_STORE", "/var/run/aws-node/ipam.json"),
]
NAMES = {row[0] for row in POLICY} | {row[0] for row in OTHERS} | {row[0] for row in NO_EFFECT}


def read(**environ: str) -> Settings:
    return Settings.from_env(NODE | environ)


def test_nothing_but_the_node_name_is_needed() -> None:
    assert read() == Settings(node_name="node-a")


def test_the_defaults_are_vpc_cnis_where_it_has_one() -> None:
    settings = read()
    assert settings.policy == EnvironmentPolicy()
    assert (settings.custom_networking, settings.multi_card, settings.imds_only) == (False, False, False)
    assert (settings.subnet_discovery, settings.manage_untagged, settings.sweep) == (True, True, True)
    assert (settings.manage_unschedulable, settings.http_timeout_seconds) == (False, 10)


@pytest.mark.parametrize(("name", "value", "field", "expected"), POLICY)
def test_a_policy_variable(name: str, value: str, field: str, expected: Any) -> None:
    settings = read(**{name: value})
    if expected is NOT_SET:
        assert settings.policy == EnvironmentPolicy()
        assert_told(settings, name, value)
    else:
        assert getattr(settings.policy, field) == expected
        assert settings.warnings == ()


@pytest.mark.parametrize(("name", "value", "field", "expected"), OTHERS)
def test_a_variable_beside_the_policy(name: str, value: str, field: str, expected: Any) -> None:
    settings = read(**{name: value})
    if expected is NOT_SET:
        assert getattr(settings, field) == getattr(read(), field)
        assert_told(settings, name, value)
    else:
        assert getattr(settings, field) == expected
        assert settings.warnings == ()


def assert_told(settings: Settings, name: str, value: str) -> None:
    [warning] = settings.warnings
    assert warning.startswith(f"{name}={value!r} is ignored: it must be ")


@pytest.mark.parametrize(("name", "value"), NO_EFFECT)
def test_a_variable_that_changes_nothing_here_is_read_in_silence(name: str, value: str) -> None:
    assert read(**{name: value}) == read()


@pytest.mark.parametrize("name", sorted(NAMES - {"MY_NODE_NAME"}))
def test_empty_is_as_if_not_set(name: str) -> None:
    assert read(**{name: ""}) == read()


@pytest.mark.parametrize("value", ["-1", "soon", "30s", "1.5"])
def test_a_bad_cooldown_is_refused_as_vpc_cnis_entrypoint_does(value: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read(IP_COOLDOWN_PERIOD=value)
    assert str(caught.value) == f"IP_COOLDOWN_PERIOD={value!r} is wrong: it must be a whole number, 0 or more"


def test_our_log_level_goes_before_vpc_cnis() -> None:
    settings = read(ENI_LOG_LEVEL="error", AWS_VPC_K8S_CNI_LOGLEVEL="trace")
    assert (settings.log_level, settings.warnings) == ("error", ())


def test_vpc_cnis_own_manifest_is_taken() -> None:
    """The values its DaemonSet sets, but for network policies and the host's network."""
    settings = read(
        ADDITIONAL_ENI_TAGS="{}",
        ANNOTATE_POD_IP="false",
        AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG="false",
        AWS_VPC_K8S_CNI_LOGLEVEL="DEBUG",
        CLUSTER_NAME="prod",
        DISABLE_NETWORK_RESOURCE_PROVISIONING="false",
        ENABLE_IMDS_ONLY_MODE="false",
        ENABLE_IPv4="true",
        ENABLE_IPv6="false",
        ENABLE_MULTI_NIC="false",
        ENABLE_POD_ENI="false",
        ENABLE_PREFIX_DELEGATION="false",
        ENABLE_SUBNET_DISCOVERY="true",
        WARM_ENI_TARGET="1",
        WARM_PREFIX_TARGET="1",
    )
    assert settings.policy == EnvironmentPolicy(
        mode=Mode.SECONDARY, warm_enis=1, warm_prefixes=1, families=(Family.IPV4,)
    )
    assert (settings.log_level, settings.cluster_name, settings.warnings) == ("debug", "prod", ())
