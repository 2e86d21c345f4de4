"""docs/settings.md names every variable the daemons read, and nothing else that looks like one of ours."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from eni_operator.settings import Settings

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/settings.md").read_text()
NODE = {"MY_NODE_NAME": "node-a"}
READ_BY_OTHERS = {"AWS_ENDPOINT_URL_EC2", "ANNOTATE_POD_IP", "AWS_VPC_K8S_CNI_BACKING_STORE"}
"""In the operator's tables for completeness: the SDK reads the first, the agent the others."""
VPC_CNI = """
    ADDITIONAL_ENI_TAGS ANNOTATE_POD_IP AWS_EC2_ENDPOINT AWS_MANAGE_ENIS_NON_SCHEDULABLE AWS_VPC_K8S_CNI_BACKING_STORE
    AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG AWS_VPC_K8S_CNI_LOGLEVEL CLUSTER_ENDPOINT CLUSTER_NAME DISABLE_LEAKED_ENI_CLEANUP
    DISABLE_NETWORK_RESOURCE_PROVISIONING ENABLE_IMDS_ONLY_MODE ENABLE_IPv4 ENABLE_IPv6 ENABLE_MULTI_NIC ENABLE_POD_ENI
    ENABLE_PREFIX_DELEGATION ENABLE_SUBNET_DISCOVERY ENI_CONFIG_ANNOTATION_DEF ENI_CONFIG_LABEL_DEF HTTP_TIMEOUT
    IP_COOLDOWN_PERIOD MANAGE_UNTAGGED_ENI MAX_ENI MINIMUM_IP_TARGET MY_NODE_NAME MY_POD_NAME
    NETWORK_POLICY_ENFORCING_MODE POD_SECURITY_GROUP_ENFORCING_MODE VPC_CNI_VERSION WARM_ENI_TARGET WARM_IP_TARGET
    WARM_PREFIX_TARGET
"""
"""Its variables about pool and ENIs in v1.23.1 (https://github.com/aws/amazon-vpc-cni-k8s#cni-configuration-variables)."""


class Environ(dict[str, str]):
    """An environment that remembers what was asked of it."""

    def __init__(self) -> None:
        super().__init__(NODE)
        self.asked: set[str] = set()

    def get(self, key: str, default: str | None = None) -> str | None:  # type: ignore[override] # one of its overloads
        self.asked.add(key)
        return super().get(key, default)


def section(title: str) -> str:
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def rows(title: str) -> Iterator[tuple[list[str], str]]:
    """Yields the variables and the default of each row of a section's tables."""
    for line in section(title).splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) > 3 and cells[1].startswith("`"):
            yield re.findall(r"`(\w+)`", cells[1]), cells[2]


def on_the_page(title: str) -> set[str]:
    return {name for names, _ in rows(title) for name in names}


def test_the_operators_tables_name_what_it_reads_and_nothing_else() -> None:
    environ = Environ()
    Settings.from_env(environ)
    assert on_the_page("Operator") - READ_BY_OTHERS == environ.asked


def test_every_variable_of_vpc_cnis_pool_is_in_the_operators_tables() -> None:
    assert set(VPC_CNI.split()) <= on_the_page("Operator")


@pytest.mark.parametrize(
    ("name", "default"),
    [
        (name, default.strip("`"))
        for names, default in rows("Operator")
        for name in names
        if re.fullmatch("`[^`]+`", default)
    ],
)
def test_a_default_of_the_page_is_the_operators(name: str, default: str) -> None:
    assert Settings.from_env(NODE | {name: default}) == Settings.from_env(NODE)


NAMES = r"(?:ENI|AWS|HOST|CLUSTER|POD|MY|DISABLE|ENABLE|ANNOTATE|INTROSPECTION)_[A-Z0-9_]+"


def read_by_the_node() -> set[str]:
    """Finds the names that stand in quotes where the agent and the CNI executable read their settings."""
    agent = ROOT / "node_agent/eni_node_agent"
    sources = [*agent.glob("settings.py"), *agent.glob("settings/*.py"), ROOT / "cni_shim/forwarder.c"]
    return {name for source in sources for name in re.findall(rf'"({NAMES})"', source.read_text())}


def test_every_variable_of_the_node_is_on_the_page() -> None:
    assert read_by_the_node() <= set(re.findall(rf"\b{NAMES}\b", section("Agent") + section("eni-cni")))


def test_the_page_promises_no_variable_that_nobody_reads() -> None:
    environ = Environ()
    Settings.from_env(environ)
    promised = set(re.findall(r"\bENI_[A-Z_]+\b", PAGE)) - {"ENI_"}
    assert promised <= read_by_the_node() | environ.asked
