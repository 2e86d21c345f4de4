"""What the kernel lets the product's processes do on a node: what the manifests ask for is what they have."""

from dataclasses import dataclass

import pytest

from eni_lab.lab import Lab

pytestmark = pytest.mark.e2e

SYSTEM = ("-n", "kube-system")
NET_ADMIN, SYS_ADMIN = 12, 21
"""Numbers of capabilities (capabilities(7))."""
FILTERED = "2"
"""SECCOMP_MODE_FILTER, of the field Seccomp (proc_pid_status(5))."""
OPERATOR_UID = 65532


@dataclass(frozen=True)
class Process:
    """The first process of a container, as its kernel tells of it."""

    status: dict[str, str]
    mounts: dict[str, set[str]]
    """Options of each mount, by where it is."""

    def capabilities(self, which: str) -> set[int]:
        """Numbers of the capabilities in a set: Eff, Prm, Bnd, Inh or Amb."""
        mask = int(self.status[f"Cap{which}"], 16)
        return {number for number in range(64) if mask >> number & 1}


@pytest.fixture(scope="module")
def processes(deployed: Lab) -> dict[str, Process]:
    """The agent and the operator of one node, by name."""
    return {name: read(deployed, name) for name in ("eni-agent", "eni-operator")}


def read(lab: Lab, name: str) -> Process:
    """Reads ``/proc/1`` in the container of a DaemonSet's first pod."""
    [pod, *_] = lab.kubectl(*SYSTEM, "get", "pods", "-l", f"app.kubernetes.io/name={name}", "-o", "name").split()
    inside = (*SYSTEM, "exec", pod, "-c", name.removeprefix("eni-"), "--", "cat", "/proc/1/status", "/proc/1/mountinfo")
    lines = lab.kubectl(*inside).splitlines()
    status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    mounts = [line.split() for line in lines if ":\t" not in line]
    return Process(status, {each[4]: set(each[5].split(",")) for each in mounts})


@pytest.mark.parametrize("name", ["eni-agent", "eni-operator"])
def test_system_calls_are_filtered_and_no_privilege_can_be_gained(processes: dict[str, Process], name: str) -> None:
    status = processes[name].status
    assert (status["Seccomp"], status["NoNewPrivs"]) == (FILTERED, "1")
    assert int(status["Seccomp_filters"]) > 0


def test_the_agent_has_two_capabilities_and_can_have_no_other(processes: dict[str, Process]) -> None:
    agent = processes["eni-agent"]
    assert [agent.capabilities(which) for which in ("Eff", "Prm", "Bnd")] == 3 * [{NET_ADMIN, SYS_ADMIN}]
    assert agent.capabilities("Amb") == set()


def test_the_operator_is_nobody_and_has_none(processes: dict[str, Process]) -> None:
    operator = processes["eni-operator"]
    assert set(operator.status["Uid"].split()) == {str(OPERATOR_UID)}
    assert [operator.capabilities(which) for which in ("Eff", "Prm", "Bnd", "Amb")] == 4 * [set()]


def test_roots_are_read_only_and_so_is_what_the_agent_only_reads(processes: dict[str, Process]) -> None:
    for name, places in {
        "eni-agent": ("/", "/host/opt/cni/bin", "/var/lib/cni/results"),
        "eni-operator": ("/",),
    }.items():
        mounts = processes[name].mounts
        assert {place: "ro" in mounts[place] for place in places} == dict.fromkeys(places, True)
    assert "rw" in processes["eni-agent"].mounts["/run/eni-agent"], "the agent can write what is its own"
