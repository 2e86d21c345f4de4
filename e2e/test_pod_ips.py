"""ANNOTATE_POD_IP on a whole cluster: what is written, and what the right to write it is not good for."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from eni_lab.demo.observed import pods
from eni_lab.demo.workload import deployment
from eni_lab.kube.images import REPOSITORY
from eni_lab.lab import Lab
from eni_lab.waiting import wait_for
from eni_testing.thieves import Thief

pytestmark = pytest.mark.e2e

KEY = "vpc.amazonaws.com/pod-ips"
HOLD = "example.org/hold"
RIGHTS = REPOSITORY / "deploy" / "annotate-pod-ip" / "rbac.yaml"


@pytest.fixture(scope="module")
def noting(deployed: Lab) -> Iterator[Lab]:
    """The session's cluster with the component, which goes with the module."""
    with ExitStack() as undo:
        undo.callback(roll_out, deployed)
        undo.callback(deployed.kubectl, "delete", "--ignore-not-found", "-f", str(RIGHTS))
        roll_out(deployed, "annotate-pod-ip")
        yield deployed


def roll_out(lab: Lab, overlay: str = ".") -> None:
    """Deploys the product so, and waits until all agents are."""
    lab.deploy(overlay)
    lab.kubectl("rollout", "status", "daemonset/eni-agent", "-n", "kube-system", "--timeout=120s")


@contextmanager
def held(lab: Lab, name: str, replicas: int) -> Iterator[None]:
    """Pods, held by a finalizer so that they are seen after their network has gone."""
    manifest = deployment(name, replicas)
    template = manifest["spec"]["template"]  # type: ignore[index]
    template["metadata"]["finalizers"] = [HOLD]
    try:
        lab.kubectl("apply", "-f", "-", stdin=json.dumps(manifest))
        lab.kubectl("rollout", "status", f"deployment/{name}", "--timeout=60s")
        yield
    finally:
        lab.kubectl("delete", "deployment", name, "--wait=false", "--ignore-not-found")
        for pod in lab.kubectl("get", "pods", "-l", f"app={name}", "-o", "name").split():
            lab.kubectl("patch", pod, "--type=merge", "-p", '{"metadata":{"finalizers":null}}', check=False)


@pytest.fixture(scope="module")
def noted(noting: Lab) -> Iterator[Lab]:
    """Two pods, one on each node."""
    with held(noting, "noted", 2):
        yield noting


def annotations(lab: Lab, name: str = "noted") -> dict[str, str]:
    items = json.loads(lab.kubectl("get", "pods", "-l", f"app={name}", "-o", "json"))["items"]
    return {item["metadata"]["name"]: item["metadata"].get("annotations", {}).get(KEY, "") for item in items}


def test_each_pod_says_its_address(noted: Lab) -> None:
    expected = {pod.name: pod.address for pod in pods(noted, "app=noted")}
    assert len(expected) == 2
    wait_for("the addresses are noted", lambda: annotations(noted) == expected, seconds=15)


@pytest.fixture(scope="module")
def victims(noted: Lab) -> tuple[Thief, str, str]:
    """A thief on one node, that node's pod, and the other's."""
    here, there = pods(noted, "app=noted")
    return Thief(noted, "eni-agent", here.node), here.name, there.name


def test_the_right_is_good_for_this_annotation_only(noted: Lab, victims: tuple[Thief, str, str]) -> None:
    thief, own, other = victims
    path = "/api/v1/namespaces/default/pods"
    before = annotations(noted)
    image = {"spec": {"containers": [{"name": "web", "image": "stolen"}]}}
    for body, kind in (
        ({"metadata": {"labels": {"app": "stolen"}}}, "merge-patch"),
        ({"metadata": {"annotations": {"another": "word"}}}, "merge-patch"),
        ({"metadata": {"finalizers": None}}, "merge-patch"),
        ({"metadata": {"ownerReferences": None}}, "merge-patch"),
        (image, "strategic-merge-patch"),
    ):
        status, message = thief.patch(f"{path}/{own}", body, f"application/{kind}+json")
        assert (status, "and nothing else of a pod" in message) == (403, True), (body, message)
    status, message = thief.patch(f"{path}/{other}", {"metadata": {"annotations": {KEY: "10.9.9.9"}}})
    assert (status, "may annotate no pod of another" in message) == (403, True), message
    for verb in ("get", "delete", "create", "update"):
        assert thief.run("auth", "can-i", verb, "pods").stdout.strip() == "no", verb
    assert annotations(noted) == before
    assert thief.patch(f"{path}/{own}", {"metadata": {"annotations": {KEY: before[own]}}})[0] == 200


def test_a_uid_of_another_pod_is_refused_by_the_api_server(noted: Lab, victims: tuple[Thief, str, str]) -> None:
    """What the agent relies on where a pod of the same name came later."""
    thief, own, _ = victims
    uid = "00000000-0000-0000-0000-000000000000"
    wrong = {"metadata": {"uid": uid, "annotations": {KEY: "10.9.9.9"}}}
    status, message = thief.patch(f"/api/v1/namespaces/default/pods/{own}", wrong)
    assert (status, "metadata.uid" in message) == (422, True), message
    assert "10.9.9.9" not in annotations(noted).values()


def test_it_is_emptied_when_the_pod_has_gone_off_the_network(noting: Lab) -> None:
    with held(noting, "brief", 1):
        wait_for("the address is noted", lambda: all(annotations(noting, "brief").values()), seconds=15)
        noting.kubectl("scale", "deployment", "brief", "--replicas=0")
        wait_for("the note is empty", lambda: set(annotations(noting, "brief").values()) == {""}, seconds=30)
