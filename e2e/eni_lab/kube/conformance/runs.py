"""One run of the conformance: a fresh cluster of three nodes with the product and a DNS server, and the suite on it.

What a run varies: the product's mode, set as a user of VPC CNI sets it (``e2e/conformance/MODE``), and kube-proxy's.
"""

from dataclasses import dataclass
from pathlib import Path

from eni_lab.cloud_client import ZONES
from eni_lab.kube import binaries
from eni_lab.kube.conformance import binaries as suite_binaries
from eni_lab.kube.conformance import dns, images, suite
from eni_lab.kube.conformance.results import Result
from eni_lab.kube.images import REPOSITORY
from eni_lab.lab import Lab, Options

MAX_PODS = {"secondary": None, "prefix": 110}
"""What kubelets allow, by mode: EKS's figure for the instance type, and what AWS recommends with prefixes.

https://docs.aws.amazon.com/eks/latest/userguide/cni-increase-ip-addresses.html
"""
PROXIES = ("nftables", "iptables")
MANIFESTS = REPOSITORY / "e2e" / "conformance"
INSTANCE_TYPE = "c5.xlarge"
"""4 ENIs of 15 addresses: room for the pods of six tests at a time, on more than one ENI."""
NODES = 3


@dataclass(frozen=True, slots=True)
class Run:
    """A cell of the matrix."""

    mode: str
    proxy: str

    @property
    def name(self) -> str:
        """Such as ``prefix-iptables``."""
        return f"{self.mode}-{self.proxy}"


MATRIX = tuple(Run(mode, proxy) for mode in MAX_PODS for proxy in PROXIES)


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
    for number in range(NODES):
        zone = ZONES[number % len(ZONES)]
        lab.add_node(INSTANCE_TYPE, zone, max_pods=MAX_PODS[run.mode], proxy_mode=run.proxy)
    lab.deploy(MANIFESTS / run.mode)
    dns.deploy(lab)
    return suite.run(lab, parts.kubectl, parts.binaries, reports, focus)
