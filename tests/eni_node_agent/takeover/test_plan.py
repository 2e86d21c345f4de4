import pytest
from hypothesis import given
from hypothesis import strategies as st

from eni_cni_shim.plugin.addresspool import PodLink, Sandbox, SandboxKey
from eni_node_agent.sandbox import names
from eni_node_agent.takeover import plan
from eni_node_agent.takeover.checkpoint import Allocation
from eni_node_agent.takeover.plan import Estate, Heir, PolicyRule

A, B = "10.0.1.21", "10.0.1.22"


def link(name: str, prefix: str = "eni") -> str:
    return prefix + names.pod_hash("default", name)


def allocation(address: str, name: str, container: str = "c1", interfaces: int = 1) -> Allocation:
    return Allocation(address, container, "eth0", "default", name, interfaces)


def heir(name: str, *addresses: str, container: str = "c1", prefix: str = "eni") -> Heir:
    """Returns a pod that is known by its container, with a link for each address."""
    sandbox = Sandbox(SandboxKey("aws-cni", container, "eth0"), pod_namespace="default", pod_name=name)
    ends = [("eth0", link(name, prefix)), ("mNicIf1", link(f"{name}.1", prefix))]
    return Heir(sandbox, tuple(PodLink(*ends[n], "", (address,)) for n, address in enumerate(addresses)))


def stray(host_ifname: str, address: str) -> Heir:
    """Returns a pod of which nothing is known but its link."""
    return Heir(Sandbox(SandboxKey("", host_ifname, "")), (PodLink("", host_ifname, "", (address,)),))


@pytest.mark.parametrize(
    ("namespace", "name", "expected"),
    [
        ("kube-system", "coredns-57ff979f67-qqbdh", "b5faff8a083"),
        ("kube-system", "coredns-57ff979f67-8ns9b", "9571956a6cc"),
        ("default", "sample-pod", "cc21c2d7785"),
    ],
)
def test_links_are_named_as_vpc_cni_names_them(namespace: str, name: str, expected: str) -> None:
    assert names.pod_hash(namespace, name) == expected


NAMELESS = Allocation(A, "c1", "eth0", "", "", 1)
ESTATES = {
    "a pod that lives": ([allocation(A, "web")], {A: link("web")}, Estate((heir("web", A),), ())),
    "a pod that went": ([allocation(A, "web")], {}, Estate((), (A,))),
    "an old container of a pod that runs again": (
        [allocation(A, "web", "old"), allocation(B, "web", "new")],
        {B: link("web")},
        Estate((heir("web", B, container="new"),), (A,)),
    ),
    "a pod that nobody remembers": ([], {A: link("web")}, Estate((stray(link("web"), A),), ())),
    "an entry without a pod": (
        [NAMELESS],
        {A: link("web")},
        Estate((Heir(Sandbox(SandboxKey("aws-cni", "c1", "eth0")), (PodLink("eth0", link("web"), "", (A,)),)),), ()),
    ),
    "an entry without a pod that went": ([NAMELESS], {}, Estate((), (A,))),
    "a pod under another prefix": (
        [allocation(A, "web")],
        {A: link("web", "veth")},
        Estate((heir("web", A, prefix="veth"),), ()),
    ),
    "a pod on two cards": (
        [allocation(A, "web", interfaces=2), allocation(B, "web", interfaces=2)],
        {A: link("web"), B: link("web.1")},
        Estate((heir("web", A, B),), ()),
    ),
    "an egress address on a link with a name of chance": (
        [],
        {"169.254.172.5": "veth1a2b3c4d"},
        Estate((stray("veth1a2b3c4d", "169.254.172.5"),), ()),
    ),
    "a link of another network": ([], {A: "cali1234567890a"}, Estate((), ())),
    "an address whose route leads to another pod": (
        [allocation(A, "web"), allocation(A, "api", "c2")],
        {A: link("api")},
        Estate((heir("api", A, container="c2"),), ()),
    ),
}


@pytest.mark.parametrize(("allocations", "routes", "expected"), ESTATES.values(), ids=ESTATES)
def test_who_lives_and_how_it_is_held(allocations: list[Allocation], routes: dict[str, str], expected: Estate) -> None:
    assert plan.divide(allocations, set(routes.values()), routes) == expected


def test_links_that_no_checkpoint_speaks_of_are_known_by_the_prefix_in_the_settings() -> None:
    routes = {A: link("web", "aws"), B: link("api")}
    assert plan.divide([], set(routes.values()), routes, "aws") == Estate((stray(link("web", "aws"), A),), ())


def test_a_pod_whose_route_somebody_flushed_lives() -> None:
    found = plan.divide([allocation(A, "web")], {link("web")}, {})
    assert found == Estate((heir("web", A),), ())


PODS = st.sampled_from(["web", "api", "job", ""])
ADDRESSES = st.integers(1, 5).map(lambda last: f"10.0.1.{last}")
ALLOCATIONS = st.lists(st.builds(allocation, ADDRESSES, PODS, st.sampled_from(["c1", "c2", "c3"]), st.integers(1, 2)))
LINKS = st.sampled_from([link(name) for name in ("web", "web.1", "api", "job", "unknown")])


@given(ALLOCATIONS, st.dictionaries(ADDRESSES, LINKS), st.sets(LINKS))
def test_every_address_that_a_pod_may_have_is_held_once(
    allocations: list[Allocation], routes: dict[str, str], more: set[str]
) -> None:
    found = plan.divide(allocations, set(routes.values()) | more, routes)
    held = [address for each in found.heirs for pod_link in each.links for address in pod_link.addresses]
    keys = [each.sandbox.key for each in found.heirs]
    assert len(set(held)) == len(held)
    assert len(set(keys)) == len(keys)
    assert set(routes) <= set(held)
    assert {each.address for each in allocations} <= set(held) | set(found.departed)
    assert set(held).isdisjoint(found.departed)


def rule(priority: int, table: int, *, source: str = "", to: str = "", mark: int = 0, ours: bool = False) -> PolicyRule:
    return PolicyRule(b"", priority, table, source, to, mark, ours)


OWNED, REMOVED, LEFT = "own", "remove", "leave"
RULES = {
    "to a pod that lives": (rule(512, 254, to=f"{A}/32"), LEFT),
    "to a pod that went": (rule(512, 254, to=f"{B}/32"), REMOVED),
    "to a network": (rule(512, 254, to="10.0.1.0/24"), LEFT),
    "to a pod, another table": (rule(512, 99, to=f"{B}/32"), LEFT),
    "to a pod by IPv6": (rule(512, 254, to="2001:db8::1/128"), REMOVED),
    "ours for all pods": (rule(512, 512, ours=True), LEFT),
    "mark": (rule(1024, 254, mark=0x80), OWNED),
    "another mark": (rule(1024, 254, mark=0x40), LEFT),
    "our mark": (rule(1024, 254, mark=0x80, ours=True), LEFT),
    "external service": (rule(1535, 254, to="172.31.0.0/16"), OWNED),
    "from a pod that lives": (rule(1536, 2, source=A), LEFT),
    "from a pod that went": (rule(1536, 2, source=B), OWNED),
    "from a pod that went, of an ENI that went": (rule(1536, 3, source=B), REMOVED),
    "from a network": (rule(1536, 2), LEFT),
    "from an ENI": (rule(32765, 2, source="10.0.1.20"), OWNED),
    "from an ENI that is not ours": (rule(32765, 7, source="10.0.9.20"), LEFT),
    "main": (rule(32766, 254), LEFT),
}


@pytest.mark.parametrize(("found", "expected"), RULES.values(), ids=RULES)
def test_whose_a_rule_is_from_now_on(found: PolicyRule, expected: str) -> None:
    settlement = plan.settle([found], {A}, tables={2}, mark=0x80)
    fate = OWNED if settlement.own else REMOVED if settlement.remove else LEFT
    assert fate == expected
