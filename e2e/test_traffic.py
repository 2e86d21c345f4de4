"""Packets of pods on a whole cluster: what node and pod hold for them, who reaches whom, and which address is seen."""

import ipaddress
from collections.abc import Iterator

import pytest

from eni_lab.demo import observed
from eni_lab.fabric.outside import ADDRESS as WORLD
from eni_lab.fabric.outside import IPV6_ADDRESS as IPV6_WORLD
from eni_lab.fabric.outside import PEERS
from eni_lab.kube.addresses import KUBERNETES_SERVICE
from eni_lab.lab import Lab
from eni_lab.podcheck.cluster import Mtu
from eni_lab.waiting import wait_for
from eni_testing import residents
from eni_testing.laboratories import new_lab
from eni_testing.residents import CLOSED, FAMILIES, MODES, OPEN, PLACES, SIX, Phase, Resident, Town, at

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

PEER, LATER = PEERS
"""Hosts of a network the VPC is peered with; the second one's comes to the VPC while it runs."""
USUAL = Phase("usual")
UNTRANSLATED = Phase(
    "small MTU and external SNAT",
    {"AWS_VPC_ENI_MTU": "1500", "POD_MTU": "1400", "AWS_VPC_K8S_CNI_EXTERNALSNAT": "true"},
    Mtu(eni=1500, pod=1400),
)
EXCLUDED = Phase("excluded CIDR", {"AWS_VPC_K8S_CNI_EXCLUDE_SNAT_CIDRS": f"{PEER}/32"})
PHASES = (USUAL, UNTRANSLATED, EXCLUDED)
PODS, NODE, NOTHING = "the pod's", "the node's", "nothing"
SEEN = {
    (USUAL.name, WORLD): NODE,
    (USUAL.name, PEER): NODE,
    (USUAL.name, LATER): PODS,
    (UNTRANSLATED.name, WORLD): NOTHING,  # there is no NAT gateway, and the internet gateway knows primary ones only
    (UNTRANSLATED.name, PEER): PODS,
    (UNTRANSLATED.name, LATER): PODS,
    (EXCLUDED.name, WORLD): NODE,
    (EXCLUDED.name, PEER): PODS,
    (EXCLUDED.name, LATER): PODS,
}
"""Whose address is seen outside of the VPC."""


def in_phases(*phases: Phase) -> pytest.MarkDecorator:
    """Rows of a test; pytest keeps those of a phase together, by its place in the list: the lists begin alike."""
    assert phases == PHASES[: len(phases)]
    return pytest.mark.parametrize("town", phases, ids=lambda phase: phase.name, indirect=True)


usually = in_phases(USUAL)
with_either_mtu = in_phases(USUAL, UNTRANSLATED)
of_every_mode = pytest.mark.parametrize("node", MODES)
of_each_family = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: f"IPv{family}")
on_every_eni = pytest.mark.parametrize("place", PLACES, ids=lambda place: f"{place} ENI")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Lab]:
    laboratory = new_lab("traffic")
    try:
        residents.build(laboratory)
        yield laboratory
    finally:
        laboratory.down()


@pytest.fixture(scope="module")
def town(cluster: Lab, request: pytest.FixtureRequest) -> Town:
    return Town(cluster, request.param)


@with_either_mtu
@of_every_mode
@on_every_eni
def test_node_and_pod_hold_what_the_address_needs(town: Town, node: str, place: str) -> None:
    faults = town.sights[node].faults
    assert [fault for pod in town.at(node, place) for family in FAMILIES for fault in faults(pod.of(family))] == []


@with_either_mtu
@of_every_mode
@on_every_eni
def test_nothing_is_left_of_a_pod_that_has_gone(town: Town, node: str, place: str) -> None:
    assert town.departed[node, place] == []


@usually
def test_the_check_itself_can_fail(town: Town) -> None:
    sight, pod, other = town.sights["secondary"], *town.at("secondary", "secondary")
    assert sight.left(pod.address, sight.veth(pod.address), owned=True) != []
    unused = next(one for one in ipaddress.ip_network("10.0.1.0/24") if str(one) not in str(town.residents))
    assert town.sights["prefix"].pod(pod.address) is None
    assert sight.pod(str(unused)) is None
    assert sight.pod(pod.address) != sight.pod(other.address)


@with_either_mtu
@pytest.mark.parametrize("protocol", [pytest.param("", id="TCP"), pytest.param("udp:", id="UDP")])
@of_each_family
@pytest.mark.parametrize("across", [False, True], ids=["on one node", "across nodes"])
@pytest.mark.parametrize("here", PLACES, ids=lambda place: f"from the {place} ENI")
@pytest.mark.parametrize("there", PLACES, ids=lambda place: f"to the {place} ENI")
def test_pods_reach_each_other_by_their_own_addresses(
    town: Town, protocol: str, family: int, here: str, there: str, *, across: bool
) -> None:
    for asker, asked in pairs(town, here, there, across=across):
        answer = town.answers[asker.name][at(asked.of(family), OPEN, protocol)]
        assert answer.startswith(f"peer {asker.of(family)} own "), f"{asker} asks {asked}"
        assert town.answers[asker.name][at(asked.of(family), CLOSED, protocol)] == "Connection refused"


def pairs(town: Town, here: str, there: str, *, across: bool) -> list[tuple[Resident, Resident]]:
    found = [
        (asker, asked)
        for asker in town.stayers
        for asked in town.stayers
        if asker != asked and (asker.place, asked.place) == (here, there) and (asker.node != asked.node) == across
    ]
    assert found
    return found


@usually
@of_each_family
@of_every_mode
@on_every_eni
def test_a_service_is_reached_by_its_cluster_ip_from_everywhere(town: Town, family: int, node: str, place: str) -> None:
    cluster_ips, _ = residents.expose(town.lab, town.at(node, place)[1], "Cluster")
    target = at(cluster_ips[FAMILIES.index(family)], 80)

    def answers_everybody() -> bool:
        answers = town.ask_from_everywhere(target)
        return all(got[target].startswith(f"peer {pod.of(family)} own ") for pod, got in answers.items())

    wait_for(f"{target} answers every pod and sees its address", answers_everybody, seconds=30, interval=0.2)


@usually
def test_the_api_server_is_reached_by_its_service(town: Town) -> None:
    target = f"{KUBERNETES_SERVICE}:443"
    answers = town.ask_from_everywhere(target).values()
    assert {got[target] for got in answers} == {"Client sent an HTTP request to an HTTPS server."}


@usually
@of_each_family
@of_every_mode
@on_every_eni
def test_a_node_port_answers_the_world_and_the_pod_sees_who_asks(
    town: Town, family: int, node: str, place: str
) -> None:
    _, port = residents.expose(town.lab, town.at(node, place)[0], "Local")
    assert from_outside(town, node, family, port) == {4: WORLD, 6: IPV6_WORLD}[family]


@usually
@of_each_family
@of_every_mode
@on_every_eni
def test_a_node_port_answers_the_world_for_a_pod_of_another_node(
    town: Town, family: int, node: str, place: str
) -> None:
    _, port = residents.expose(town.lab, town.at(node, place)[0], "Cluster")
    [other] = [name for name in MODES if name != node]
    assert from_outside(town, other, family, port) == address_of(town, other, family)


def from_outside(town: Town, node: str, family: int, port: int) -> str:
    """The address that the pod sees of the host outside, which asks a node's port."""
    target = at(address_of(town, node, family), port)

    def peer() -> str | None:
        words = residents.ask_from_outside(town.lab, target).split()
        return words[1] if words[0] == "peer" else None

    return wait_for(f"{target} answers the world", peer, seconds=20, interval=0.2)


def address_of(town: Town, node: str, family: int = 4) -> str:
    instance = town.lab.node(node).instance
    return {4: instance.address, 6: instance.ipv6_address}[family]


@in_phases(*PHASES)
@of_every_mode
@on_every_eni
@pytest.mark.parametrize("host", [WORLD, PEER], ids=["by the world", "by a peered network"])
def test_outside_of_the_vpc_is_seen(town: Town, node: str, place: str, host: str) -> None:
    pod = town.at(node, place)[0]
    assert town.outside[pod][host] == expected(town, pod, host)


@in_phases(*PHASES)
def test_to_a_block_that_came_to_the_vpc_while_it_ran_nothing_is_translated(town: Town) -> None:
    target = f"{LATER}:80"

    def nothing_translated() -> bool:
        answers = town.ask_from_everywhere(target)
        return all(got[target] == expected(town, pod, LATER) for pod, got in answers.items())

    wait_for(f"{target} sees every pod's own address", nothing_translated, seconds=90, interval=0.5)


@in_phases(*PHASES)
@of_every_mode
@on_every_eni
def test_outside_of_the_vpc_a_pods_own_ipv6_address_is_seen(town: Town, node: str, place: str) -> None:
    pod = town.at(node, place)[0]
    assert town.outside[pod][IPV6_WORLD] == pod.of(6)


@usually
def test_the_variables_of_vpc_cni_alone_make_a_pool_of_ipv6(town: Town) -> None:
    assert observed.pool(town.lab, SIX).spec == {}
    assert residents.families(town.lab, SIX) == ["IPv6"]
    assert [pod.node for pod in town.of_ipv6_alone] == [SIX, SIX]


@usually
def test_a_pod_of_ipv6_alone_has_what_its_address_needs_and_no_other(town: Town) -> None:
    for pod in town.of_ipv6_alone:
        assert pod.addresses == (pod.of(6),)
        assert town.sights[pod.node].faults(pod.of(6)) == []


@usually
def test_a_pod_of_ipv6_alone_and_pods_of_both_families_reach_each_other(town: Town) -> None:
    alone, other = town.of_ipv6_alone
    asked = [other, *town.stayers]
    targets = [at(pod.of(6), OPEN) for pod in asked]
    assert {answer.split()[1] for answer in residents.ask(town.lab, alone, targets).values()} == {alone.of(6)}
    target = at(alone.of(6), OPEN)
    for asker, got in town.ask_from_everywhere(target).items():
        assert got[target].startswith(f"peer {asker.of(6)} own ")


@usually
def test_a_pod_of_ipv6_alone_reaches_the_ipv4_world_by_its_nodes_address(town: Town) -> None:
    target = at(WORLD, 80)
    for pod in town.of_ipv6_alone:
        assert residents.ask(town.lab, pod, [target])[target] == address_of(town, pod.node)


def expected(town: Town, pod: Resident, host: str) -> str:
    seen = {PODS: pod.address, NODE: address_of(town, pod.node), NOTHING: "no answer in time"}
    return seen[SEEN[town.phase.name, host]]
