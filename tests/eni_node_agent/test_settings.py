import subprocess
import sys
from pathlib import Path

import pytest

from eni_node_agent.settings import InstallSettings, Settings, SettingsError

NODE = {"MY_NODE_NAME": "node-a"}


def test_a_node_name_is_all_that_is_needed() -> None:
    settings = Settings.from_env(NODE)
    assert settings == Settings(node_name="node-a")
    assert settings.journal_path == Path("/run/eni-agent/ledger.db")
    assert settings.supply_path == Path("/var/lib/eni-agent/supply.json")


def test_reports_all_problems_together() -> None:
    environ = {"AWS_VPC_ENI_MTU": "575", "ENI_HOLD_SECONDS": "-1", "ENI_HOLDSECONDS": "3", "ENI_LOG_LEVEL": "loud"}
    with pytest.raises(SettingsError) as caught:
        Settings.from_env(environ)
    assert str(caught.value).split("; ") == [
        'AWS_VPC_ENI_MTU is "575"',
        "a number of bytes from 576 to 9001 is allowed",
        "MY_NODE_NAME is not set",
        "the name of this node is needed",
        'ENI_HOLD_SECONDS is "-1"',
        "a number of seconds from 0 to 120 is allowed",
        'ENI_LOG_LEVEL is "loud"',
        "one of DEBUG, INFO, WARNING, ERROR is allowed",
        "ENI_HOLDSECONDS is not a setting of the agent",
    ]


@pytest.mark.parametrize(
    ("name", "value", "field", "expected"),
    [
        ("POD_MTU", "1500", "pod_mtu", 1500),
        ("ENI_PROC_SYS", "/host/proc-sys", "proc_sys", Path("/host/proc-sys")),
        ("AWS_VPC_K8S_CNI_EXTERNALSNAT", "T", "external_snat", True),
        ("AWS_VPC_K8S_CNI_EXTERNALSNAT", "yes", "external_snat", False),
        ("AWS_VPC_CNI_NODE_PORT_SUPPORT", "0", "node_port_support", False),
        ("AWS_VPC_K8S_CNI_RANDOMIZESNAT", "hashrandom", "snat_ports", "hashrandom"),
        ("AWS_VPC_K8S_CNI_RANDOMIZESNAT", "dice", "snat_ports", "prng"),
        ("AWS_VPC_K8S_CNI_CONNMARK", "0x100", "connmark", 256),
        ("AWS_VPC_K8S_CNI_CONNMARK", "0", "connmark", 0x80),
        ("AWS_VPC_K8S_CNI_EXCLUDE_SNAT_CIDRS", "10.1.2.3/8, x,fd00::/8", "exclude_snat_cidrs", ("10.0.0.0/8",)),
        ("AWS_EXTERNAL_SERVICE_CIDRS", "192.0.2.9/24,x", "external_service_cidrs", ("192.0.2.0/24",)),
        ("AWS_VPC_K8S_CNI_VETHPREFIX", "veth", "veth_prefix", "veth"),
        ("AWS_VPC_K8S_CNI_VETHPREFIX", "", "veth_prefix", "eni"),
        ("ENABLE_V4_EGRESS", "false", "enable_v4_egress", False),
        ("ENABLE_V6_EGRESS", "true", "enable_v6_egress", True),
        ("ENABLE_V6_EGRESS", "maybe", "enable_v6_egress", False),
        ("CLUSTER_ENDPOINT", "api.example", "cluster_endpoint", "https://api.example"),
        ("CLUSTER_ENDPOINT", "http://10.0.0.1:6443/", "cluster_endpoint", "http://10.0.0.1:6443"),
        ("HOST_CNI_BIN_PATH", "/bin", "cni_bin_dir", Path("/bin")),
        ("ENI_HOLD_SECONDS", "2.5", "hold_seconds", 2.5),
        ("ENI_HEARTBEAT_SECONDS", "30", "heartbeat_seconds", 30.0),
        ("ENI_STATE_DIR", "/state", "state_dir", Path("/state")),
        ("ENI_CNI_CACHE_DIR", "/cache", "cni_cache_dir", Path("/cache")),
        ("ENI_METRICS_ADDRESS", "127.0.0.1:61678", "metrics_address", "127.0.0.1:61678"),
        ("ENI_METRICS_ADDRESS", ":9000", "metrics_address", ":9000"),
        ("DISABLE_METRICS", "true", "has_metrics", False),
        ("DISABLE_METRICS", "yes", "has_metrics", True),
        ("INTROSPECTION_BIND_ADDRESS", "127.0.0.1:61671", "introspection_address", "127.0.0.1:61671"),
        ("INTROSPECTION_BIND_ADDRESS", "unix:/run/x.sock", "introspection_address", "unix:/run/x.sock"),
        ("INTROSPECTION_BIND_ADDRESS", "here", "introspection_address", "127.0.0.1:61679"),
        ("DISABLE_INTROSPECTION", "1", "has_introspection", False),
        ("AWS_VPC_K8S_CNI_LOGLEVEL", "DEBUG", "log_level", "DEBUG"),
        ("AWS_VPC_K8S_CNI_LOGLEVEL", "warn", "log_level", "WARNING"),
        ("AWS_VPC_K8S_CNI_LOGLEVEL", "loud", "log_level", "INFO"),
        ("AWS_VPC_K8S_CNI_LOG_FILE", "/var/log/x.log", "log_file", "/var/log/x.log"),
        ("AWS_VPC_K8S_CNI_LOG_FILE", "/var/log/x.log", "plugin_log_file", "/var/log/x.log"),
        ("AWS_VPC_K8S_PLUGIN_LOG_FILE", "/var/log/p.log", "plugin_log_file", "/var/log/p.log"),
        ("AWS_VPC_K8S_PLUGIN_LOG_LEVEL", "fatal", "plugin_log_level", "CRITICAL"),
    ],
)
def test_reads_a_variable(name: str, value: str, field: str, expected: object) -> None:
    assert getattr(Settings.from_env(NODE | {name: value}), field) == expected


def test_pods_get_the_mtu_of_the_enis_unless_told() -> None:
    assert Settings.from_env(NODE | {"AWS_VPC_ENI_MTU": "1500"}).pod_mtu == 1500


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("AWS_VPC_K8S_CNI_VETHPREFIX", value) for value in ("eth", "lo", "vlan", "longer", "a/b", 'a"', "ü")),
        ("ENI_SOCKET_PATH", "agent.sock"),
        ("ENI_HTTP_ADDRESS", "61680"),
        ("ENI_HTTP_ADDRESS", "a:b"),
        ("ENI_METRICS_ADDRESS", "61678"),
        ("ENI_METRICS_ADDRESS", "unix:x.sock"),
        ("ENI_CNI_CACHE_DIR", "cache"),
        ("ENI_HEARTBEAT_SECONDS", "0"),
        ("ENI_HEARTBEAT_SECONDS", "241"),
        ("ENI_HEARTBEAT_SECONDS", "nan"),
        ("ENI_HEARTBEAT_SECONDS", "2m"),
    ],
)
def test_refuses_what_cannot_be_meant(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f'{name} is "{value}"'):
        Settings.from_env(NODE | {name: value})


def test_the_executables_variable_in_a_shared_environment_is_no_mistake() -> None:
    Settings.from_env(NODE | {"ENI_AGENT_SOCKET": "/run/x.sock"})


@pytest.mark.parametrize("name", ["AWS_VPC_ENI_MTU", "POD_MTU"])
def test_ipv6_that_is_asked_for_needs_its_least_mtu(name: str) -> None:
    with pytest.raises(SettingsError, match=f"{name} is 1279, with ENABLE_V6_EGRESS 1280 to 9001 bytes are allowed"):
        Settings.from_env(NODE | {name: "1279", "ENABLE_V6_EGRESS": "true"})
    assert Settings.from_env(NODE | {name: "1279"}).pod_mtu == 1279


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, InstallSettings()),
        ({"DISABLE_TCP_EARLY_DEMUX": "true"}, InstallSettings(disable_tcp_early_demux=True)),
        ({"DISABLE_TCP_EARLY_DEMUX": "2"}, InstallSettings()),
        ({"ENABLE_V6_EGRESS": "1"}, InstallSettings(enable_v6_egress=True)),
        ({"HOST_CNI_BIN_PATH": "/bin"}, InstallSettings(cni_bin_dir=Path("/bin"))),
    ],
)
def test_reads_what_the_init_container_needs(environ: dict[str, str], expected: InstallSettings) -> None:
    assert InstallSettings.from_env(environ) == expected


def test_our_log_level_is_stronger_than_vpc_cnis_and_holds_for_requests_too() -> None:
    settings = Settings.from_env(NODE | {"ENI_LOG_LEVEL": "ERROR", "AWS_VPC_K8S_CNI_LOGLEVEL": "debug"})
    assert (settings.log_level, settings.plugin_log_level) == ("ERROR", "ERROR")


def test_what_could_not_be_read_is_told() -> None:
    settings = Settings.from_env(NODE | {"AWS_VPC_K8S_CNI_CONNMARK": "much", "DISABLE_METRICS": "maybe"})
    assert settings.warnings == (
        'AWS_VPC_K8S_CNI_CONNMARK is "much", which cannot be read; it is as if not set',
        'DISABLE_METRICS is "maybe", which cannot be read; it is as if not set',
    )


def test_an_environment_that_makes_no_sense_is_one_sentence() -> None:
    command = [sys.executable, "-m", "eni_node_agent", "run"]
    result = subprocess.run(command, env={}, capture_output=True, text=True, timeout=20, check=False)
    assert result.returncode == 1
    assert result.stderr == "eni-agent run: MY_NODE_NAME is not set; the name of this node is needed\n"
