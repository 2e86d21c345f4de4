"""One run of the conformance: a fresh cluster of three nodes with the product and a DNS server, and the suite on it.

What a run varies: the product's mode, set as a user of VPC CNI sets it (``e2e/conformance/MODE``), and kube-proxy's.
"""

import shutil
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

from eni_lab.cloud_client import ZONES
from eni_lab.kube import binaries
from eni_lab.kube.conformance import binaries as suite_binaries
from eni_lab.kube.conformance import dns, fill, images, suite
from eni_lab.kube.conformance.results import Result
from eni_lab.kube.images import REPOSITORY
from eni_lab.lab import Lab, Options


@dataclass(frozen=True, slots=True)
class Nodes:
    """The nodes of a mode: room for the pods of six tests at a time, and a primary ENI that can be filled."""

    instance_type: str
    max_pods: int | None
    """What kubelets allow; None: EKS's figure for the type.

    With prefixes it is what AWS recommends, https://docs.aws.amazon.com/eks/latest/userguide/cni-increase-ip-addresses.html
    """
    primary_addresses: int
    """For pods, on the primary ENI."""


MODES = {"secondary": Nodes("c5.xlarge", None, 14), "prefix": Nodes("t3.small", 110, 3 * 16)}
PROXIES = ("nftables", "iptables")
MANIFESTS = REPOSITORY / "e2e" / "conformance"
NODES, FILLED = 3, 2
"""How many there are, and on how many of them the primary ENI is full: both ways are walked, and between them."""


@dataclass(frozen=True, slots=True)
class Run:
    """A cell of the matrix."""

    mode: str
    proxy: str

    @property
    def name(self) -> str:
        """Such as ``prefix-iptables``."""
        return f"{self.mode}-{self.proxy}"


MATRIX = tuple(Run(mode, proxy) for mode in MODES for proxy in PROXIES)


@dataclass(frozen=True)
class Parts:
    """What all runs use: programs and image archives."""

    binaries: suite_binaries.SuiteBinaries
    archives: list[Path]
    kubectl: Path


def prepare(lab: Lab, environ: dict[str, str]) -> Parts:
    """Builds what the cache lacks: some 20 minutes the first time on two cores, nothing later.

    Raises:
        LabError: this machine lacks something, or a build failed.
    """
    lab.prepare()
    built = suite_binaries.ensure(lab.layout.cache, lab.report)
    archives = images.ensure(lab.layout, built, lab.report)
    return Parts(built, archives, binaries.ensure(environ, lab.layout.cache, lab.report)["kubectl"])


def perform(lab: Lab, parts: Parts, run: Run, reports: Path, *, focus: str = suite.FOCUS, tied: bool = True) -> Result:
    """Brings the run's cluster up and tests it; the caller takes it down.

    Raises:
        LabError: it did not come to testing.
    """
    reports.mkdir(parents=True, exist_ok=True)
    lab.up(Options(nodes=0, tied=tied))
    images.add_to_store(lab.layout, parts.archives)
    nodes = MODES[run.mode]
    machines = [
        lab.add_node(nodes.instance_type, zone, max_pods=nodes.max_pods, proxy_mode=run.proxy)
        for zone in islice(cycle(ZONES), NODES)
    ]
    lab.deploy(MANIFESTS / run.mode)
    for machine in machines[:FILLED]:
        fill.primary(machine, nodes.primary_addresses)
        lab.report(f"{machine.name}: {nodes.primary_addresses} addresses taken, the primary ENI is full")
    dns.deploy(lab)
    return suite.run(lab, parts.kubectl, parts.binaries, reports, focus)


def keep_logs(lab: Lab, reports: Path) -> None:
    """Copies what the cluster's parts and the product's pods have logged into the run's folder."""
    logs = reports / "logs"
    shutil.rmtree(logs, ignore_errors=True)
    sources = {"parts": lab.layout.logs}
    sources |= {disk.parent.name: disk / "var/log/pods" for disk in lab.layout.nodes.glob("*/disk")}
    for name, folder in sources.items():
        if folder.exists():
            shutil.copytree(folder, logs / name, ignore_dangling_symlinks=True)
