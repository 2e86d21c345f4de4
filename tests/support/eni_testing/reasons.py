"""Where a reason is to be seen in a laboratory, and how a pool is brought to have one."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

from eni_lab.demo import observed
from eni_lab.kube.images import POD_IMAGE
from eni_lab.lab import Lab
from eni_lab.node.machine import Machine
from eni_lab.waiting import wait_for
from eni_testing.accounts import account

BRISK: Mapping[str, object] = {"cooldownSeconds": 1, "releaseAfterSeconds": 1, "warmIPs": 0}
"""Nothing is kept for pods that are not there, so that every case begins with a bare primary ENI."""
OPERATOR_METRICS, AGENT_METRICS = "http://127.0.0.1:61681/metrics", "http://127.0.0.1:61680/metrics"
PATIENCE_SECONDS = 60

Trouble = Callable[[Lab, Machine], AbstractContextManager[None]]


@dataclass(frozen=True)
class Case:
    """One row of the table."""

    reason: str
    words: str
    """Part of the sentence."""
    trouble: Trouble
    policy: Mapping[str, object]
    pods: int = 3
    """Enough that one of them waits."""
    anew: bool = False
    """Whether the operator starts anew in the midst of it."""


def told_everywhere(lab: Lab, case: Case, *, rested: bool = False, serves_again: bool = True) -> None:
    """Brings the trouble, lets pods wait, and looks in the four places; then takes it away.

    Args:
        lab: the laboratory.
        case: what to bring and what to look for.
        rested: whether the pool is at rest already, and could not come to rest now.
        serves_again: whether the trouble ends with the case, so that an operator that knows nothing of it starts.
    """
    node = lab.nodes()[0]
    if not rested:
        rest(lab, node, case.policy)
    try:
        with case.trouble(lab, node):
            if case.anew:
                start_anew(lab, node)
            with crowded(lab, node, case.pods, case.policy):
                look_everywhere(lab, node, case)
    finally:
        if serves_again:
            start_anew(lab, node)


def look_everywhere(lab: Lab, node: Machine, case: Case) -> None:
    """Waits until the reason is in each place."""
    places: dict[str, Callable[[], bool]] = {
        "kubectl get nodeippool": lambda: in_the_pool(lab, node, case.reason, case.words),
        "an Event on the node": lambda: on_the_node(lab, node, case.reason),
        "an Event on a pod": lambda: on_a_pod(lab, case.reason, case.words),
        "the CNI's error": lambda: in_the_cni_error(lab, case.words),
        "the operator's metric": lambda: in_a_metric(node, OPERATOR_METRICS, case.reason),
        "the agent's metric": lambda: in_a_metric(node, AGENT_METRICS, case.reason),
    }
    try:
        for where, seen in places.items():
            wait_for(f"{case.reason} with {case.words!r} in {where}", seen, seconds=PATIENCE_SECONDS, interval=0.3)
    except TimeoutError as error:
        error.add_note(account(lab))  # the pods that waited are gone when the test has ended
        raise


def rest(lab: Lab, node: Machine, policy: Mapping[str, object]) -> None:
    """Waits until the operator runs and the pool is down to the primary ENI; clears old Events.

    EC2 is asked too: what the last operator got in its last moment its successor counts only seconds later, and the
    pods of the next case would be served from it.
    """
    here = ("-n", "kube-system", "-l", "app.kubernetes.io/name=eni-operator", "--field-selector")
    ready = ("--for=condition=Ready", "--timeout=1s")
    lab.wait_until("an operator", "wait", "pod", *here, f"spec.nodeName={node.name}", *ready)
    patch(lab, node, {"spec": {"policy": {**dict.fromkeys(policy), **BRISK}}})

    def is_rested() -> bool:
        pool = observed.pool(lab, node.name)
        written = pool.is_settled and pool.enis == 1 and pool.addresses == pool.wanted == 0
        return written and is_bare(lab, node)

    wait_for(f"{node.name} has nothing but its primary ENI", is_rested, seconds=PATIENCE_SECONDS)
    lab.kubectl("delete", "events", "--all", "-n", "default", "--wait=false")


def is_bare(lab: Lab, node: Machine) -> bool:
    instance = node.instance.instance_id
    return len(observed.attached(lab, instance)) == 1 and not observed.held_in_ec2(lab, instance)


@contextmanager
def crowded(lab: Lab, node: Machine, count: int, policy: Mapping[str, object]) -> Iterator[None]:
    """So many pods on the node; afterwards none. The policy stays brisk: see ``calm``."""
    manifests = {"apiVersion": "v1", "kind": "List", "items": [_pod(node, number) for number in range(count)]}
    try:
        patch(lab, node, {"spec": {"policy": {**BRISK, **policy}}})
        lab.kubectl("apply", "-f", "-", stdin=json.dumps(manifests))
        yield
    finally:
        lab.kubectl("delete", "pods", "-l", "app=crowd", "--now", "--wait=true")
        patch(lab, node, {"spec": {"policy": {**dict.fromkeys(policy), **BRISK}}})


def calm(lab: Lab) -> None:
    """Gives every pool its usual policy back."""
    for node in lab.nodes():
        patch(lab, node, {"spec": {"policy": None}})


def _pod(node: Machine, number: int) -> dict[str, object]:
    container = {"name": "c", "image": POD_IMAGE, "imagePullPolicy": "Never", "args": ["serve", "8080"]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"crowd-{number}", "namespace": "default", "labels": {"app": "crowd"}},
        "spec": {
            "nodeName": node.name,
            "terminationGracePeriodSeconds": 0,
            "tolerations": [{"operator": "Exists"}],
            "containers": [container],
        },
    }


def patch(lab: Lab, node: Machine, patch: Mapping[str, object]) -> None:
    lab.kubectl("patch", "nodeippool", node.name, "--type=merge", "-p", json.dumps(patch))


def patch_agent(lab: Lab, pod_spec: Mapping[str, object]) -> None:
    patch = {"spec": {"template": {"spec": pod_spec}}}
    lab.kubectl("patch", "daemonset", "eni-agent", "-n", "kube-system", "--type=merge", "-p", json.dumps(patch))


def start_anew(lab: Lab, node: Machine) -> None:
    """Replaces the node's operator, so that it knows nothing of what EC2 refused before."""
    here = ("-n", "kube-system", "-l", "app.kubernetes.io/name=eni-operator")
    field = f"--field-selector=spec.nodeName={node.name}"
    lab.kubectl("delete", "pod", "--now", *here, field)


def in_the_pool(lab: Lab, node: Machine, reason: str, words: str) -> bool:
    line = lab.kubectl("get", "nodeippool", node.name, "--no-headers").split()
    messages = [c["message"] for c in observed.pool(lab, node.name).conditions.values() if c["reason"] == reason]
    return reason in line and any(words in message for message in messages)


def events(lab: Lab, namespace: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = json.loads(lab.kubectl("get", "events", "-n", namespace, "-o", "json"))["items"]
    return items


def on_the_node(lab: Lab, node: Machine, reason: str) -> bool:
    """Whether there is an Event of the reason on the node, and no second one of the same words."""
    told = [e for e in events(lab, "default") if e["involvedObject"]["name"] == node.name and e["reason"] == reason]
    assert len({event["message"] for event in told}) == len(told), "the same Event twice in place of a count"
    return bool(told)


def on_a_pod(lab: Lab, reason: str, words: str) -> bool:
    """Whether the agent told a waiting pod, each pod once."""
    told = [
        event
        for event in events(lab, "default")
        if event["involvedObject"]["kind"] == "Pod" and event["reason"] == reason and words in event["message"]
    ]
    uids = [event["involvedObject"]["uid"] for event in told]
    assert len(set(uids)) == len(uids), "a pod has the same Event twice in place of a count"
    return bool(told)


def in_the_cni_error(lab: Lab, words: str) -> bool:
    return any(
        event["reason"] == "FailedCreatePodSandBox" and words in event["message"] for event in events(lab, "default")
    )


def in_a_metric(node: Machine, url: str, reason: str) -> bool:
    ask = f"import urllib.request; print(urllib.request.urlopen({url!r}).read().decode())"
    told = subprocess.run(
        node.command(sys.executable, "-c", ask), capture_output=True, text=True, check=False, timeout=20
    )
    return any(
        f'reason="{reason}"' in line and not line.endswith(" 0.0")
        for line in told.stdout.splitlines()
        if line.startswith(("eni_operator_pool_condition", "eni_agent_add_refused_total"))
    )


def running_pods(lab: Lab) -> list[str]:
    items = json.loads(lab.kubectl("get", "pods", "-l", "app=crowd", "-o", "json"))["items"]
    return [item["metadata"]["name"] for item in items if item["status"].get("phase") == "Running"]
