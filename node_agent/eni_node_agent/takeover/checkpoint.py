"""Reads VPC CNI's checkpoint: which container it gave which address. The file is hostile until parsed.

Each network card has a file: ``ipam.json``, ``ipam-nic-1.json`` and so on, of one shape:

    {"version": "vpc-cni-ipam/1", "allocations": [
      {"networkName": "aws-cni", "containerID": "5f…", "ifName": "eth0", "ipv4": "10.0.1.21",
       "metadata": {"k8sPodNamespace": "default", "k8sPodName": "web-0", "interfacesCount": 1}}]}

Does not decide who lives: a container that went while VPC CNI did not run is still in it (``plan`` asks the kernel).
"""

import json
import re
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final, NamedTuple

VERSION: Final = "vpc-cni-ipam/1"
LARGEST_BYTES: Final = 4 << 20
"""A node with 1,000 pods has 0.3 MB."""
_MOST_INTERFACES: Final = 64
_CONTAINER: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.\-]{0,127}")
_POD: Final = re.compile(r"[a-z0-9]([a-z0-9.\-]{0,251}[a-z0-9])?")
_FIRST_IFNAME: Final = "eth0"
_UNKNOWN_IFNAME: Final = "unknown"
"""Of entries that VPC CNI 1.7 took over from the runtime."""


class CheckpointError(Exception):
    """The file is no checkpoint that we understand; the message is one sentence."""


class Allocation(NamedTuple):
    """An address of a container, as VPC CNI remembers it."""

    address: str
    container_id: str
    ifname: str
    pod_namespace: str
    """Empty, as is the name, where VPC CNI did not know the pod."""
    pod_name: str
    interfaces: int
    """Of the pod, each with an address of another network card."""


class Checkpoint(NamedTuple):
    """What a file says."""

    allocations: tuple[Allocation, ...]
    problems: tuple[str, ...]
    """A sentence for each entry that cannot be read; its address is known from the kernel alone."""


def text_of(path: Path) -> str:
    """Returns what is in a file; raises CheckpointError where it is no checkpoint by its looks, and OSError."""
    if not path.is_file() or path.stat().st_size > LARGEST_BYTES:
        raise CheckpointError(f"it is no file of at most {LARGEST_BYTES} bytes")
    return path.read_bytes().decode(errors="replace")


def parse(text: str) -> Checkpoint:
    """Returns what the file says; raises CheckpointError."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"it is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise CheckpointError(f"it is {type(document).__name__} in JSON; an object is allowed")
    if document.get("version") != VERSION:
        raise CheckpointError(f'the field version is {_shown(document.get("version"))}; "{VERSION}" is understood')
    entries = document.get("allocations") or []
    if not isinstance(entries, list):
        raise CheckpointError(f"the field allocations is {type(entries).__name__}; a list is allowed")
    found: list[Allocation] = []
    problems: list[str] = []
    for number, entry in enumerate(entries):
        try:
            found.append(_allocation(entry))
        except ValueError as error:
            problems.append(f"allocations[{number}]: {error}")
    return Checkpoint(tuple(found), tuple(problems))


def _allocation(entry: object) -> Allocation:
    fields = _object("it", entry)
    metadata = _object("metadata", fields.get("metadata") or {})
    ifname = _text(fields, "ifName")
    return Allocation(
        address=_address(fields),
        container_id=_matching(fields, "containerID", _CONTAINER),
        ifname=_FIRST_IFNAME if ifname == _UNKNOWN_IFNAME else ifname,
        pod_namespace=_pod(metadata, "k8sPodNamespace"),
        pod_name=_pod(metadata, "k8sPodName"),
        interfaces=_interfaces(metadata),
    )


def _address(fields: Mapping[str, Any]) -> str:
    texts = [_text(fields, name) for name in ("ipv4", "ipv6") if fields.get(name)]
    if len(texts) != 1:
        raise ValueError(f"it has {len(texts)} of the fields ipv4 and ipv6; one is allowed")
    return str(ip_address(texts[0]))


def _interfaces(metadata: Mapping[str, Any]) -> int:
    count = metadata.get("interfacesCount", 1)
    if not isinstance(count, int) or not 0 <= count <= _MOST_INTERFACES:
        raise ValueError(f"the field interfacesCount is {_shown(count)}; 0 to {_MOST_INTERFACES} is allowed")
    return max(count, 1)


def _pod(metadata: Mapping[str, Any], name: str) -> str:
    return _matching(metadata, name, _POD) if metadata.get(name) else ""


def _matching(fields: Mapping[str, Any], name: str, pattern: re.Pattern[str]) -> str:
    value = _text(fields, name)
    if not pattern.fullmatch(value):
        raise ValueError(f"the field {name} is {_shown(value)}, which Kubernetes would not allow")
    return value


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not value:
        raise ValueError(f"the field {name} is {_shown(value)}; a text is allowed")
    return value


def _object(name: str, value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{name} is {_shown(value)}; an object is allowed")  # noqa: TRY004  what is read, not how
    return value


def _shown(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:80]}…"
