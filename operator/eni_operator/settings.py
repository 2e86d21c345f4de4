"""The operator's settings, read once from the environment and the command line.

Decides what a variable means and what is wrong with it; reads no process state itself. VPC CNI's variables keep its
names and its leniency (a bad value is as if not set, with a warning), ours (``ENI_…``) are strict: every problem is
reported at once, and an unknown one is an error.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from eni_crds.names import LABEL_ENICONFIG
from eni_crds.nodeippool import Mode
from eni_operator.domain.policy import EnvironmentPolicy

LOG_LEVELS: Final = ("debug", "info", "warning", "error")
SCOPES: Final = ("node", "cluster")
_TRUE: Final = frozenset(("1", "t", "T", "TRUE", "true", "True"))
_FALSE: Final = frozenset(("0", "f", "F", "FALSE", "false", "False"))
_AWS_ENI_VARIABLES: Final = frozenset(("ENI_CONFIG_ANNOTATION_DEF", "ENI_CONFIG_LABEL_DEF"))
_FORBIDDEN_TAG: Final = "eks:eni:owner"
"""AWS's resource controller deletes available ENIs that bear it."""

Value = TypeVar("Value")


class SettingsError(Exception):
    """One or more settings are wrong; the message has a line for each."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen."""

    host: str
    port: int


IMDS_ENDPOINT: Final = "http://169.254.169.254"
METRICS_ADDRESS: Final = Address("127.0.0.1", 61681)


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything the process is told from outside."""

    node_name: str
    """MY_NODE_NAME: the node this process works for."""
    scope: str = "node"
    """ENI_SCOPE or --scope."""
    policy: EnvironmentPolicy = field(default_factory=EnvironmentPolicy)
    """VPC CNI's warm, minimum and maximum variables."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """ADDITIONAL_ENI_TAGS: tags for every new ENI."""
    cluster_name: str = ""
    """CLUSTER_NAME: also put on every new ENI."""
    cluster_endpoint: str = ""
    """CLUSTER_ENDPOINT: the API server's address in place of the service's, so that kube-proxy need not be up."""
    eniconfig_annotation: str = LABEL_ENICONFIG
    """ENI_CONFIG_ANNOTATION_DEF: the node's annotation that names its ENIConfig."""
    eniconfig_label: str = LABEL_ENICONFIG
    """ENI_CONFIG_LABEL_DEF: the node's label that names its ENIConfig."""
    ec2_endpoint: str = ""
    """AWS_EC2_ENDPOINT: another address for the EC2 API."""
    imds_endpoint: str = IMDS_ENDPOINT
    """AWS_EC2_METADATA_SERVICE_ENDPOINT: the instance metadata service."""
    region: str = ""
    """AWS_REGION or AWS_DEFAULT_REGION; the metadata service is asked otherwise."""
    metrics_address: Address = METRICS_ADDRESS
    """ENI_METRICS_ADDRESS: /healthz, /readyz and /metrics."""
    log_level: str = "info"
    """ENI_LOG_LEVEL."""
    resync_seconds: int = 1800
    """ENI_RESYNC_SECONDS: EC2 is asked for everything again about this often."""
    warnings: tuple[str, ...] = ()
    """What was ignored, and why."""

    @classmethod
    def from_env(cls, environ: Mapping[str, str], *, scope: str | None = None) -> "Settings":
        """Returns the settings; ``scope`` from the command line wins. Raises SettingsError with every problem."""
        reader = _Reader(environ)
        told_scope = reader.one_of("ENI_SCOPE", SCOPES, "node")
        settings = cls(
            node_name=reader.required("MY_NODE_NAME"),
            scope=scope or told_scope,
            policy=_policy(reader),
            tags=reader.lenient("ADDITIONAL_ENI_TAGS", _tags) or {},
            cluster_name=reader.text("CLUSTER_NAME"),
            cluster_endpoint=reader.text("CLUSTER_ENDPOINT"),
            eniconfig_annotation=reader.text("ENI_CONFIG_ANNOTATION_DEF") or LABEL_ENICONFIG,
            eniconfig_label=reader.text("ENI_CONFIG_LABEL_DEF") or LABEL_ENICONFIG,
            ec2_endpoint=reader.text("AWS_EC2_ENDPOINT"),
            imds_endpoint=reader.text("AWS_EC2_METADATA_SERVICE_ENDPOINT") or IMDS_ENDPOINT,
            region=reader.text("AWS_REGION") or reader.text("AWS_DEFAULT_REGION"),
            metrics_address=reader.strict("ENI_METRICS_ADDRESS", _address, METRICS_ADDRESS),
            log_level=reader.one_of("ENI_LOG_LEVEL", LOG_LEVELS, "info"),
            resync_seconds=reader.strict("ENI_RESYNC_SECONDS", _at_least_one, 1800),
            warnings=tuple(reader.warnings),
        )
        reader.refuse_unknown("ENI_")
        if settings.scope == "cluster":
            reader.problems.append("scope 'cluster' is not in this release: use 'node'")
        if reader.problems:
            raise SettingsError("\n".join(reader.problems))
        return settings


class _Reader:
    """Reads variables and gathers what is wrong with them."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._known: set[str] = set(_AWS_ENI_VARIABLES)
        self.problems: list[str] = []
        self.warnings: list[str] = []

    def text(self, name: str) -> str:
        self._known.add(name)
        return self._environ.get(name, "").strip()

    def required(self, name: str) -> str:
        value = self.text(name)
        if not value:
            self.problems.append(f"{name} must be set: the name of this node, from the downward API's spec.nodeName")
        return value

    def strict(self, name: str, parse: Callable[[str], Value], default: Value) -> Value:
        text = self.text(name)
        if not text:
            return default
        try:
            return parse(text)
        except ValueError as error:
            self.problems.append(f"{name}={text!r} is wrong: {error}")
            return default

    def lenient(self, name: str, parse: Callable[[str], Value]) -> Value | None:
        text = self.text(name)
        if not text:
            return None
        try:
            return parse(text)
        except ValueError as error:
            self.warnings.append(f"{name}={text!r} is ignored: {error}")
            return None

    def one_of(self, name: str, allowed: tuple[str, ...], default: str) -> str:
        text = self.text(name).lower() or default
        if text not in allowed:
            self.problems.append(f"{name}={text!r} is wrong: allowed are {', '.join(allowed)}")
            return default
        return text

    def refuse_unknown(self, prefix: str) -> None:
        unknown = sorted(name for name in self._environ if name.startswith(prefix) and name not in self._known)
        self.problems += [f"{name} is no setting of the operator; it must be removed" for name in unknown]


def _policy(reader: _Reader) -> EnvironmentPolicy:
    prefixes = reader.lenient("ENABLE_PREFIX_DELEGATION", _boolean)
    return EnvironmentPolicy(
        mode=None if prefixes is None else Mode.PREFIX if prefixes else Mode.SECONDARY,
        warm_ips=reader.lenient("WARM_IP_TARGET", _not_negative),
        minimum_ips=reader.lenient("MINIMUM_IP_TARGET", _not_negative),
        warm_prefixes=reader.lenient("WARM_PREFIX_TARGET", _not_negative),
        warm_enis=reader.lenient("WARM_ENI_TARGET", _not_negative),
        maximum_enis=reader.lenient("MAX_ENI", _at_least_one),
        cooldown_seconds=reader.lenient("IP_COOLDOWN_PERIOD", _not_negative),
    )


def _boolean(text: str) -> bool:
    if text not in _TRUE | _FALSE:
        raise ValueError("it is neither true nor false")
    return text in _TRUE


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError("it is not a whole number") from None


def _not_negative(text: str) -> int:
    number = _whole(text)
    if number < 0:
        raise ValueError("it is negative")
    return number


def _at_least_one(text: str) -> int:
    number = _whole(text)
    if number < 1:
        raise ValueError("it must be at least 1")
    return number


def _tags(text: str) -> dict[str, str]:
    """Reads a JSON object of strings; keys of Kubernetes' and EKS's own are dropped as VPC CNI does."""
    tags: Any = json.loads(text)
    if not isinstance(tags, dict) or not all(isinstance(value, str) for value in tags.values()):
        raise ValueError("it is not a JSON object of strings")
    return {key: value for key, value in tags.items() if "k8s.amazonaws.com" not in key and key != _FORBIDDEN_TAG}


def _address(text: str) -> Address:
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdigit() or int(port) > 65535:
        raise ValueError("it must be host:port")
    return Address(host.strip("[]"), int(port))
