"""How a sandbox is called on the host. Decides names only; the plugin makes the links, or VPC CNI has made them."""

import hashlib
from typing import Final

from eni_cni_shim.plugin.addresspool import Sandbox, SandboxKey

HOST_IFNAME_PREFIX: Final = "eni"
"""VPC CNI's AWS_VPC_K8S_CNI_VETHPREFIX; other tools (network policy agents) know pods' links by it."""

VPC_CNI_NETWORK: Final = "aws-cni"
"""The network in VPC CNI's conflist, and in the key of every sandbox that was taken over from it."""


def host_ifname_of(sandbox: Sandbox) -> str:
    """Returns the name of the host's end of a sandbox's veth, whoever made it."""
    if sandbox.key.network == VPC_CNI_NETWORK:
        return HOST_IFNAME_PREFIX + pod_hash(sandbox.pod_namespace, sandbox.pod_name)
    return host_ifname(sandbox.key)


def pod_hash(namespace: str, name: str) -> str:
    """Returns what VPC CNI calls a pod's link by: 11 hex digits behind ``AWS_VPC_K8S_CNI_VETHPREFIX``."""
    return hashlib.sha1(f"{namespace}.{name}".encode(), usedforsecurity=False).hexdigest()[:11]


def taken_over_key(key: SandboxKey) -> SandboxKey:
    """Returns the key under which the sandbox is held if VPC CNI made it: containerd asks by our network's name."""
    return key._replace(network=VPC_CNI_NETWORK)


def host_ifname(key: SandboxKey) -> str:
    """Returns the name of the host's end of a sandbox's veth: ``eni`` and 11 hex digits, 14 of the 15 bytes allowed.

    It names the sandbox, not the pod: a pod's next sandbox never meets a link of the last that is still being deleted.
    """
    if is_recovered(key):
        return key.container_id
    digest = hashlib.sha1(f"{key.container_id}{key.ifname}".encode(), usedforsecurity=False).hexdigest()
    return HOST_IFNAME_PREFIX + digest[:11]


def recovered_key(ifname: str) -> SandboxKey:
    """Returns the key of a sandbox of which nothing is known but its host link; no runtime names its network ``""``."""
    return SandboxKey("", ifname, "")


def is_recovered(key: SandboxKey) -> bool:
    """Tells whether the key was made by ``recovered_key``."""
    return key.network == ""
