"""Custom networking on a real cluster: what is wrong with an ENIConfig is told, what is right counts at once."""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, nullcontext

import pytest

from eni_lab.demo import observed
from eni_lab.lab import Lab
from eni_lab.node.machine import Machine
from eni_lab.waiting import wait_for
from eni_testing.disturbances import environment
from eni_testing.reasons import PATIENCE_SECONDS, Case, calm, crowded, rest, running_pods, told_everywhere

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(420)]

LEAD_SECONDS = 300
"""A leader that died with its node leads on paper for two minutes, and candidates look every two minutes."""
CUSTOM = "AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG"


@pytest.fixture(scope="module")
def customized(deployed: Lab) -> Iterator[Lab]:
    """The deployed laboratory with custom networking, and agents that give up soon."""
    with ExitStack() as undo:
        undo.enter_context(environment(deployed, "eni-agent", ENI_HOLD_SECONDS="4"))
        undo.callback(calm, deployed)
        rest(deployed, deployed.nodes()[0], {})
        undo.enter_context(environment(deployed, "eni-operator", **{CUSTOM: "true"}))
        undo.callback(deployed.kubectl, "delete", "eniconfigs", "--all")
        yield deployed


def nothing(_lab: Lab, _node: Machine) -> AbstractContextManager[None]:
    """The ENIConfig is trouble enough."""
    return nullcontext()


def eniconfig(lab: Lab, **fields: object) -> None:
    manifest = {
        "apiVersion": "crd.k8s.amazonaws.com/v1alpha1",
        "kind": "ENIConfig",
        "metadata": {"name": "default"},
        "spec": fields,
    }
    lab.kubectl("apply", "-f", "-", stdin=json.dumps(manifest))


CONFIGS = [
    ("ENIConfigMissing", "'default'", lambda _lab: {}),
    ("UnknownSubnet", "subnet-0123456789abcdef0", lambda _lab: {"subnet": "subnet-0123456789abcdef0"}),
    ("WrongZone", "us-east-1b", lambda lab: {"subnet": lab.cloud.subnet("pods-b")}),
    (
        "UnknownSecurityGroup",
        "sg-0123456789abcdef0",
        lambda lab: {"subnet": lab.cloud.subnet("pods-a"), "securityGroups": ["sg-0123456789abcdef0"]},
    ),
]


@pytest.mark.parametrize(("reason", "words", "fields"), CONFIGS, ids=[row[0] for row in CONFIGS])
def test_what_is_wrong_with_an_eniconfig_is_told_in_all_four_places(
    customized: Lab, reason: str, words: str, fields: Callable[[Lab], dict[str, object]]
) -> None:
    eniconfig(customized, subnet=customized.cloud.subnet("pods-a"))
    rest(customized, customized.nodes()[0], {})
    found = fields(customized)
    if found:
        eniconfig(customized, **found)
    else:
        customized.kubectl("delete", "eniconfig", "default")
    told_everywhere(customized, Case(reason, words, nothing, {}, pods=1), rested=True, serves_again=False)


def test_a_mended_eniconfig_counts_at_once_and_shows_who_uses_it(customized: Lab) -> None:
    node = customized.nodes()[0]
    eniconfig(customized, subnets={"ids": [customized.cloud.subnet(f"pods-{letter}") for letter in "ab"]})
    with crowded(customized, node, 2, {}):
        wait_for("both pods run", lambda: len(running_pods(customized)) == 2, seconds=PATIENCE_SECONDS)
        pods_subnet = customized.cloud.subnet("pods-a")
        supply = observed.pool(customized, node.name).supply
        assert {eni["subnetID"] for eni in supply["enis"] if eni["role"] == "secondary"} == {pods_subnet}
        assert supply["eniConfig"] == "default"

    def columns() -> bool:
        shown = customized.kubectl("get", "eniconfig", "default").splitlines()
        return shown[0].split()[:6] == ["NAME", "NODES", "SUBNETS", "FREE", "READY", "REASON"] and " True " in shown[1]

    wait_for("kubectl get eniconfig shows it in use", columns, seconds=LEAD_SECONDS)
