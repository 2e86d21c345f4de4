"""The story the demonstration tells: a cluster, 20 pods, 50, 5, and edits of the pool in between.

Decides the order and what must be true after each step; a step that is not true ends the demonstration with what was
seen in its place. Changes nothing itself (``workload``, ``Lab``).
"""

import json
from collections.abc import Callable

from eni_lab.demo import observed, workload
from eni_lab.errors import LabError
from eni_lab.lab import Lab
from eni_lab.waiting import Report, wait_for

FIRST, MORE, FEW = 20, 50, 5


def demand(problems: list[str], what: str) -> None:
    """Raises LabError with the problems, when there are any."""
    if problems:
        raise LabError(f"{what}:\n  " + "\n  ".join(problems[:20]))


def tell(lab: Lab, report: Report) -> None:
    """Plays the story on a laboratory that is up and has the product deployed."""
    _nodes_become_ready(lab, report)
    _twenty_pods(lab, report)
    _edit_warm_target(lab, report)
    _fifty_pods(lab, report)
    _five_pods(lab, report)
    _change_mode(lab, report)
    _show(lab, report)


def _nodes_become_ready(lab: Lab, report: Report) -> None:
    names = {machine.name for machine in lab.nodes()}
    wait_for("every node Ready", lambda: names == set(observed.ready_nodes(lab)), seconds=90, interval=0.3)
    report("nodes Ready: operator and agent run on each, the conflist is there")
    _print(lab.kubectl("get", "nodeippools"))


def _twenty_pods(lab: Lab, report: Report) -> None:
    workload.create(lab)
    pods = workload.scale(lab, FIRST, seconds=90)
    report(f"{FIRST} pods Ready")
    demand(observed.misplaced(lab, pods), "pods without an address of their own node")
    report(f"each of the {FIRST} has an address that EC2 gave to an ENI of its own node")
    demand(workload.unreachable(lab, pods), "pods that do not reach each other")
    report(f"every pod reaches every other: {FIRST * (FIRST - 1)} connections, none failed")
    _look_from_outside(lab, pods, report)


def _look_from_outside(lab: Lab, pods: list[observed.Pod], report: Report) -> None:
    primary = {machine.name: machine.instance.address for machine in lab.nodes()}
    seen = {pod: workload.seen_outside(lab, pod) for pod in pods[:: max(1, len(pods) // 6)]}
    wrong = [
        f"{pod.name}: {address}, not {primary[pod.node]}"
        for pod, address in seen.items()
        if address != primary[pod.node]
    ]
    demand(wrong, "a host outside the VPC sees another address than the node's primary one")
    report(f"a host outside the VPC sees the node's primary address ({len(seen)} pods asked)")


def _edit_warm_target(lab: Lab, report: Report) -> None:
    name = observed.pools(lab)[0].name
    before = observed.pool(lab, name)
    _edit(lab, name, {"warmIPs": 6})
    pool = _wait(lab, name, "6 free addresses", lambda now: now.usage["free"] >= 6)
    report(f"edited {name}: warmIPs 6 took effect, {before.addresses} -> {pool.addresses} addresses")
    _edit(lab, name, {"warmIPs": None})


def _fifty_pods(lab: Lab, report: Report) -> None:
    before = {pool.name: pool for pool in observed.pools(lab)}
    pods = workload.scale(lab, MORE, seconds=120)
    report(f"{MORE} pods Ready")
    for pool in observed.pools(lab):
        was = before[pool.name]
        report(f"{pool.name} grew: {was.addresses} -> {pool.addresses} addresses, {was.enis} -> {pool.enis} ENIs")
    demand(observed.misplaced(lab, pods), "pods without an address of their own node")
    _print(lab.kubectl("get", "nodeippools"))


def _five_pods(lab: Lab, report: Report) -> None:
    before = {pool.name: pool for pool in observed.pools(lab)}
    pods = workload.scale(lab, FEW, seconds=90)
    here = {name: sum(pod.node == name for pod in pods) for name in before}
    cooling = sum(_wait(lab, name, "told of what is gone", _assigns(here[name])).usage["cooling"] for name in before)
    report(f"{FEW} pods left, {cooling} addresses cool")
    for name, was in before.items():
        pool = _wait(lab, name, "released down to what is wanted", _has_released(was), seconds=150)
        report(f"{name} released: {was.addresses} -> {pool.addresses} addresses, {was.enis} -> {pool.enis} ENIs")
    demand(observed.misplaced(lab, pods), "pods without an address of their own node")
    demand(workload.unreachable(lab, pods), "pods that do not reach each other")
    report("the pods that stayed still reach each other")


def _assigns(number: int) -> Callable[[observed.Pool], bool]:
    """Whether the agent has told that so many pods have an address: it tells of what falls every few seconds."""
    return lambda pool: bool(pool.usage["assigned"] == number)


def _has_released(was: observed.Pool) -> Callable[[observed.Pool], bool]:
    """Whether less is held than before, and exactly what is wanted."""
    return lambda pool: pool.is_settled and pool.addresses == pool.wanted < was.addresses


def _change_mode(lab: Lab, report: Report) -> None:
    name = observed.pools(lab)[0].name
    _edit(lab, name, {"mode": "prefix"})
    pool = _wait(lab, name, "a prefix, and no single address that is idle", _is_in_prefix_mode, seconds=120)
    report(f"edited {name}: mode prefix took effect, {pool.prefixes} prefix(es); single addresses stay while in use")
    old = set(observed.pods(lab))
    pods = workload.scale(lab, FEW + 4, seconds=60)
    new = [pod for pod in pods if pod not in old and pod.node == name]
    demand(observed.misplaced(lab, pods), "pods without an address of their own node")
    demand([f"{pod.name}: {pod.address}" for pod in new if not pool.has_in_prefix(pod.address)], "not of a prefix")
    demand(workload.unreachable(lab, pods), "pods that do not reach each other")
    report(f"{len(new)} new pod(s) there have addresses of the prefix and reach the old ones")


def _is_in_prefix_mode(pool: observed.Pool) -> bool:
    idle_singles = [cidr for cidr in pool.usage["idle"] if cidr.endswith("/32")]
    return pool.prefixes > 0 and pool.usage["free"] > 0 and pool.is_settled and not idle_singles


def _show(lab: Lab, report: Report) -> None:
    report("kubectl get nodes,pods -o wide")
    _print(lab.kubectl("get", "nodes,pods", "-o", "wide"))
    report("kubectl get nodeippools -o wide")
    _print(lab.kubectl("get", "nodeippools", "-o", "wide"))
    demand(observed.unattached(lab), "ENIs that belong to no instance")
    report("no ENI is unattached")


def _edit(lab: Lab, name: str, policy: dict[str, object]) -> None:
    lab.kubectl("patch", "nodeippool", name, "--type=merge", "-p", json.dumps({"spec": {"policy": policy}}))


def _wait(
    lab: Lab, name: str, what: str, condition: Callable[[observed.Pool], bool], seconds: float = 60
) -> observed.Pool:
    def holds() -> observed.Pool | None:
        pool = observed.pool(lab, name)
        return pool if condition(pool) else None

    return wait_for(f"{name}: {what}", holds, seconds=seconds, interval=0.2)


def _print(text: str) -> None:
    print("".join(f"           {line}\n" for line in text.splitlines()), end="", flush=True)
