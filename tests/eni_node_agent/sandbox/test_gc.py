from eni_cni_shim.plugin.addresspool import PodLink, Sandbox, SandboxKey
from eni_node_agent.ledger.ledger import Holding, Ledger
from eni_node_agent.sandbox import gc, names
from eni_testing.holdings import Notebook, held

KEY = SandboxKey("eni", "c1", "eth0")


def ledger_holding(address: str, key: SandboxKey = KEY) -> Ledger:
    ledger = Ledger(Notebook())
    ledger.adopt(held(Sandbox(key), address, since=100.0))
    return ledger


def test_link_names_differ_by_sandbox_and_fit_the_kernel() -> None:
    keys = [KEY, KEY._replace(container_id="c2"), KEY._replace(ifname="eth1")]
    found = {names.host_ifname(key, number) for key in keys for number in range(3)}
    assert len(found) == 9
    assert {len(name) for name in found} == {14}


def never(_: SandboxKey) -> float:
    """This agent was not asked for the sandbox."""
    return float("-inf")


def test_adopts_addresses_of_live_pods_that_the_journal_forgot() -> None:
    ledger = ledger_holding("10.0.1.5")
    adopted = gc.adopt_from_kernel(ledger, {"10.0.1.5": "eni1", "10.0.1.6": "eni2"}, now=200)
    assert [(holding.address, holding.links[0].host_ifname) for holding in adopted] == [("10.0.1.6", "eni2")]
    assert gc.departed(ledger, {names.host_ifname(KEY), "eni2"}, 300, never) == []


def test_adopts_what_is_on_one_link_together_and_knows_egress_from_the_vpc() -> None:
    ledger = ledger_holding("10.0.1.5")
    routes = {"2001:db8::5": "eni2", "10.0.1.6": "eni2", "fd00::ac:2": "eni3", "10.0.1.7": "eni3", "fd00::ac:9": "eni4"}
    adopted = gc.adopt_from_kernel(ledger, routes, now=200)
    found = {holding.links[0].host_ifname: holding.links[0] for holding in adopted}
    assert {name: (link.addresses, link.egress) for name, link in found.items()} == {
        "eni2": (("10.0.1.6", "2001:db8::5"), ""),
        "eni3": (("10.0.1.7",), "fd00::ac:2"),
        "eni4": (("fd00::ac:9",), ""),
    }
    assert gc.adopt_from_kernel(ledger, routes, now=300) == []


def test_a_sandbox_of_several_links_departs_with_the_last_of_them() -> None:
    ledger = Ledger(Notebook())
    links = tuple(PodLink("", name, "", (f"10.0.1.{number}",)) for number, name in enumerate(("eni1", "eni2")))
    ledger.adopt(Holding(Sandbox(KEY), links, since=100.0))
    assert gc.departed(ledger, {"eni2"}, 500, never) == []
    assert gc.departed(ledger, set(), 500, never) == [KEY]


def test_a_sandbox_keeps_its_links_names_when_the_prefix_changes() -> None:
    ledger = ledger_holding("10.0.1.5")
    assert names.host_ifname(KEY, prefix="veth").startswith("veth")
    assert gc.departed(ledger, {names.host_ifname(KEY)}, 500, never) == []


def test_a_sandbox_whose_link_is_gone_has_departed() -> None:
    ledger = ledger_holding("10.0.1.5")
    assert gc.departed(ledger, {"eth0", "lo"}, 161, never) == [KEY]
    assert gc.departed(ledger, {"eth0", names.host_ifname(KEY)}, 161, never) == []


def test_a_sandbox_just_asked_for_may_not_have_its_link_yet() -> None:
    assert gc.departed(ledger_holding("10.0.1.5"), set(), 160, lambda _: 100.0) == []
    assert gc.departed(ledger_holding("10.0.1.5"), set(), 161, lambda _: 100.0) == [KEY]


def test_a_predecessors_sandbox_without_a_link_has_departed_however_young() -> None:
    assert gc.departed(ledger_holding("10.0.1.5"), set(), 100, never) == [KEY]


def test_an_adopted_sandbox_departs_with_its_link() -> None:
    key = names.recovered_key("eni0123456789a")
    ledger = ledger_holding("10.0.1.5", key)
    assert gc.departed(ledger, {"eni0123456789a"}, 500, never) == []
    assert gc.departed(ledger, set(), 500, never) == [key]
