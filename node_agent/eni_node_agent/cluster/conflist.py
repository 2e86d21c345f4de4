"""The conflist: the file whose appearance tells the runtime, and so Kubernetes, that this node has pod networking.

Decides its text: which plugins follow ours, and in which versions of the CNI specification. Pure but for ``replace``
and ``remove``. When it is written is ``conflist_writer``'s part; what plugins there are and which versions they speak,
``plugins`` finds out. Order and settings of the chain are VPC CNI's.
"""

import json
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from eni_cni_shim.spec import VERSIONS

NAME: Final = "10-eni.conflist"
"""Runtimes take the file that sorts first; 10 is where network providers put themselves."""
NETWORK: Final = "eni"
EXECUTABLE: Final = "eni-cni"
SAFE_VERSION: Final = "1.0.0"
"""What every runtime still supported reads: containerd since 1.6, CRI-O since 1.22. A newer one is only offered."""
NO_IPV6: Final = {f"net.ipv6.conf.{link}.disable_ipv6": "1" for link in ("all", "default", "lo")}


class ConflistError(Exception):
    """The file there is not ours to change."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a person has asked of the chain."""

    mtu: int
    """Bytes, of both ends of pods' links."""
    bandwidth: bool = False
    """ENABLE_BANDWIDTH_PLUGIN: pods' annotations ``kubernetes.io/ingress-bandwidth`` and ``egress-bandwidth`` hold."""
    disable_ipv6: bool = False
    """DISABLE_POD_V6: pods have no IPv6, not even link-local."""


class Chained(NamedTuple):
    """A plugin behind ours."""

    type: str
    settings: Mapping[str, Any]
    variable: str
    """The setting that asks for it; empty: it is used where it is there, and nobody misses it."""


class Conflist(NamedTuple):
    """The file, and what is not in it although it was asked for."""

    text: str
    missing: tuple[str, ...]
    """In sentences."""


def chain(wish: Wish) -> tuple[Chained, ...]:
    """Returns the plugins behind ours in their order: hostPort, bandwidth, sysctls."""
    found = [Chained("portmap", {"capabilities": {"portMappings": True}, "snat": True}, "")]
    if wish.bandwidth:
        found.append(Chained("bandwidth", {"capabilities": {"bandwidth": True}}, "ENABLE_BANDWIDTH_PLUGIN"))
    if wish.disable_ipv6:
        found.append(Chained("tuning", {"sysctl": NO_IPV6}, "DISABLE_POD_V6"))
    return tuple(found)


def compose(wish: Wish, spoken: Mapping[str, Collection[str]]) -> Conflist:
    """Returns the conflist.

    A runtime hands one version to the whole chain and asks no plugin whether it speaks it, so the file names only
    what all of them do: ``cniVersion``, which a runtime of any age reads, and ``cniVersions``, which one that knows
    1.1.0 picks the newest of. STATUS and GC exist in 1.1.0 only.

    Args:
        wish: what was asked for.
        spoken: versions by plugin, of those that are there. One that is not there would fail every pod.
    """
    ours: dict[str, Any] = {"mtu": wish.mtu, "capabilities": {"io.kubernetes.cri.pod-annotations": True}}
    plugins: list[dict[str, Any]] = [{"type": EXECUTABLE, **ours}]
    common: tuple[str, ...] = VERSIONS
    missing = []
    for plugin in chain(wish):
        both = tuple(version for version in common if version in spoken.get(plugin.type, ()))
        if both:
            plugins.append({"type": plugin.type, **plugin.settings})
            common = both
        elif plugin.variable:
            missing.append(_lack(plugin, is_there=plugin.type in spoken))
    versions = _offered(common)
    document: dict[str, Any] = {"cniVersion": versions[0]}
    if len(versions) > 1:
        document["cniVersions"] = versions
    if len(plugins) > 1:
        # bandwidth (1.6 too) crashes at CHECK where a pod has no limit; portmap before 1.3 finds fault with sound pods.
        document["disableCheck"] = True
    document |= {"name": NETWORK, "plugins": plugins}
    return Conflist(json.dumps(document, indent=2) + "\n", tuple(missing))


def replace(conf_dir: Path, text: str) -> bool:
    """Puts the conflist in place of what is there, in one rename; False when it was so already.

    Raises:
        OSError: the folder is missing or cannot be written.
    """
    path = conf_dir / NAME
    if path.exists() and path.read_text(errors="replace") == text:
        return False
    draft = conf_dir / f".{NAME}.draft"  # runtimes read *.conf, *.conflist and *.json only
    with draft.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.chmod(0o644)
    draft.replace(path)
    return True


def remove(conf_dir: Path) -> bool:
    """Removes our conflist; False when there was none.

    Raises:
        ConflistError: the file of that name begins with somebody else's plugin.
        OSError: the folder cannot be written.
    """
    path = conf_dir / NAME
    (conf_dir / f".{NAME}.draft").unlink(missing_ok=True)
    if not path.exists():
        return False
    if not _is_ours(path.read_text(errors="replace")):
        raise ConflistError(f"{path} does not begin with the plugin {EXECUTABLE}; it is not ours and stays")
    path.unlink()
    return True


def _offered(common: tuple[str, ...]) -> tuple[str, ...]:
    """Returns the version for runtimes of any age first, then the newer ones."""
    safe = [version for version in common if VERSIONS.index(version) <= VERSIONS.index(SAFE_VERSION)]
    return common[len(safe) - 1 :] if safe else common


def _lack(plugin: Chained, *, is_there: bool) -> str:
    asked = f"{plugin.variable} asks for the CNI plugin {plugin.type}"
    if is_there:
        return f"{asked}, which speaks no version of the specification with the others; pods are set up without it"
    return f"{asked}, which is not in HOST_CNI_BIN_PATH; pods are set up without it"


def _is_ours(text: str) -> bool:
    try:
        return bool(json.loads(text)["plugins"][0]["type"] == EXECUTABLE)
    except (ValueError, KeyError, IndexError, TypeError):
        return False
