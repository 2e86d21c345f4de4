"""How a sandbox is called on the host. Decides names only; the plugin makes the links, or VPC CNI has made them."""

import functools
import hashlib
from typing import Final

from eni_cni_shim.plugin.addresspool import SandboxKey
from eni_node_agent.ledger.ledger import LinkNames

HOST_IFNAME_PREFIX: Final = "eni"
"""VPC CNI's AWS_VPC_K8S_CNI_VETHPREFIX; other tools (network policy agents) know pods' links by it."""

VPC_CNI_NETWORK: Final = "aws-cni"
"""The network in VPC CNI's conflist, and in the key of every sandbox that was taken over from it."""


def pod_hash(namespace: str, name: str) -> str:
    """Returns what VPC CNI calls a pod's link by: 11 hex digits behind ``AWS_VPC_K8S_CNI_VETHPREFIX``."""
    return hashlib.sha1(f"{namespace}.{name}".encode(), usedforsecurity=False).hexdigest()[:11]


def taken_over_key(key: SandboxKey) -> SandboxKey:
    """Returns the key under which the sandbox is held if VPC CNI made it: containerd asks by our network's name."""
    return key._replace(network=VPC_CNI_NETWORK)


@functools.lru_cache(maxsize=256)  # a request asks four times
def host_ifname(key: SandboxKey, number: int = 0, prefix: str = HOST_IFNAME_PREFIX) -> str:
    """Returns the name of the host's end of a sandbox's link: prefix and 11 hex digits, of the 15 bytes allowed.

    It names the sandbox, not the pod: a pod's next sandbox never meets a link of the last that is still being deleted.
    """
    if is_recovered(key):
        return key.container_id
    further = f".{number}" if number else ""
    text = f"{key.container_id}{key.ifname}{further}"
    return prefix + hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()[:11]


def link_names(key: SandboxKey, number: int, prefix: str = HOST_IFNAME_PREFIX) -> LinkNames:
    """Returns the names of a sandbox's link: the first is the interface asked for, further ones are VPC CNI's."""
    return LinkNames(key.ifname if number == 0 else f"mNicIf{number}", host_ifname(key, number, prefix))


def recovered_key(ifname: str) -> SandboxKey:
    """Returns the key of a sandbox of which nothing is known but its host link; no runtime names its network ``""``."""
    return SandboxKey("", ifname, "")


def is_recovered(key: SandboxKey) -> bool:
    """Tells whether the key was made by ``recovered_key``."""
    return key.network == ""
