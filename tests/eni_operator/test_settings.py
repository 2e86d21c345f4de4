"""What the environment means, and how wrong values are told."""

import pytest

from eni_crds.nodeippool import Mode
from eni_operator.settings import Address, Settings, SettingsError

NODE = {"MY_NODE_NAME": "node-a"}


def test_nothing_but_the_node_name_is_needed() -> None:
    settings = Settings.from_env(NODE)
    assert settings == Settings(node_name="node-a")


def test_vpc_cnis_variables_are_read_as_it_reads_them() -> None:
    settings = Settings.from_env(
        NODE
        | {
            "WARM_IP_TARGET": "5",
            "MINIMUM_IP_TARGET": "10",
            "WARM_ENI_TARGET": "0",
            "WARM_PREFIX_TARGET": "2",
            "MAX_ENI": "3",
            "ENABLE_PREFIX_DELEGATION": "True",
            "IP_COOLDOWN_PERIOD": "0",
            "ADDITIONAL_ENI_TAGS": '{"team": "net", "x.k8s.amazonaws.com/y": "no", "eks:eni:owner": "no"}',
            "CLUSTER_NAME": "prod",
        }
    )
    policy = settings.policy
    assert (policy.warm_ips, policy.minimum_ips, policy.warm_enis, policy.warm_prefixes) == (5, 10, 0, 2)
    assert (policy.maximum_enis, policy.mode, policy.cooldown_seconds) == (3, Mode.PREFIX, 0)
    assert (settings.tags, settings.cluster_name, settings.warnings) == ({"team": "net"}, "prod", ())


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("WARM_IP_TARGET", "many", "not a whole number"),
        ("WARM_IP_TARGET", "-1", "negative"),
        ("MAX_ENI", "0", "at least 1"),
        ("ENABLE_PREFIX_DELEGATION", "yes", "neither true nor false"),
        ("ADDITIONAL_ENI_TAGS", "{", "Expecting"),
        ("ADDITIONAL_ENI_TAGS", '{"a": 1}', "object of strings"),
    ],
)
def test_a_bad_value_of_theirs_counts_as_not_set_and_is_told(name: str, value: str, why: str) -> None:
    settings = Settings.from_env(NODE | {name: value})
    assert settings.policy == Settings.from_env(NODE).policy
    assert settings.tags == {}
    [warning] = settings.warnings
    assert warning.startswith(f"{name}={value!r} is ignored: ")
    assert why in warning


def test_all_problems_of_ours_are_told_together() -> None:
    wrong = {"ENI_LOG_LEVEL": "loud", "ENI_METRICS_ADDRESS": "8080", "ENI_RESYNC_SECONDS": "0", "ENI_RESINC": "1"}
    with pytest.raises(SettingsError) as caught:
        Settings.from_env(wrong)
    lines = str(caught.value).splitlines()
    assert [line.split("=")[0].split()[0] for line in lines] == [
        "MY_NODE_NAME",
        "ENI_METRICS_ADDRESS",
        "ENI_LOG_LEVEL",
        "ENI_RESYNC_SECONDS",
        "ENI_RESINC",
    ]


def test_vpc_cnis_own_eni_variables_are_no_strangers() -> None:
    settings = Settings.from_env(NODE | {"ENI_CONFIG_LABEL_DEF": "zone", "ENI_CONFIG_ANNOTATION_DEF": "cfg"})
    assert (settings.eniconfig_label, settings.eniconfig_annotation) == ("zone", "cfg")


@pytest.mark.parametrize(
    ("text", "address"), [("0.0.0.0:9000", Address("0.0.0.0", 9000)), ("[::1]:80", Address("::1", 80))]
)
def test_an_address_has_a_host_and_a_port(text: str, address: Address) -> None:
    assert Settings.from_env(NODE | {"ENI_METRICS_ADDRESS": text}).metrics_address == address


def test_the_whole_cluster_is_not_in_this_release() -> None:
    with pytest.raises(SettingsError, match="not in this release"):
        Settings.from_env(NODE, scope="cluster")


def test_the_command_line_wins() -> None:
    assert Settings.from_env(NODE | {"ENI_SCOPE": "cluster"}, scope="node").scope == "node"
