"""A laboratory: a cloud, a VPC and a Kubernetes in namespaces of this machine. Up, down, and everything between.

It is one pid, mount and network namespace. The network namespace is the VPC's router and the home of the control plane;
the pid namespace is the tear-down: when its first process ends, the kernel ends all that runs in it and in its nodes,
and with them go their namespaces and mounts, since none of those was ever bound to a path outside.
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import cycle, islice
from pathlib import Path

from eni_lab import deployment
from eni_lab.cgroups import Cgroup
from eni_lab.cloud_client import ZONES, Cloud, Zone
from eni_lab.errors import LabError
from eni_lab.kube import binaries, images, programs
from eni_lab.kube.certificates import create_authority
from eni_lab.kube.control_plane import GROUP, ControlPlane
from eni_lab.layout import Layout
from eni_lab.node.machine import Machine, load
from eni_lab.prerequisites import reason_for_none
from eni_lab.processes import LAB_NAMESPACES, Parts, has_become, inside, only_child, reap, spawn
from eni_lab.vpc_layout import DUAL_STACK_SUBNETS, SUBNETS
from eni_lab.waiting import Report, wait_for

_NODE_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
"""A label of RFC 1123: it is also the host name."""
BOOT_ID = "/proc/sys/kernel/random/boot_id"
ROLLOUT_SECONDS = 120.0


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a laboratory is brought up."""

    nodes: int = 2
    """Put into the zones in turn."""
    instance_type: str | tuple[str, ...] = "m5.large"
    """One for all, or several that the nodes have in turn."""
    zones: tuple[Zone, ...] = ZONES
    max_pods: int | None = None
    """What the kubelets allow; None: what the instance type can address without prefixes, as EKS has it."""
    dual_stack: bool = False
    """Whether nodes and Services have IPv6 beside IPv4; then new ENIs can have IPv6 prefixes."""
    service_times: bool = True
    """Whether EC2 takes its time, as the real one does."""
    tied: bool = False
    """Whether it ends with the thread that brings it up, even when that is killed: for test runners."""

    def placement(self) -> Iterator[tuple[str, Zone]]:
        """Yields instance type and zone of each node."""
        types = (self.instance_type,) if isinstance(self.instance_type, str) else self.instance_type
        yield from islice(zip(cycle(types), cycle(self.zones), strict=False), self.nodes)


class Lab:
    """One laboratory on disk, up or not. Safe to make at any time; its commands say when it must be up."""

    def __init__(self, layout: Layout, environ: Mapping[str, str], report: Report) -> None:
        self.layout = layout
        self.parts = Parts(layout, self._cgroup)
        self._environ = environ
        self.report = report

    @cached_property
    def _cgroup(self) -> Cgroup:
        return Cgroup(self.layout.cgroup)

    @cached_property
    def _binaries(self) -> binaries.Binaries:
        return binaries.ensure(self._environ, self.layout.cache, self.report)

    @cached_property
    def cloud(self) -> Cloud:
        """EC2 and the control endpoints, as the laboratory's administrator."""
        return Cloud(self.pid)

    @property
    def pid(self) -> int:
        """The first process.

        Raises:
            LabError: the laboratory is not up.
        """
        pid = self.parts.pid("lab")
        if pid is None:
            raise LabError(f"no laboratory is up in {self.layout.state}; `eni-lab up` starts one")
        return pid

    def up(self, options: Options) -> None:
        """From nothing to an API server with all nodes registered. What a killed predecessor left is cleared first."""
        if self.parts.pid("lab") is not None:
            raise LabError(f"a laboratory is up in {self.layout.state} already; `eni-lab down` ends it")
        self._clear()
        store = self.prepare()
        groups = self._cgroup.create(GROUP)
        self.layout.state.mkdir(parents=True, mode=0o700)
        images.take(self.layout, store)
        create_authority(self.layout)
        self._create_namespaces(groups, tied=options.tied)
        self._start_cloud(service_times=options.service_times)
        control_plane = ControlPlane(self.layout, self._binaries, self.parts, self.pid)
        control_plane.start_api_server(dual_stack=options.dual_stack)
        self.cloud.wait_until_up()
        self.cloud.create_vpc(DUAL_STACK_SUBNETS if options.dual_stack else SUBNETS)
        self.report("cloud ready: EC2, metadata, a VPC with two zones")
        self.wait_until("api server ready", "get", "--raw=/readyz")
        control_plane.start_controllers()
        for instance_type, zone in options.placement():
            self.add_node(instance_type, zone, max_pods=options.max_pods)
        self.wait_until("service accounts ready", "get", "serviceaccount", "default")

    def prepare(self) -> Path:
        """Finds or builds binaries and images: minutes the first time, nothing when all is in the cache.

        Returns the store with the images.

        Raises:
            LabError: this machine lacks something, or a build failed.
        """
        if reason := reason_for_none():
            raise LabError(f"no laboratory can run here: {reason}")
        _ = self._binaries
        return images.store(self.layout, self.report)

    def down(self) -> None:
        """Ends every process and removes every trace. Nothing to do is fine."""
        self._clear()
        self.report("nothing is left")

    def deploy(self, overlay: str | Path = ".", seconds: float = 120) -> None:
        """Applies the product's manifests and what this cluster has of its own; waits until nodes are Ready.

        Args:
            overlay: a kustomization, as a folder of ``e2e/deploy`` such as ``cluster-scope``; by default that itself.
            seconds: how long the nodes may take.
        """
        manifests = (deployment.MANIFESTS / overlay).resolve()
        deployment.apply(self.kubectl, manifests)
        self.report(f"applied {manifests.relative_to(images.REPOSITORY)}")
        self.kubectl("wait", "--for=condition=Ready", "nodes", "--all", f"--timeout={seconds:g}s")
        self.report("all nodes Ready")

    def set_env(self, workload: str, **variables: str | None) -> None:
        """Sets environment variables of ``eni-operator`` or ``eni-agent`` (None takes one away); waits for its pods.

        Args:
            workload: a DaemonSet's name, or ``deployment/NAME``.
            variables: by name, such as ``WARM_IP_TARGET="5"``.
        """
        deployment.set_env(self.kubectl, workload, variables, ROLLOUT_SECONDS)
        self.report(f"{workload} has {', '.join(variables)} set")

    def kubectl(self, *arguments: str, check: bool = True, stdin: str | None = None) -> str:
        """Runs kubectl as the cluster's administrator; what it printed.

        Raises:
            LabError: it failed; its words are in the message. With ``check`` off the output is given anyway.
        """
        done = subprocess.run(
            self.kubectl_command(*arguments), capture_output=True, text=True, input=stdin, check=False
        )
        if check and done.returncode:
            raise LabError(f"kubectl {' '.join(arguments)}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def kubectl_command(self, *arguments: str) -> list[str]:
        """The command line that runs kubectl in the laboratory's network; files are the machine's."""
        kubeconfig = self.layout.kubeconfig("admin")
        return inside(self.pid, ("-n",), self._binaries["kubectl"], f"--kubeconfig={kubeconfig}", *arguments)

    def wait_until(self, what: str, *arguments: str, seconds: float = 60) -> None:
        """Until a kubectl command succeeds."""

        def succeeds() -> bool:
            command = self.kubectl_command(*arguments)
            return subprocess.run(command, capture_output=True, check=False).returncode == 0

        wait_for(what, succeeds, seconds=seconds, interval=0.1)
        self.report(what)

    def nodes(self) -> list[Machine]:
        """The nodes there are, switched on or not."""
        return [Machine(self.layout, self.parts, self._cgroup, instance) for instance in load(self.layout)]

    def node(self, name: str) -> Machine:
        """The node of that name.

        Raises:
            LabError: there is none, or no laboratory.
        """
        _ = self.pid
        known = {machine.name: machine for machine in self.nodes()}
        if name not in known:
            raise LabError(f"no node is called {name!r}; there are {', '.join(known) or 'none'}")
        return known[name]

    def add_node(  # noqa: PLR0913, PLR0917  a node can differ from another in so many ways
        self,
        instance_type: str,
        zone: Zone,
        name: str | None = None,
        max_pods: int | None = None,
        interfaces: Sequence[Mapping[str, object]] = (),
        proxy_mode: str = "nftables",
        files: Mapping[str, str] | None = None,
    ) -> Machine:
        """Runs an instance and makes it a node; returns when the API server has it.

        With ``interfaces`` (RunInstances' NetworkInterfaces, such as EFA ones) it has those ENIs from the start, with
        ``files`` (text by path below its disk, such as ``etc/cni/net.d/10-aws.conflist``) what its image brings.
        """
        taken = {*(machine.name for machine in self.nodes()), *self.parts.names(), GROUP}
        chosen = name or _free_name(zone, taken)
        if chosen in taken:
            raise LabError(f"a node or a part is called {chosen!r} already")
        if not _NODE_NAME.fullmatch(chosen):
            raise LabError(f"{chosen!r} cannot name a node; lower-case letters, digits and inner hyphens can, up to 63")
        instance = self.cloud.run_instance(chosen, instance_type, zone, interfaces)
        if max_pods is not None:
            instance = replace(instance, max_pods=max_pods)
        machine = Machine(self.layout, self.parts, self._cgroup, instance)
        machine.install(proxy_mode, files or {})
        self.switch_on(machine)
        return machine

    def switch_on(self, machine: Machine) -> None:
        """Boots a node that is switched off."""
        machine.switch_on(self.pid, programs.ensure("pause", self.layout.cache), self._binaries, self.cloud)
        boot = subprocess.run(
            machine.command("cat", BOOT_ID), capture_output=True, text=True, check=True
        ).stdout.strip()
        known = ("get", "node", machine.name, "-o", "jsonpath={.status.nodeInfo.bootID}")

        def registered() -> bool:
            machine.ensure_kubelet()
            return self.kubectl(*known, check=False) == boot

        log = self.layout.logs / f"{machine.name}.kubelet.log"
        wait_for(f"{machine.name} registered (see {log})", registered, seconds=60, interval=0.1)
        self.report(f"{machine.name} registered: {machine.instance.instance_type}, {machine.instance.address}")

    def switch_off(self, machine: Machine) -> None:
        """Cuts a node's power: its instance stays, its interfaces stay attached."""
        self.cloud.disconnect(machine.instance)
        machine.switch_off()

    def remove_node(self, machine: Machine) -> None:
        """Terminates the instance and deletes the Node, as an autoscaler does.

        Its pods go at once: Kubernetes leaves them for a minute, and for so long no DaemonSet is rolled out any more.
        """
        self._terminate(machine)
        here = f"--field-selector=spec.nodeName={machine.name}"
        self.kubectl("delete", "pods", "--all-namespaces", here, "--force", "--grace-period=0")

    def _terminate(self, machine: Machine) -> None:
        self.switch_off(machine)
        self.cloud.terminate(machine.instance)
        self.kubectl("delete", "node", machine.name, "--ignore-not-found")
        machine.discard()

    def replace_node(self, name: str) -> Machine:
        """Terminates a node's instance and runs another one of its type and zone that takes the same name."""
        before = self.node(name)
        zone = next(zone for zone in ZONES if zone.name == before.instance.zone)
        self._terminate(before)
        return self.add_node(before.instance.instance_type, zone, name, max_pods=before.instance.max_pods)

    def outside_command(self, *command: str | Path) -> list[str]:
        """A command run on the host outside the VPC."""
        pid = self.cloud.control("GET", "/_lab/fabric")["outside"]["pid"]
        return inside(self.pid, LAB_NAMESPACES, "nsenter", f"--net=/proc/{pid}/ns/net", "--", *command)

    def leftovers(self) -> list[str]:
        """What of the laboratory is still on the machine: processes, mounts, cgroups, files. Empty after ``down``."""
        found = [f"process {pid}" for pid in sorted(self._cgroup.processes())]
        found += ["cgroup " + self._cgroup.name] if self._cgroup.exists() else []
        mounts = Path("/proc/self/mounts").read_text().splitlines()
        found += [f"mount {mount.split()[1]}" for mount in mounts if str(self.layout.state) in mount]
        return found + ([f"files in {self.layout.state}"] if self.layout.state.exists() else [])

    def _create_namespaces(self, groups: list[str], *, tied: bool) -> None:
        pause = programs.ensure("pause", self.layout.cache)
        new = ("unshare", "--mount", "--pid", "--net", "--fork", "--kill-child", "--mount-proc")
        tie = ("setpriv", "--pdeathsig", "KILL") if tied else ()
        log = self.layout.logs / "lab.log"
        first = only_child(spawn([*tie, *new, str(pause)], log, groups))
        self.parts.remember("lab", first)
        wait_for(f"the laboratory's namespaces (see {log})", lambda: has_become(first, "pause"), seconds=10)
        prepare = "ip link set lo up; sysctl -qw net.ipv4.ip_forward=1"
        subprocess.run(inside(first, LAB_NAMESPACES, "sh", "-ec", prepare), check=True)

    def _start_cloud(self, *, service_times: bool) -> None:
        times = "--service-times" if service_times else "--no-service-times"
        command = (sys.executable, "-m", "eni_lab.cloud", "--state", self.layout.state, times)
        environ = ("env", f"PYTHONPATH={Path(__file__).parents[1]}")
        self.parts.start("cloud", inside(self.pid, LAB_NAMESPACES, *environ, *command), GROUP)

    def _clear(self) -> None:
        if "cloud" in self.__dict__:
            self.cloud.close()
            del self.cloud
        if self._cgroup.exists():
            self._cgroup.kill()
            wait_for("the laboratory's namespaces ended", lambda: self.parts.pid("lab") is None, seconds=20)
            reap()
            self._cgroup.remove()
        shutil.rmtree(self.layout.state, ignore_errors=True)


def _free_name(zone: Zone, taken: set[str]) -> str:
    """Such as ``node-a1``: the zone, and the first free number."""
    return next(name for number in range(1, 1000) if (name := f"node-{zone.letter}{number}") not in taken)
