from eni_cni_shim.plugin.addresspool import Sandbox, SandboxKey
from eni_node_agent.ledger.ledger import Holding, Ledger
from eni_node_agent.sandbox import gc, names


class Memory:
    def hold(self, _: Holding) -> None: ...

    def release(self, _: Holding, __: float) -> None: ...


KEY = SandboxKey("eni", "c1", "eth0")


def ledger_holding(address: str, key: SandboxKey = KEY) -> Ledger:
    ledger = Ledger(Memory())
    ledger.adopt(Holding(Sandbox(key), address, "eni-1", since=100.0))
    return ledger


def test_link_names_differ_by_sandbox_and_fit_the_kernel() -> None:
    keys = [KEY, KEY._replace(container_id="c2"), KEY._replace(ifname="eth1")]
    found = {names.host_ifname(key) for key in keys}
    assert len(found) == 3
    assert {len(name) for name in found} == {14}


def test_adopts_addresses_of_live_pods_that_the_journal_forgot() -> None:
    ledger = ledger_holding("10.0.1.5")
    adopted = gc.adopt_from_kernel(ledger, {"10.0.1.5": "eni1", "10.0.1.6": "eni2"}, now=200)
    assert [(holding.address, names.host_ifname(holding.sandbox.key)) for holding in adopted] == [("10.0.1.6", "eni2")]
    assert gc.departed(ledger, {names.host_ifname(KEY), "eni2"}, now=300) == []


def test_a_sandbox_whose_link_is_gone_has_departed() -> None:
    ledger = ledger_holding("10.0.1.5")
    assert gc.departed(ledger, {"eth0", "lo"}, now=161) == [KEY]
    assert gc.departed(ledger, {"eth0", names.host_ifname(KEY)}, now=161) == []


def test_a_young_sandbox_may_not_have_its_link_yet() -> None:
    assert gc.departed(ledger_holding("10.0.1.5"), set(), now=160) == []


def test_an_adopted_sandbox_departs_with_its_link() -> None:
    key = names.recovered_key("eni0123456789a")
    ledger = ledger_holding("10.0.1.5", key)
    assert gc.departed(ledger, {"eni0123456789a"}, now=500) == []
    assert gc.departed(ledger, set(), now=500) == [key]


def test_a_sandbox_of_vpc_cni_departs_with_the_link_that_vpc_cni_made() -> None:
    key = SandboxKey(names.VPC_CNI_NETWORK, "c1", "eth0")
    ledger = Ledger(Memory())
    ledger.adopt(Holding(Sandbox(key, pod_namespace="default", pod_name="sample-pod"), "10.0.1.5", "", since=100.0))
    assert gc.departed(ledger, {"enicc21c2d7785"}, now=500) == []
    assert gc.departed(ledger, {names.host_ifname(key)}, now=500) == [key]
