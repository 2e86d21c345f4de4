"""etcd, API server, controller manager and scheduler as parts of the laboratory: their flags and their order.

``--leader-elect=false``: there is one of each. ``--authentication-skip-lookup``: their own ports serve nobody.
"""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from eni_lab.kube.addresses import API_ADDRESS, IPV6_SERVICE_CIDR, SERVICE_CIDR
from eni_lab.kube.binaries import Binaries
from eni_lab.layout import Layout
from eni_lab.processes import LAB_NAMESPACES, Parts, inside

GROUP = "lab"
"""The control plane's group below the laboratory's."""
_ETCD = "http://127.0.0.1:2379"
_ETCD_PEER = "http://127.0.0.1:2380"


def etcd_flags(layout: Layout) -> list[str]:
    """Its data lies on a tmpfs, so syncing it would guard against nothing."""
    return [
        "--name=lab",
        f"--data-dir={layout.state / 'etcd' / 'data'}",
        "--unsafe-no-fsync",
        "--log-level=warn",
        f"--listen-client-urls={_ETCD}",
        f"--advertise-client-urls={_ETCD}",
        f"--listen-peer-urls={_ETCD_PEER}",
        f"--initial-advertise-peer-urls={_ETCD_PEER}",
        f"--initial-cluster=lab={_ETCD_PEER}",
    ]


def api_server_flags(pki: Path, *, dual_stack: bool = False) -> list[str]:
    """Nodes are held to their own objects (Node authorizer, NodeRestriction), as on EKS."""
    services = (SERVICE_CIDR, IPV6_SERVICE_CIDR) if dual_stack else (SERVICE_CIDR,)
    return [
        f"--etcd-servers={_ETCD}",
        f"--advertise-address={API_ADDRESS}",  # becomes the endpoint of the service `kubernetes`
        "--secure-port=6443",
        f"--service-cluster-ip-range={','.join(services)}",
        "--allow-privileged=true",
        "--anonymous-auth=false",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        f"--client-ca-file={pki}/ca.crt",
        f"--tls-cert-file={pki}/apiserver.crt",
        f"--tls-private-key-file={pki}/apiserver.key",
        f"--kubelet-certificate-authority={pki}/ca.crt",
        f"--kubelet-client-certificate={pki}/apiserver-kubelet.crt",
        f"--kubelet-client-key={pki}/apiserver-kubelet.key",
        "--kubelet-preferred-address-types=InternalIP",  # the names of nodes do not resolve
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-key-file={pki}/sa.pub",
        f"--service-account-signing-key-file={pki}/sa.key",
        "--enable-priority-and-fairness=false",
        "--profiling=false",
    ]


def _client_flags(kubeconfig: Path) -> list[str]:
    return [
        f"--kubeconfig={kubeconfig}",
        "--leader-elect=false",
        "--profiling=false",
        "--bind-address=127.0.0.1",
        "--authentication-skip-lookup=true",
    ]


def controller_manager_flags(layout: Layout) -> list[str]:
    """A node that went silent is NotReady after 16 s instead of 50: the kubelets report every 4 s."""
    return [
        *_client_flags(layout.kubeconfig("controller-manager")),
        f"--service-account-private-key-file={layout.pki}/sa.key",
        f"--root-ca-file={layout.pki}/ca.crt",
        f"--cluster-signing-cert-file={layout.pki}/ca.crt",
        f"--cluster-signing-key-file={layout.pki}/ca.key",
        "--use-service-account-credentials=false",
        "--node-monitor-period=2s",
        "--node-monitor-grace-period=16s",
    ]


class ControlPlane:
    """The four processes, in the namespaces of the laboratory's first process."""

    def __init__(self, layout: Layout, binaries: Binaries, parts: Parts, lab: int) -> None:
        self._layout = layout
        self._binaries = binaries
        self._parts = parts
        self._lab = lab

    def start_api_server(self, *, dual_stack: bool = False) -> None:
        """Starts etcd and the API server, which waits for etcd by itself."""
        data = self._layout.state / "etcd"
        data.mkdir()
        subprocess.run(
            inside(self._lab, LAB_NAMESPACES, "mount", "-t", "tmpfs", "-o", "mode=700", "etcd", data), check=True
        )
        self._start("etcd", "etcd", etcd_flags(self._layout))
        self._start("apiserver", "kube-apiserver", api_server_flags(self._layout.pki, dual_stack=dual_stack))

    def start_controllers(self) -> None:
        """Starts what ends at once while no API server answers."""
        self._start("controller-manager", "kube-controller-manager", controller_manager_flags(self._layout))
        self._start("scheduler", "kube-scheduler", _client_flags(self._layout.kubeconfig("scheduler")))

    def _start(self, name: str, binary: str, flags: Sequence[str]) -> None:
        command = inside(self._lab, LAB_NAMESPACES, self._binaries[binary], *flags)
        self._parts.start(name, command, GROUP)
