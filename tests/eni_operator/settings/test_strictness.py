"""Our own variables are strict, everything wrong is told at once, and nothing else ever comes out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eni_operator.settings import Address, Settings, SettingsError

NODE = {"MY_NODE_NAME": "node-a"}


def test_all_problems_are_told_together() -> None:
    wrong = {
        "ENI_LOG_LEVEL": "loud",
        "ENI_METRICS_ADDRESS": "8080",
        "ENI_RESYNC_SECONDS": "0",
        "ENI_AGENT_SILENT_SECONDS": "-5",
        "ENI_RESINC": "1",
        "ENI_SCOPE": "planet",
        "IP_COOLDOWN_PERIOD": "x",
        "ENABLE_POD_ENI": "true",
    }
    with pytest.raises(SettingsError) as caught:
        Settings.from_env(wrong)
    lines = str(caught.value).splitlines()
    assert sorted(line.split("=")[0].split()[0] for line in lines) == sorted([*wrong, "MY_NODE_NAME"])


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("ENI_LOG_LEVEL", "warn", "ENI_LOG_LEVEL='warn' is wrong: it must be one of debug, info, warning, error"),
        ("ENI_RESYNC_SECONDS", "1h", "ENI_RESYNC_SECONDS='1h' is wrong: it must be a whole number, 1 or more"),
        ("ENI_METRICS_ADDRESS", ":80", "ENI_METRICS_ADDRESS=':80' is wrong: it must be host:port, the port from 0"),
        ("ENI_METRICS_ADDRESS", " a:80", "ENI_METRICS_ADDRESS=' a:80' is wrong: it must be host:port"),
        ("ENI_METRICS_ADDRESS", "a:65536", "ENI_METRICS_ADDRESS='a:65536' is wrong: it must be host:port"),
        ("ENI_HOLD_SECONDS", "20", "ENI_HOLD_SECONDS is no setting of the operator: it must be removed"),
    ],
)
def test_a_bad_value_of_ours_names_variable_value_and_what_is_allowed(name: str, value: str, sentence: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_env(NODE | {name: value})
    assert str(caught.value).startswith(sentence)


def test_ours_are_read() -> None:
    settings = Settings.from_env(
        NODE
        | {
            "ENI_SCOPE": "cluster",
            "ENI_LOG_LEVEL": "Debug",
            "ENI_RESYNC_SECONDS": "60",
            "ENI_AGENT_SILENT_SECONDS": "30",
        }
    )
    assert (settings.scope, settings.log_level) == ("cluster", "debug")
    assert (settings.resync_seconds, settings.agent_silent_seconds) == (60, 30)


@pytest.mark.parametrize(
    ("text", "address"), [("0.0.0.0:9000", Address("0.0.0.0", 9000)), ("[::1]:80", Address("::1", 80))]
)
def test_an_address_has_a_host_and_a_port(text: str, address: Address) -> None:
    assert Settings.from_env(NODE | {"ENI_METRICS_ADDRESS": text}).metrics_address == address


def test_a_switch_of_vpc_cnis_is_none_of_our_prefix() -> None:
    """ENABLE_… is not ENI_…."""
    assert Settings.from_env(NODE | {"ENABLE_SOMETHING_NEW": "true"}) == Settings.from_env(NODE)


@pytest.mark.parametrize("environ", [{}, {"MY_NODE_NAME": ""}, {"MY_NODE_NAME": " "}])
def test_one_node_needs_its_name_a_cluster_does_not(environ: dict[str, str]) -> None:
    assert Settings.from_env(environ, scope="cluster").node_name == ""
    with pytest.raises(SettingsError, match="MY_NODE_NAME must be set"):
        Settings.from_env(environ, scope="node")


def test_the_command_line_wins() -> None:
    assert Settings.from_env(NODE | {"ENI_SCOPE": "cluster"}, scope="node").scope == "node"
    assert Settings.from_env(NODE, scope="cluster").scope == "cluster"


def test_a_bad_value_that_two_rules_read_is_told_once() -> None:
    settings = Settings.from_env(NODE | {"ENABLE_IPv6": "x", "ENABLE_PREFIX_DELEGATION": "x"})
    assert [warning.split("=")[0] for warning in settings.warnings] == ["ENABLE_IPv6", "ENABLE_PREFIX_DELEGATION"]


NAMES = [
    "MY_NODE_NAME",
    "ADDITIONAL_ENI_TAGS",
    "AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG",
    "DISABLE_NETWORK_RESOURCE_PROVISIONING",
    "ENABLE_IMDS_ONLY_MODE",
    "ENABLE_IPv4",
    "ENABLE_IPv6",
    "ENABLE_POD_ENI",
    "ENABLE_PREFIX_DELEGATION",
    "ENI_AGENT_SILENT_SECONDS",
    "ENI_METRICS_ADDRESS",
    "ENI_NEW",
    "ENI_SCOPE",
    "IP_COOLDOWN_PERIOD",
    "NETWORK_POLICY_ENFORCING_MODE",
    "POD_SECURITY_GROUP_ENFORCING_MODE",
    "WARM_IP_TARGET",
    "WARM_PREFIX_TARGET",
]
VALUES = st.one_of(st.sampled_from(["true", "false", "0", "1", "-1", "10", "", "{}", "strict"]), st.text(max_size=12))


@given(st.dictionaries(st.sampled_from(NAMES), VALUES), st.sampled_from([None, "node", "cluster"]))
def test_any_environment_gives_settings_or_a_sentence_a_line(environ: dict[str, str], scope: str | None) -> None:
    told, settings = outcome(environ, scope)
    assert all(any(name in line for name in NAMES) for line in told)
    if settings is None:
        assert told
        return
    assert len(set(settings.warnings)) == len(settings.warnings)
    assert settings.policy.provisioning or not settings.sweep
    assert settings.scope == "cluster" or settings.node_name


def outcome(environ: dict[str, str], scope: str | None) -> tuple[list[str], Settings | None]:
    try:
        return [], Settings.from_env(environ, scope=scope)
    except SettingsError as error:
        return str(error).split("\n"), None
