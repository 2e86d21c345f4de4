from typing import Any

import pytest

from eni_cni_shim.plugin.addresspool import Sandbox, SandboxKey
from eni_node_agent.cluster.pods import Pod, parse_pod, pending

WEB = Pod("default", "web", "uid-web", "")
API = Pod("default", "api", "uid-api", "")


def sandbox(name: str = "", uid: str = "", container: str = "c1") -> Sandbox:
    return Sandbox(SandboxKey("eni", container, "eth0"), pod_namespace="default", pod_name=name, pod_uid=uid)


def document(
    spec: dict[str, Any] | None = None, status: dict[str, Any] | None = None, **metadata: Any
) -> dict[str, Any]:
    base = {"namespace": "default", "name": "web", "uid": "uid-web"}
    return {"metadata": base | metadata, "spec": spec or {}, "status": status or {}}


def test_keeps_what_matters_of_a_pod() -> None:
    assert parse_pod(document(status={"phase": "Pending"})) == WEB
    assert parse_pod(document(status={"phase": "Running", "podIP": "10.0.1.5"})) == WEB._replace(address="10.0.1.5")


@pytest.mark.parametrize(("value", "expected"), [("multi-nic-attachment", True), ("", False), ("yes", False)])
def test_a_pod_says_by_annotation_that_it_wants_every_card(value: str, *, expected: bool) -> None:
    pod = parse_pod(document(annotations={"k8s.amazonaws.com/nicConfig": value}))
    assert pod is not None
    assert pod.every_card is expected


@pytest.mark.parametrize(
    "unwanted",
    [
        pytest.param(document({"hostNetwork": True}), id="on the host's network"),
        pytest.param(document(status={"phase": "Succeeded"}), id="succeeded"),
        pytest.param(document(status={"phase": "Failed"}), id="failed"),
        pytest.param(document(deletionTimestamp="2026-01-01T00:00:00Z"), id="being deleted"),
    ],
)
def test_a_pod_that_needs_no_address_is_not_kept(unwanted: dict[str, Any]) -> None:
    assert parse_pod(unwanted) is None


def test_a_static_pod_is_known_by_the_uid_its_runtime_uses() -> None:
    pod = parse_pod(document(annotations={"kubernetes.io/config.mirror": "hash-1"}))
    assert pod is not None
    assert pod.uid == "hash-1"


def test_pods_without_an_address_are_pending() -> None:
    assert pending([WEB, API], [], [], set()) == 2
    assert pending([WEB, API], [sandbox("web", "uid-web")], [], {"10.0.1.5"}) == 1


def test_a_new_pod_of_the_same_name_is_pending_while_the_old_one_still_holds_its_address() -> None:
    assert pending([WEB], [sandbox("web", "uid-before")], [], {"10.0.1.5"}) == 1


def test_a_runtime_that_tells_no_uid_is_believed_by_name() -> None:
    assert pending([WEB], [sandbox("web")], [], {"10.0.1.5"}) == 0


def test_a_pod_whose_sandbox_was_forgotten_is_known_by_its_address() -> None:
    assert pending([WEB._replace(address="10.0.1.5")], [sandbox(container="eni01")], [], {"10.0.1.5"}) == 0


def test_who_waits_is_pending_once_also_before_the_watch_tells_of_the_pod() -> None:
    assert pending([WEB], [], [sandbox("web", "uid-web")], set()) == 1
    assert pending([], [], [sandbox("web", "uid-web"), sandbox(container="c2"), sandbox(container="c3")], set()) == 3
