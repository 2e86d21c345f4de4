"""The conflist: the file whose appearance tells the runtime, and so Kubernetes, that this node has pod networking.

Decides its text and when it must be rewritten; when the node can serve is ``wiring``'s to tell. It stays when the
agent ends: running pods keep their network, and the CNI executable answers "try again" meanwhile.
"""

import json
from pathlib import Path
from typing import Any, Final

NAME: Final = "10-eni.conflist"
"""Runtimes take the file that sorts first; 10 is where network providers put themselves."""
NETWORK: Final = "eni"
EXECUTABLE: Final = "eni-cni"


def conflist(mtu: int, *, with_portmap: bool) -> str:
    """Returns the text, of CNI 1.0.0, which every containerd and CRI-O still supported reads.

    Args:
        mtu: of pods' links, in bytes.
        with_portmap: whether the portmap plugin is there to serve hostPort.
    """
    plugins: list[dict[str, Any]] = [
        {"type": EXECUTABLE, "mtu": mtu, "capabilities": {"io.kubernetes.cri.pod-annotations": True}}
    ]
    if with_portmap:
        plugins.append({"type": "portmap", "capabilities": {"portMappings": True}, "snat": True})
    return json.dumps({"cniVersion": "1.0.0", "name": NETWORK, "plugins": plugins}, indent=2) + "\n"


def ensure(conf_dir: Path, bin_dir: Path, mtu: int) -> bool:
    """Writes the conflist where it is not as it should be; True when it wrote.

    Raises:
        OSError: the folder is missing or cannot be written.
    """
    text = conflist(mtu, with_portmap=(bin_dir / "portmap").exists())
    path = conf_dir / NAME
    if path.exists() and path.read_text(errors="replace") == text:
        return False
    draft = conf_dir / f".{NAME}.draft"
    draft.write_text(text)
    draft.chmod(0o644)
    draft.replace(path)
    return True
