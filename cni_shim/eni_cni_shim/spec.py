"""What the CNI specification says: verbs, their input, results in the shape of each version, error codes. Pure.

Decides whether a request can be understood and how an answer is written. Knows no pool, no kernel and no socket;
``plugin.verbs`` acts on what is parsed here. Source: https://www.cni.dev/docs/spec/ (1.1.0), section and table names
below are that page's.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Final, NamedTuple

VERSIONS: Final = ("0.3.1", "0.4.0", "1.0.0", "1.1.0")
"""Versions of the specification we speak, oldest first."""

SINCE: Final = {"ADD": "0.3.1", "DEL": "0.3.1", "CHECK": "0.4.0", "STATUS": "1.1.0", "GC": "1.1.0"}
"""The first version that has each verb. VERSION is answered by the executable."""

REQUIRED: Final = {
    "ADD": ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"),
    "DEL": ("CNI_CONTAINERID", "CNI_IFNAME"),
    "CHECK": ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"),
    "STATUS": (),
    "GC": (),
}
"""Variables each verb cannot do without. GC's CNI_PATH serves plugins that delegate; we do not."""

POD_ANNOTATIONS: Final = "io.kubernetes.cri.pod-annotations"
"""The capability, and so the key of ``runtimeConfig``, by which a runtime passes a pod's annotations."""
CARDS_ANNOTATION: Final = "k8s.amazonaws.com/nicConfig"
EVERY_CARD: Final = "multi-nic-attachment"
"""VPC CNI's annotation and its one value: the pod wants a link on every network card."""

DEFAULT_MTU: Final = 9001
"""Bytes; the largest frame in a VPC (https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/network_mtu.html)."""
SMALLEST_MTU: Final = 576
"""Bytes; what every IPv4 host must accept (RFC 791)."""

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.\-]*")  # the specification's rule for container ids and network names
_IFNAME = re.compile(r"[^\s/:]{1,15}")  # the kernel's dev_valid_name()


class Code(IntEnum):
    """Error codes; from 100 on they are ours."""

    INCOMPATIBLE_VERSION = 1
    UNSUPPORTED_FIELD = 2
    UNKNOWN_CONTAINER = 3
    INVALID_ENVIRONMENT = 4
    IO_FAILURE = 5
    DECODING_FAILURE = 6
    INVALID_CONFIG = 7
    TRY_AGAIN = 11
    NOT_AVAILABLE = 50
    """STATUS: no pod could be served; those that run are as well as ever."""
    LIMITED_CONNECTIVITY = 51
    """STATUS: no pod could be served, and those that run may be cut off."""
    MISUNDERSTOOD = 100
    """Used by the executable: the agent answered in another protocol."""
    KERNEL_REFUSED = 101
    NETWORK_DIFFERS = 102
    INTERNAL = 103


class CniError(Exception):
    """An error for the runtime: code, one sentence, and details for a machine."""

    def __init__(self, code: Code, message: str, details: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.details = details


@dataclass(frozen=True, slots=True)
class NetConf:
    """The network configuration a runtime passes on standard input, as far as we read it."""

    cni_version: str
    name: str
    mtu: int = DEFAULT_MTU
    """Bytes, of both ends of the pod's veth."""
    previous: Mapping[str, Any] | None = None
    """``prevResult``. CHECK: what ADD has returned, as other plugins of the list may have completed it. ADD: what the
    plugins before us have made; None where we are the first."""
    valid_attachments: frozenset[tuple[str, str]] | None = None
    """Container id and interface name of all that lives; GC releases the rest. None: nobody said, so nothing is."""
    every_card: bool = False
    """The pod's annotation asks for a link on every network card."""


class PodArgs(NamedTuple):
    """What Kubernetes' runtimes say about the pod in CNI_ARGS; empty where nobody said."""

    namespace: str = ""
    name: str = ""
    uid: str = ""


@dataclass(frozen=True, slots=True)
class Invocation:
    """A request that can be acted on."""

    command: str
    config: NetConf
    container_id: str = ""
    ifname: str = ""
    netns: str = ""
    """Path of the network namespace, for the result only; the agent works on the descriptor."""
    pod: PodArgs = field(default_factory=PodArgs)


class Interface(NamedTuple):
    """One end of a pod's veth."""

    name: str
    mac: str


class Ends(NamedTuple):
    """One link of a pod as a result tells of it."""

    host: Interface
    pod: Interface
    addresses: tuple[str, ...]
    """Without mask; those a runtime is told of."""


def gateway(number: int, *, ipv6: bool) -> str:
    """Returns the next hop of a pod's link: ``169.254.1.1`` or ``fe80::1`` for the first (number 0), as in VPC CNI.

    Link-local and answered by a permanent neighbour entry: no ARP, no neighbour discovery, no address of the VPC.
    """
    return f"fe80::{number + 1:x}" if ipv6 else f"169.254.1.{number + 1}"


def with_mask(address: str) -> str:
    """Returns ``10.0.1.23/32`` or ``2001:db8::17/128``."""
    return f"{address}/{128 if ':' in address else 32}"


def parse(environ: Mapping[str, str], stdin: bytes) -> Invocation:
    """Returns the request; raises CniError for the first thing that makes it unusable.

    DEL and GC read no more than they need: a mistake in a conflist must not keep pods from going.
    """
    command = environ.get("CNI_COMMAND", "")
    if command not in REQUIRED:
        message = f"CNI_COMMAND is {command!r}; {', '.join(REQUIRED)} and VERSION are known"
        raise CniError(Code.INVALID_ENVIRONMENT, message)
    missing = [name for name in REQUIRED[command] if not environ.get(name)]
    if missing:
        raise CniError(Code.INVALID_ENVIRONMENT, f"{command} needs {' and '.join(missing)}, not set")
    config = parse_config(command, stdin)
    return Invocation(
        command,
        config,
        container_id=_matching("CNI_CONTAINERID", environ.get("CNI_CONTAINERID", "")),
        ifname=_ifname(environ.get("CNI_IFNAME", "")),
        netns=_netns(environ.get("CNI_NETNS", "")) if command != "DEL" else "",
        pod=parse_args(environ.get("CNI_ARGS", "")) if command == "ADD" else PodArgs(),
    )


def parse_args(text: str) -> PodArgs:
    """Returns the pod in ``K8S_POD_NAMESPACE=default;K8S_POD_NAME=web-0;…``; raises CniError.

    A key we do not know is an error unless the runtime says ``IgnoreUnknown=1``, as libcni's ``LoadArgs`` has it.
    """
    pairs = [pair.partition("=") for pair in text.split(";") if pair]
    broken = [key for key, sign, _ in pairs if not sign or not key]
    if broken:
        message = f"CNI_ARGS has {broken[0]!r}; pairs like K8S_POD_NAME=web-0, separated by semicolons, are allowed"
        raise CniError(Code.INVALID_ENVIRONMENT, message)
    values = {key: value for key, _, value in pairs}
    lenient = values.pop("IgnoreUnknown", "") in {"1", "true", "True", "TRUE", "t", "T"}
    known = ("K8S_POD_NAMESPACE", "K8S_POD_NAME", "K8S_POD_UID")
    unknown = sorted(values.keys() - {*known, "K8S_POD_INFRA_CONTAINER_ID"})
    if unknown and not lenient:
        message = f"CNI_ARGS has the unknown key {unknown[0]!r}; IgnoreUnknown=1 would allow it"
        raise CniError(Code.INVALID_ENVIRONMENT, message)
    return PodArgs(*(values.get(key, "") for key in known))


def parse_config(command: str, stdin: bytes) -> NetConf:
    """Returns the network configuration; unknown fields are ignored, missing ones named. Raises CniError."""
    raw = _decode(stdin)
    missing = [key for key in ("cniVersion", "name", "type") if not raw.get(key)]
    if missing:
        raise CniError(Code.INVALID_CONFIG, f"the network configuration lacks {' and '.join(missing)}")
    version = _version(command, raw["cniVersion"])
    name = _matching("name", _typed(raw, "name", str), Code.INVALID_CONFIG)
    if command == "DEL":
        return NetConf(version, name)
    if command == "GC":
        return NetConf(version, name, valid_attachments=_valid_attachments(raw))
    if raw.get("ipam"):
        message = f"the field ipam is {_shown(raw['ipam'])}; the agent gives the addresses, so it must be absent"
        raise CniError(Code.UNSUPPORTED_FIELD, message)
    previous = _previous(raw, is_needed=command == "CHECK") if command in {"ADD", "CHECK"} else None
    return NetConf(version, name, mtu=_mtu(raw.get("mtu")), previous=previous, every_card=_wants_every_card(raw))


def version_of(stdin: bytes) -> str:
    """Returns the version to write an error in: the configuration's where that can be read, else our newest."""
    try:
        version = _decode(stdin).get("cniVersion")
    except CniError:
        return VERSIONS[-1]
    return version if isinstance(version, str) and version in VERSIONS else VERSIONS[-1]


def dump_result(invocation: Invocation, links: Sequence[Ends], first: int = 0) -> bytes:
    """Returns ADD's result in the shape of the configuration's version.

    Args:
        invocation: the request.
        links: those made, the one that was asked for first.
        first: its number among the links of its pod; only number 0 is the pod's way to everywhere.
    """
    version = invocation.config.cni_version
    ends = [end for link in links for end in _ends(link, invocation.netns)]
    if version == "1.1.0":
        ends = [{**end, "mtu": invocation.config.mtu} for end in ends]
    ips = [_ip(index, first + index, address) for index, link in enumerate(links) for address in link.addresses]
    if version.startswith("0."):
        ips = [{"version": "6" if ":" in ip["address"] else "4", **ip} for ip in ips]
    routes = [_default_route(address) for address in links[0].addresses] if first == 0 else []
    return _dump({"cniVersion": version, "interfaces": ends, "ips": ips, "routes": routes, "dns": {}})


def dump_error(error: CniError, version: str = VERSIONS[-1]) -> bytes:
    """Returns the error as the runtime reads it."""
    fields = {"cniVersion": version, "code": int(error.code), "msg": str(error)}
    return _dump({**fields, "details": error.details} if error.details else fields)


def differences(previous: Mapping[str, Any], links: Sequence[Ends]) -> list[str]:
    """Returns in sentences what ``prevResult`` has otherwise; other plugins may have added to it."""
    ips = [ip.get("address") for ip in _objects(previous.get("ips"))]
    addresses = [with_mask(address) for link in links for address in link.addresses]
    found = [f"prevResult has the addresses {ips}, not {address}" for address in addresses if address not in ips]
    ends = [(end.get("name"), end.get("mac")) for end in _objects(previous.get("interfaces"))]
    ours = [end for link in links for end in (link.host, link.pod)]
    found += [f"prevResult has no interface {end.name} with MAC {end.mac}" for end in ours if end not in ends]
    return found


def _ends(link: Ends, netns: str) -> list[dict[str, Any]]:
    host, pod = link.host, link.pod
    return [{"name": host.name, "mac": host.mac}, {"name": pod.name, "mac": pod.mac, "sandbox": netns}]


def _ip(index: int, number: int, address: str) -> dict[str, Any]:
    """``interface`` counts both ends of each link: the pod's end of link 0 is 1, that of link 1 is 3."""
    hop = gateway(number, ipv6=":" in address)
    return {"address": with_mask(address), "gateway": hop, "interface": 2 * index + 1}


def _default_route(address: str) -> dict[str, str]:
    is_ipv6 = ":" in address
    return {"dst": "::/0" if is_ipv6 else "0.0.0.0/0", "gw": gateway(0, ipv6=is_ipv6)}


def _decode(stdin: bytes) -> dict[str, Any]:
    try:
        raw = json.loads(stdin)
    except (ValueError, RecursionError) as error:  # ValueError: of JSON or of UTF-8
        message = f"the network configuration on standard input is not JSON: {error}"
        raise CniError(Code.DECODING_FAILURE, message) from error
    if not isinstance(raw, dict):
        message = f"the network configuration is {type(raw).__name__} in JSON; an object is allowed"
        raise CniError(Code.DECODING_FAILURE, message)
    return raw


def _version(command: str, value: object) -> str:
    if value not in VERSIONS:
        raise CniError(
            Code.INCOMPATIBLE_VERSION,
            f"the field cniVersion is {_shown(value)}; {', '.join(VERSIONS)} are supported",
        )
    version = str(value)
    if VERSIONS.index(version) < VERSIONS.index(SINCE[command]):
        message = f"{command} exists since cniVersion {SINCE[command]}, the configuration has {version}"
        raise CniError(Code.INCOMPATIBLE_VERSION, message)
    return version


def _typed(raw: Mapping[str, Any], key: str, kind: type[str] | type[dict[str, Any]] | type[list[Any]]) -> Any:
    value = raw[key]
    if not isinstance(value, kind):
        allowed = "a string" if kind is str else "an object" if kind is dict else "a list"
        raise CniError(Code.INVALID_CONFIG, f"the field {key} is {_shown(value)}; {allowed} is allowed")
    return value


def _mtu(value: object) -> int:
    """AWS's own conflist has it as a string; empty or absent means the default."""
    if value is None or value == "":
        return DEFAULT_MTU
    if re.fullmatch("[0-9]{1,5}", str(value)) and SMALLEST_MTU <= int(str(value)) <= DEFAULT_MTU:
        return int(str(value))
    message = f"the field mtu is {_shown(value)}; {SMALLEST_MTU} to {DEFAULT_MTU} bytes are allowed"
    raise CniError(Code.INVALID_CONFIG, message)


def _wants_every_card(raw: Mapping[str, Any]) -> bool:
    """Whoever may make a pod writes its annotations: any other value means nothing, as with VPC CNI."""
    annotations: object = raw
    for key in ("runtimeConfig", POD_ANNOTATIONS):
        if not isinstance(annotations, dict) or annotations.get(key) is None:
            return False
        annotations = _typed(annotations, key, dict)
    return isinstance(annotations, dict) and annotations.get(CARDS_ANNOTATION) == EVERY_CARD


def _previous(raw: Mapping[str, Any], *, is_needed: bool) -> Mapping[str, Any] | None:
    if raw.get("prevResult") is None:
        if is_needed:
            raise CniError(Code.INVALID_CONFIG, "the network configuration lacks prevResult, which CHECK needs")
        return None
    previous = dict(_typed(raw, "prevResult", dict))
    for key in ("interfaces", "ips", "routes"):
        found = previous.get(key) or []
        if not isinstance(found, list) or len(_objects(found)) != len(found):
            message = f"the field {key} of prevResult is {_shown(found)}; a list of objects is allowed"
            raise CniError(Code.INVALID_CONFIG, message)
    return previous


def _valid_attachments(raw: Mapping[str, Any]) -> frozenset[tuple[str, str]] | None:
    """An absent list must never read as an empty one, which would release every pod; libcni may leave it out.

    ``cni.dev/attachments`` is what the specification's first 1.1.0 called it.
    """
    key = next((key for key in ("cni.dev/valid-attachments", "cni.dev/attachments") if raw.get(key) is not None), None)
    if key is None:
        return None
    entries = _typed(raw, key, list)
    pairs = [(entry.get("containerID"), entry.get("ifname")) for entry in _objects(entries)]
    if len(pairs) != len(entries) or not all(isinstance(part, str) and part for pair in pairs for part in pair):
        message = f"the field {key} is {_shown(entries)}; objects with containerID and ifname are allowed"
        raise CniError(Code.INVALID_CONFIG, message)
    return frozenset((str(container_id), str(ifname)) for container_id, ifname in pairs)


def _shown(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 200 else f"{text[:200]}…"


def _objects(value: object) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _matching(name: str, value: str, code: Code = Code.INVALID_ENVIRONMENT) -> str:
    if value and not _NAME.fullmatch(value):
        allowed = "letters, digits, dots, dashes and underscores, the first a letter or digit,"
        raise CniError(code, f"{name} is {value!r}; {allowed} are allowed")
    return value


def _ifname(value: str) -> str:
    if value and (value in {".", ".."} or not _IFNAME.fullmatch(value) or len(value.encode()) > 15):
        message = f"CNI_IFNAME is {value!r}; 1 to 15 bytes without slash, colon or space are allowed"
        raise CniError(Code.INVALID_ENVIRONMENT, message)
    return value


def _netns(value: str) -> str:
    if value and not value.startswith("/"):
        raise CniError(Code.INVALID_ENVIRONMENT, f"CNI_NETNS is {value!r}; an absolute path is allowed")
    return value


def _dump(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
