"""The demonstration's workload: a Deployment of small HTTP servers, scaled and asked. Changes the cluster only."""

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from eni_lab.demo.observed import Pod, pods
from eni_lab.kube.images import POD_IMAGE
from eni_lab.lab import Lab
from eni_lab.waiting import wait_for

PORT = 8080
OUTSIDE = "198.51.100.2"
"""The host beyond the internet gateway; it answers with the address it sees."""
PATIENCE_MILLISECONDS = 5000

_CONTAINER = {
    "name": "web",
    "image": POD_IMAGE,
    "imagePullPolicy": "Never",
    "args": ["serve", str(PORT)],
    "readinessProbe": {"tcpSocket": {"port": PORT}, "periodSeconds": 1},
}


def deployment(name: str = "web", replicas: int = 0) -> dict[str, object]:
    """The manifest of a Deployment whose pods spread evenly over the nodes."""
    labels = {"app": name}
    spread = {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway"}
    pod = {
        "terminationGracePeriodSeconds": 0,
        "containers": [_CONTAINER],
        "topologySpreadConstraints": [{**spread, "labelSelector": {"matchLabels": labels}}],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


def create(lab: Lab, name: str = "web", replicas: int = 0) -> None:
    """Creates the Deployment."""
    lab.kubectl("apply", "-f", "-", stdin=json.dumps(deployment(name, replicas)))


def scale(lab: Lab, replicas: int, *, seconds: float, name: str = "web") -> list[Pod]:
    """Scales the Deployment and returns its pods once exactly so many are Ready and none is leaving."""
    lab.kubectl("scale", "deployment", name, f"--replicas={replicas}")

    def running() -> list[Pod] | None:
        listed = lab.kubectl("get", "pods", "-l", f"app={name}", "-o", "name").split()
        ready = pods(lab, f"app={name}") if len(listed) == replicas else []
        return ready if len(ready) == replicas else None

    if replicas == 0:
        wait_for(f"no pod of {name}", lambda: running() == [], seconds=seconds, interval=0.3)
        return []
    return wait_for(f"{replicas} pods of {name} Ready", running, seconds=seconds, interval=0.3)


def fetch(lab: Lab, pod: Pod, targets: Sequence[str]) -> str:
    """What a pod gets from ``ADDRESS:PORT`` targets, asked all at once; one line each, then how many failed."""
    command = ("/labpod", "fetch", str(PATIENCE_MILLISECONDS), *targets)
    return lab.kubectl("exec", pod.name, "--", *command, check=False)


def unreachable(lab: Lab, running: Sequence[Pod]) -> list[str]:
    """Pairs of pods that do not reach each other, a line each: every pod asks every other."""

    def ask(pod: Pod) -> list[str]:
        others = [f"{other.address}:{PORT}" for other in running if other != pod]
        answers = fetch(lab, pod, others).splitlines()
        failed = [f"{pod.name}: {line}" for line in answers[:-1] if " own " not in line]
        return failed if len(answers) == len(others) + 1 else [*failed, f"{pod.name}: {len(answers)} answers"]

    with ThreadPoolExecutor(2) as threads:
        return [line for lines in threads.map(ask, running) for line in lines]


def seen_outside(lab: Lab, pod: Pod) -> str:
    """The source address that the host outside the VPC sees of a pod's connection."""
    return fetch(lab, pod, [f"{OUTSIDE}:80"]).splitlines()[0].rpartition(" ")[2]
