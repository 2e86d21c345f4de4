"""How a sandbox is called on the host. Decides names only; the plugin makes the links."""

import hashlib
from typing import Final

from eni_cni_shim.plugin.addresspool import SandboxKey

HOST_IFNAME_PREFIX: Final = "eni"
"""VPC CNI's AWS_VPC_K8S_CNI_VETHPREFIX; other tools (network policy agents) know pods' links by it."""


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
