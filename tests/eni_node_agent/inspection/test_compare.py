"""Each kind of difference once, and the many ways of there being none."""

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from eni_cni_shim.plugin.addresspool import PodLink, Sandbox, SandboxKey
from eni_crds.nodeippool import EniRole, EniState
from eni_node_agent.inspection.compare import findings
from eni_node_agent.inspection.views import AgentView, Attachment, HostLink, KernelView, Neighbour, RuntimeView, Views
from eni_node_agent.introspection.state import HeldAddresses, State, held_addresses
from eni_node_agent.ledger.ledger import Holding
from eni_testing.supplies import eni, supply

LINK = PodLink("eth0", "eni0123", eni(0).id, ("10.0.1.4",))
WEB = HeldAddresses("eni", "c1", "eth0", (LINK,), 0.0, "default", "web-0", "u1")
PRIMARY, SECONDARY = eni(0, addresses=["10.0.1.4", "10.0.1.5"]), eni(1, prefixes=["10.0.2.0/28"])
STATE = State(
    node="node-a",
    version="1",
    boot_id="b",
    now=1000.0,
    supply=supply(PRIMARY, SECONDARY),
    holdings=(WEB,),
    cooling={},
)
AGENT = AgentView(STATE, is_running=True, has_conflist=True)
KERNEL = KernelView(
    links={
        "lo": HostLink("00:00:00:00:00:00", is_up=True, kind=""),
        "eth0": HostLink(PRIMARY.mac, is_up=True, kind=""),
        "eth1": HostLink(SECONDARY.mac, is_up=True, kind=""),
        "eni0123": HostLink("ee:58:0a:00:01:04", is_up=True, kind="veth"),
    },
    pod_routes={"10.0.1.4": "eni0123"},
    neighbours=frozenset({Neighbour("eni0123", "10.0.1.4")}),
)
ATTACHMENT = Attachment("eni", "c1", "eth0", ("10.0.1.4",), "default/web-0")
RUNTIME = RuntimeView((ATTACHMENT,))
ALL = Views(AGENT, KERNEL, RUNTIME)


def kinds(views: Views) -> list[str]:
    return [finding.kind for finding in findings(views)]


def with_state(**changes: object) -> Views:
    return replace(ALL, agent=replace(AGENT, state=replace(STATE, **changes)))  # type: ignore[arg-type]


def with_kernel(**changes: object) -> Views:
    return replace(ALL, kernel=replace(KERNEL, **changes))  # type: ignore[arg-type]


def with_link(name: str, link: HostLink | None) -> Views:
    links = {**KERNEL.links, name: link}
    return with_kernel(links={name: link for name, link in links.items() if link is not None})


def with_runtime(*attachments: Attachment, live: frozenset[str] | None = None) -> Views:
    return replace(ALL, runtime=RuntimeView(attachments, live))


def test_where_all_agree_there_is_nothing_to_tell() -> None:
    assert findings(ALL) == []


def test_a_pod_with_several_links_and_egress_is_compared_as_a_whole() -> None:
    """The runtime has one result of both links and knows nothing of the node-local address, nor does EC2."""
    key = SandboxKey("eni", "c1", "eth0")
    first = PodLink("eth0", "eni0123", eni(0).id, ("10.0.1.4",), "fd00::ac:2")
    holding = Holding(
        Sandbox(key, "", "default", "web-0"), (first, PodLink("mNicIf1", "eni0456", "", ("10.0.2.1",))), 0.0
    )
    places = {"10.0.1.4": "eni0123", "fd00::ac:2": "eni0123", "10.0.2.1": "eni0456"}
    kernel = replace(
        KERNEL,
        links={**KERNEL.links, "eni0456": HostLink("ee:58:0a:00:02:01", is_up=True, kind="veth")},
        pod_routes=places,
        neighbours=frozenset(Neighbour(ifname, address) for address, ifname in places.items()),
    )
    state = State.parse(json.loads(json.dumps(replace(STATE, holdings=held_addresses([holding])).dump())))
    runtime = RuntimeView((ATTACHMENT._replace(addresses=("10.0.1.4", "10.0.2.1")),))
    views = Views(replace(AGENT, state=state), kernel, runtime)
    assert findings(views) == []
    without_egress = {address: ifname for address, ifname in places.items() if address != "fd00::ac:2"}
    assert kinds(replace(views, kernel=replace(kernel, pod_routes=without_egress))) == ["pod.no_route"]
    assert kinds(replace(views, runtime=RUNTIME)) == ["sandbox.other_address"]


def test_a_pod_of_vpc_cni_is_as_vpc_cni_has_made_it() -> None:
    taken_over = replace(WEB, network="aws-cni")
    views = with_state(holdings=(taken_over,))
    assert views.kernel is not None
    found = replace(views, kernel=replace(views.kernel, neighbours=frozenset()), runtime=RuntimeView(()))
    assert findings(found) == []
    assert kinds(replace(found, kernel=replace(views.kernel, pod_routes={}))) == ["pod.no_route"]


@pytest.mark.parametrize(
    ("views", "expected"),
    [
        pytest.param(replace(ALL, agent=replace(AGENT, is_running=False)), "agent.silent", id="agent gone"),
        pytest.param(with_state(obstacle="no supply has been seen yet"), "agent.obstacle", id="node cannot serve"),
        pytest.param(replace(ALL, agent=replace(AGENT, has_conflist=False)), "agent.no_conflist", id="no conflist"),
        pytest.param(
            with_state(supply=supply(eni(0, addresses=["10.0.1.5"]), SECONDARY)),
            "pod.address_not_in_supply",
            id="address taken away in EC2",
        ),
        pytest.param(with_link("eth1", None), "eni.no_link", id="ENI without a link"),
        pytest.param(
            with_link("eth1", HostLink(SECONDARY.mac, is_up=True, kind="vlan")), "eni.no_link", id="a VLAN has its MAC"
        ),
        pytest.param(
            with_link("eth2", HostLink("02:00:00:00:00:99", is_up=True, kind="")), "link.no_eni", id="unknown hardware"
        ),
        pytest.param(
            with_kernel(host_differences=("the rule 512: from all lookup 512 is missing",)),
            "host.differs",
            id="a rule is missing",
        ),
        pytest.param(
            with_link("eni0123", HostLink("ee:58:0a:00:01:04", is_up=False, kind="veth")),
            "pod.link_down",
            id="host link down",
        ),
        pytest.param(with_link("eni0123", None), "pod.no_link", id="host link gone"),
        pytest.param(with_kernel(pod_routes={}), "pod.no_route", id="no route to the pod"),
        pytest.param(
            with_kernel(pod_routes={"10.0.1.4": "eni9999"}), "pod.route_elsewhere", id="route to another link"
        ),
        pytest.param(with_kernel(neighbours=frozenset()), "pod.no_neighbour", id="no neighbour entry"),
        pytest.param(
            with_kernel(neighbours=frozenset({Neighbour("eth0", "10.0.1.4")})),
            "pod.no_neighbour",
            id="a neighbour entry on another link",
        ),
        pytest.param(
            with_kernel(pod_routes={**KERNEL.pod_routes, "10.0.1.5": "eni9999"}),
            "route.no_holding",
            id="a route the ledger knows nothing of",
        ),
        pytest.param(
            with_link("eni9999", HostLink("ee:58:0a:00:01:05", is_up=True, kind="veth")),
            "link.no_holding",
            id="a link the ledger knows nothing of",
        ),
        pytest.param(with_runtime(), "holding.no_sandbox", id="the runtime has no result"),
        pytest.param(
            with_runtime(ATTACHMENT, live=frozenset({"c9"})),
            "holding.no_sandbox",
            id="the runtime runs no such sandbox",
        ),
        pytest.param(
            with_runtime(ATTACHMENT, Attachment("eni", "c2", "eth0", ("10.0.1.5",))),
            "sandbox.no_holding",
            id="the ledger has no such sandbox",
        ),
    ],
)
def test_tells_a_difference_once(views: Views, expected: str) -> None:
    assert kinds(views) == [expected]


def test_the_runtime_was_told_another_address() -> None:
    views = with_runtime(ATTACHMENT._replace(addresses=("10.0.1.5",)))
    assert kinds(views) == ["sandbox.other_address", "sandbox.no_holding"]


def test_two_sandboxes_with_one_address_are_the_worst() -> None:
    found = findings(with_runtime(ATTACHMENT, ATTACHMENT._replace(container_id="c2", pod="default/web-1")))
    assert [each.kind for each in found] == ["address.twice"]
    assert found[0].sentence == "default/web-0 and default/web-1 have the same address"


@pytest.mark.parametrize(
    "views",
    [
        pytest.param(
            with_link("eni9999", HostLink("ee:58:0a:00:01:05", is_up=False, kind="veth")), id="a link on its way out"
        ),
        pytest.param(with_link("eth9", HostLink("02:00:00:00:00:99", is_up=True, kind="bridge")), id="others' links"),
        pytest.param(
            with_state(supply=supply(PRIMARY, SECONDARY, eni(2, state=EniState.ATTACHING))), id="an ENI that is coming"
        ),
        pytest.param(
            with_state(supply=supply(PRIMARY, SECONDARY, eni(2, role=EniRole.EFA_ONLY))), id="an ENI without a link"
        ),
        pytest.param(
            replace(
                with_state(holdings=(replace(WEB, since=995.0),)),
                runtime=RuntimeView(()),
            ),
            id="a sandbox of this moment",
        ),
        pytest.param(
            with_runtime(ATTACHMENT, Attachment("eni", "c9", "eth0", ("10.0.1.5",)), live=frozenset({"c1"})),
            id="a cached result of a sandbox that is gone",
        ),
        pytest.param(
            replace(
                with_state(holdings=(replace(WEB, network="", container_id="eni0123", ifname="", pod_name=""),)),
                runtime=RuntimeView((ATTACHMENT,)),
            ),
            id="a sandbox adopted from the kernel",
        ),
        pytest.param(with_state(supply=None), id="no supply to compare with"),
    ],
)
def test_makes_nothing_of_what_is_right(views: Views) -> None:
    assert findings(views) == []


SIDES: list[Callable[[Views], Views]] = [
    lambda views: replace(views, agent=None),
    lambda views: replace(views, kernel=None),
    lambda views: replace(views, runtime=None),
]


@pytest.mark.parametrize("without", SIDES)
def test_a_side_that_cannot_be_seen_is_compared_with_nothing(without: Callable[[Views], Views]) -> None:
    everything_wrong = Views(
        AGENT, replace(KERNEL, pod_routes={"10.0.1.9": "x"}, neighbours=frozenset()), RuntimeView(())
    )
    missing = without(everything_wrong)
    sides = {"agent": missing.agent, "kernel": missing.kernel, "runtime": missing.runtime}
    named = {"agent": "ledger"}
    for name, view in sides.items():
        if view is None:
            assert not [each for each in findings(missing) if named.get(name, name) in each.sides]


DUAL = replace(LINK, addresses=("10.0.1.4", "2001:db8:0:0:1::7"))
FURTHER = PodLink("mNicIf1", "eni4567", eni(1).id, ("10.0.2.1",))


def with_links(*links: PodLink) -> Views:
    """Returns a node whose one sandbox has these links, and everything about them in order."""
    primary = PRIMARY.replace(ipv6_prefixes=["2001:db8:0:0:1::/80"])
    held = replace(WEB, links=links)
    state = replace(STATE, supply=supply(primary, SECONDARY), holdings=(held,))
    ends = {link.host_ifname: HostLink("ee:58:00:00:00:01", is_up=True, kind="veth") for link in links}
    kernel = replace(
        KERNEL,
        links={name: link for name, link in KERNEL.links.items() if name != "eni0123"} | ends,
        pod_routes={address: link.host_ifname for link in links for address in link.all_addresses},
        neighbours=frozenset(Neighbour(link.host_ifname, a) for link in links for a in link.all_addresses),
    )
    runtime = RuntimeView((ATTACHMENT._replace(addresses=held.addresses),))
    return Views(replace(AGENT, state=state), kernel, runtime)


@pytest.mark.parametrize(
    "links",
    [
        pytest.param((DUAL,), id="both families"),
        pytest.param((replace(LINK, egress="fd00::ac:5"),), id="a node-local address, which EC2 knows nothing of"),
        pytest.param((LINK, FURTHER), id="a link on another card"),
    ],
)
def test_sandboxes_with_more_addresses_are_in_order(links: tuple[PodLink, ...]) -> None:
    assert findings(with_links(*links)) == []


def test_each_address_and_each_link_of_a_sandbox_is_looked_at() -> None:
    views = with_links(replace(DUAL, egress="169.254.172.5"), FURTHER)
    assert views.kernel is not None
    bare = replace(views, kernel=replace(views.kernel, pod_routes={}))
    named = {finding.sentence.split()[3] for finding in findings(bare) if finding.kind == "pod.no_route"}
    assert named == {"10.0.1.4", "2001:db8:0:0:1::7", "169.254.172.5", "10.0.2.1"}


def test_links_are_known_by_the_prefix_that_is_set() -> None:
    stray = HostLink("ee:58:0a:00:01:05", is_up=True, kind="veth")
    assert kinds(with_link("pod9999", stray)) == []
    assert kinds(with_kernel(links={**KERNEL.links, "pod9999": stray}, veth_prefix="pod")) == ["link.no_holding"]
