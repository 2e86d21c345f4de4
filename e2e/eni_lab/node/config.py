"""Configuration of a node's containerd, kubelet and kube-proxy, as values. ``node.machine`` writes and uses them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eni_lab.kube.addresses import CLUSTER_DOMAIN, DNS_SERVICE

PAUSE_IMAGE = "localhost/pause:1"

CONTAINERD = f"""\
version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  disable_apparmor = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/opt/cni/bin"
    conf_dir = "/etc/cni/net.d"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
"""
"""Of containerd 1.6 and later. Scores of the OOM killer cannot be lowered without CAP_SYS_RESOURCE."""


@dataclass(frozen=True)
class Instance:
    """An EC2 instance that is a node."""

    node: str
    """The Kubernetes node's name."""
    instance_id: str
    instance_type: str
    zone: str
    address: str
    """Primary private IPv4 address: the node's InternalIP."""
    max_pods: int
    ipv6_address: str = ""
    """The node's InternalIP of the second family; empty on an IPv4 cluster."""

    @property
    def node_ips(self) -> str:
        """The kubelet's --node-ip: both families where there are both, IPv4 first."""
        return ",".join(filter(None, (self.address, self.ipv6_address)))

    @property
    def provider_id(self) -> str:
        """As the AWS cloud provider writes it: how the operator knows its instance."""
        return f"aws:///{self.zone}/{self.instance_id}"

    @property
    def labels(self) -> str:
        """The well-known labels that a kubelet may set on its own node."""
        region = self.zone.rstrip("abcdef")
        labels = {
            "node.kubernetes.io/instance-type": self.instance_type,
            "topology.kubernetes.io/region": region,
            "topology.kubernetes.io/zone": self.zone,
        }
        return ",".join(f"{key}={value}" for key, value in labels.items())


def max_pods(interfaces: int, addresses_each: int) -> int:
    """How many pods EKS lets an instance type run: one for each secondary address, and two in the host's network.

    https://docs.aws.amazon.com/eks/latest/userguide/choosing-instance-type.html
    """
    return interfaces * (addresses_each - 1) + 2


def kubelet(instance: Instance, pki: Path) -> dict[str, Any]:
    """KubeletConfiguration. Nodes share one machine, so nothing is evicted and no image is collected."""
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "providerID": instance.provider_id,
        "maxPods": instance.max_pods,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": f"{pki}/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": f"{pki}/{instance.node}.crt",
        "tlsPrivateKeyFile": f"{pki}/{instance.node}.key",
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "cgroupDriver": "cgroupfs",
        "failCgroupV1": False,
        "failSwapOn": False,
        "resolvConf": "/etc/resolv.conf",
        "clusterDNS": [DNS_SERVICE],
        "clusterDomain": CLUSTER_DOMAIN,
        "evictionHard": dict.fromkeys(
            ("nodefs.available", "nodefs.inodesFree", "imagefs.available", "imagefs.inodesFree"), "0%"
        ),
        "imageGCHighThresholdPercent": 100,
        "serializeImagePulls": False,
        "registryPullQPS": 0,
        "kubeAPIQPS": 50,
        "kubeAPIBurst": 100,
        "oomScoreAdj": 0,  # lower ones need CAP_SYS_RESOURCE, and so do more open files
        "maxOpenFiles": 20000,
        "nodeStatusUpdateFrequency": "4s",
    }


def kube_proxy(instance: Instance, kubeconfig: Path, mode: str = "nftables") -> dict[str, Any]:
    """KubeProxyConfiguration, ``mode`` nftables or iptables. Conntrack's sysctls are the machine's, not the node's."""
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": mode,
        "hostnameOverride": instance.node,
        "oomScoreAdj": 0,
        "clientConnection": {"kubeconfig": str(kubeconfig)},
        "conntrack": {"maxPerCore": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        "nodePortAddresses": ["primary"],
    }
