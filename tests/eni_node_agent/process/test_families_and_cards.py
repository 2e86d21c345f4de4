"""Pods with IPv6, both families, egress to the other one, and a link on every network card."""

import signal

import pytest

from eni_crds.nodeippool import Family
from eni_testing.agents import AgentNode
from eni_testing.eventually import eventually
from eni_testing.supplies import FOUR, eni, supply

pytestmark = [pytest.mark.netns, pytest.mark.timeout(90)]

BLOCK = "2001:db8:0:1:2::/80"


async def test_a_kernel_without_ipv6_is_told_of_in_words(node: AgentNode) -> None:
    (node.folder / "sys" / "net").mkdir(parents=True)
    node.variables |= {"ENI_HOLD_SECONDS": "0.1", "ENI_PROC_SYS": str(node.folder / "sys")}
    await node.give(supply(eni(0, addresses=FOUR, ipv6_prefixes=[BLOCK]), families=[Family.IPV6]))
    node.start()
    await node.until_serving()
    why = "the kernel of this node has no IPv6"
    await eventually(lambda: why in node.http("/readyz")[1], "not ready, and why", within=15)
    status = await node.status()
    assert (status.code, why in status.json["msg"]) == (50, True)


@pytest.mark.parametrize("families", [[Family.IPV6], [Family.IPV4, Family.IPV6]])
async def test_pods_have_an_address_of_every_family_also_after_a_kill(node: AgentNode, families: list[Family]) -> None:
    await node.serve(supply(eni(0, addresses=FOUR, ipv6_prefixes=[BLOCK]), families=families))
    expected = ["10.0.1.4/32"] if len(families) == 2 else []
    assert await node.addresses_of("web") == [*expected, "2001:db8:0:1:2::/128"]
    node.host.run(["ip", "-6", "rule", "add", "priority", "512", "lookup", "512"], check=False)
    node.host.run(["ip", "address", "add", "2001:db8:0:1::a/128", "dev", "lo", "nodad"])
    assert node.host.reaches("2001:db8:0:1:2::")
    node.stop(signal.SIGKILL)
    node.start()
    await node.until_serving()
    assert await node.addresses_of("web") == [*expected, "2001:db8:0:1:2::/128"]
    assert (await node.addresses_of("next"))[-1] == "2001:db8:0:1:2::1/128"
    assert (await node.delete("web")).exit_code == 0
    await eventually(lambda: node.usage.get("cooling") == 1, "both cool as one")
    assert node.usage["assigned"] == 1
    await eventually(lambda: len(node.pod_links()) == 1, "one link is left")


@pytest.mark.parametrize(
    ("families", "variable", "egress", "target"),
    [
        ([Family.IPV4], "ENABLE_V6_EGRESS", "fd00::ac:2", "2001:db8:ffff::1"),
        ([Family.IPV6], "ENABLE_V4_EGRESS", "169.254.172.2", "198.51.100.1"),
    ],
)
async def test_egress_gives_a_way_of_the_other_family_that_the_runtime_is_not_told_of(
    node: AgentNode, families: list[Family], variable: str, egress: str, target: str
) -> None:
    node.variables[variable] = "true"
    await node.serve(supply(eni(0, addresses=FOUR, ipv6_prefixes=[BLOCK]), families=families))
    assert len(await node.addresses_of("web")) == 1
    assert f"src {egress}" in node.pod("web").run(["ip", "route", "get", target]).stdout
    family = "-6" if ":" in egress else "-4"
    assert f"{egress} dev" in node.host.run(["ip", family, "route", "show", "table", "512"]).stdout
    node.variables[variable] = "false"
    assert node.stop() == 0
    node.start()
    await node.until_serving()
    assert (await node.delete("web")).exit_code == 0
    await node.addresses_of("other")
    assert egress not in node.pod("other").run(["ip", "address"]).stdout


async def test_an_annotated_pod_has_a_link_on_every_card_and_goes_with_all_of_them(node: AgentNode) -> None:
    for name, mac in (("eth1", "02:00:00:00:01:01"), ("eth2", "02:00:00:00:02:01")):
        node.host.run(["ip", "link", "add", name, "address", mac, "type", "veth", "peer", f"wire{name[-1]}"])
    cards = eni(0, addresses=FOUR), eni(1, card=1, addresses=["10.0.2.4"]), eni(1, card=2, addresses=["10.0.3.4"])
    await node.serve(supply(*cards))
    await eventually(lambda: node.usage.get("free") == 6, "all cards serve")
    wish = {"k8s.amazonaws.com/nicConfig": "multi-nic-attachment"}
    assert await node.addresses_of("many", wish) == ["10.0.1.4/32", "10.0.2.4/32", "10.0.3.4/32"]
    assert await node.addresses_of("one") == ["10.0.1.5/32"]
    assert all(node.host.reaches(address) for address in ("10.0.1.4", "10.0.2.4", "10.0.3.4"))
    links = node.pod("many").run(["ip", "-br", "link"]).stdout
    assert all(name in links for name in ("eth0@", "mNicIf1@", "mNicIf2@"))
    await eventually(lambda: node.usage.get("assigned") == 4, "usage reported")
    assert node.usage["cards"] == [{"networkCard": card, "assigned": 1, "cooling": 0, "pending": 0} for card in (1, 2)]
    assert (await node.delete("many")).exit_code == 0
    await eventually(lambda: len(node.pod_links()) == 1, "one pod's link is left")
