"""Reads what the container runtime believes: libcni's cached results, and crictl's word on who lives, if it is there.

A runtime's socket is not asked for: who can reach it owns the node. The cache is world-readable files that libcni
writes when ADD has succeeded and removes when DEL has (https://www.cni.dev/docs/spec/, "cached result"); mounted
read-only it tells all that is compared. Everything read here is hostile until parsed.
"""

import ipaddress
import json
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from eni_node_agent.inspection.views import Attachment, RuntimeView

LARGEST_RESULT: Final = 1 << 20
CRICTL: Final = ("crictl", "--timeout", "5s", "pods", "--state", "ready", "-o", "json")
CRICTL_SECONDS: Final = 10.0


class RuntimeUnseenError(Exception):
    """The runtime's view cannot be had; the message says why."""


def look(cache: Path, network: str) -> RuntimeView:
    """Returns the runtime's view of the attachments to a network.

    Args:
        cache: libcni's folder, usually ``/var/lib/cni``.
        network: name in the conflist.

    Raises:
        RuntimeUnseenError: the folder is not there or cannot be read.
    """
    results = cache / "results"
    try:
        files = sorted(results.iterdir())
    except OSError as error:
        raise RuntimeUnseenError(f"the runtime's cached results {results} cannot be read: {error.strerror}") from error
    return RuntimeView(tuple(_attachments(files, network)), _live())


def parse(text: bytes) -> Attachment | None:
    """Returns the attachment a cached result tells of; None when it is none."""
    try:
        document = json.loads(text)
        result: Any = document["result"]
        addresses = tuple(str(ipaddress.ip_interface(ip["address"]).ip) for ip in result.get("ips") or ())
        arguments = dict(document.get("cniArgs") or ())
        key = (document["networkName"], document["containerId"], document["ifName"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    if not all(isinstance(part, str) for part in key):
        return None
    name = arguments.get("K8S_POD_NAME")
    pod = f"{arguments.get('K8S_POD_NAMESPACE', '')}/{name}" if name else ""
    return Attachment(*key, addresses, pod)


def parse_live(text: bytes) -> frozenset[str] | None:
    """Returns the sandbox ids in ``crictl pods -o json``; None when it is not that."""
    try:
        return frozenset(str(item["id"]) for item in json.loads(text).get("items") or ())
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _attachments(files: Iterable[Path], network: str) -> list[Attachment]:
    found = []
    for file in files:
        try:
            with file.open("rb") as opened:
                attachment = parse(opened.read(LARGEST_RESULT))
        except OSError:  # gone since the folder was read
            continue
        if attachment is not None and attachment.network == network:
            found.append(attachment)
    return found


def _live() -> frozenset[str] | None:
    if shutil.which(CRICTL[0]) is None:
        return None
    try:
        result = subprocess.run(CRICTL, capture_output=True, timeout=CRICTL_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return parse_live(result.stdout)
