"""VPC CNI's metrics as a contract with other people's dashboards: names, types, labels, and how the text is written.

Two processes serve them, each what it can know: the agent what is on the node, the operator what EC2 was asked
(``served_by``). Decides no values: ``eni_node_agent.metrics.vpc_cni`` and ``eni_operator.vpc_cni_metrics`` do.

The text is written here and not by Prometheus's client, which ends every counter's name in ``_total``; VPC CNI's
counters do not, and its metrics helper goes by the TYPE line. Format:
https://prometheus.io/docs/instrumenting/exposition_formats/ (version 0.0.4). Names: amazon-vpc-cni-k8s v1.23.1.
"""

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

PREFIX: Final = "awscni_"


class Shape(NamedTuple):
    """What a metric is."""

    kind: str
    """counter, gauge, histogram or summary."""
    labels: tuple[str, ...]
    served_by: tuple[str, ...]
    """agent, operator."""
    meaning: str


_AGENT, _OPERATOR, _BOTH = ("agent",), ("operator",), ("agent", "operator")

SHAPES: Final[Mapping[str, Shape]] = {
    "ipamd_error_count": Shape("counter", ("fn",), _BOTH, "Failures by what was tried."),
    "ipamd_action_inprogress": Shape("gauge", ("fn",), _BOTH, "What is under way now."),
    "eni_max": Shape("gauge", (), _AGENT, "ENIs this instance can have for pods."),
    "ip_max": Shape("gauge", (), _AGENT, "Addresses this instance can have for pods."),
    "reconcile_count": Shape("counter", ("fn",), _OPERATOR, "What EC2 had otherwise than it was left."),
    "add_ip_req_count": Shape("counter", (), _AGENT, "ADDs asked for."),
    "del_ip_req_count": Shape("counter", ("reason",), _AGENT, "DELs asked for, and ADDs undone."),
    "pod_eni_error_count": Shape("counter", ("fn",), _AGENT, "Failures with branch ENIs, of which there are none."),
    "aws_api_latency_ms": Shape("summary", ("api", "error", "status"), _OPERATOR, "EC2 calls in milliseconds."),
    "aws_api_error_count": Shape("counter", ("api", "error"), _OPERATOR, "EC2 calls that failed, by AWS's code."),
    "aws_utils_error_count": Shape("counter", ("fn", "error"), _OPERATOR, "ENIs that could not be deleted."),
    "ec2api_req_count": Shape("counter", ("fn",), _OPERATOR, "EC2 calls by API."),
    "ec2api_error_count": Shape("counter", ("fn",), _OPERATOR, "EC2 calls that failed, by API."),
    "eni_allocated": Shape("gauge", (), _AGENT, "ENIs attached for pods."),
    "total_ip_addresses": Shape("gauge", (), _AGENT, "Addresses on them."),
    "assigned_ip_addresses": Shape("gauge", (), _AGENT, "Addresses pods hold."),
    "total_ipv4_prefixes": Shape("gauge", (), _AGENT, "IPv4 prefixes on them."),
    "force_removed_enis": Shape("counter", (), _AGENT, "ENIs that left while pods had addresses of them."),
    "force_removed_ips": Shape("counter", (), _AGENT, "Addresses that left while pods held them."),
    "assigned_ip_per_cidr": Shape("gauge", ("cidr",), _AGENT, "Addresses pods hold, by prefix or subnet."),
    "assigned_ip_per_eni": Shape("gauge", ("eni",), _AGENT, "Addresses pods hold, by ENI."),
    "no_available_ip_addresses": Shape("counter", (), _AGENT, "ADDs that ended without an address."),
    "ipamd_startup_duration_seconds": Shape(
        "histogram",
        ("success", "with_api_server", "failure_reason"),
        _AGENT,
        "From the start of the process to its open socket.",
    ),
    "ipamd_node_initialization_duration_seconds": Shape(
        "histogram", ("success",), _AGENT, "From the start of the process to a host network that can serve pods."
    ),
    "connmark_backend": Shape("gauge", ("backend",), _AGENT, "What marks connections: always nftables here."),
    "connmark_reconcile_total": Shape("counter", ("result",), _AGENT, "Looks at the rules that mark."),
    "build_info": Shape("gauge", ("version", "goversion"), _BOTH, "Always 1; goversion is our language's."),
}


class Sample(NamedTuple):
    """One value of a metric."""

    labels: tuple[str, ...]
    """Values, in the order of the shape's labels."""
    value: float
    suffix: str = ""
    """What follows the name: ``_sum``."""


class Family(NamedTuple):
    """A metric with all its values."""

    name: str
    """Without ``awscni_``."""
    samples: tuple[Sample, ...] = ()


def family(name: str, *samples: Sample) -> Family:
    """Returns the metric with these values.

    Raises:
        KeyError: VPC CNI has no such metric.
        ValueError: it has other labels.
    """
    for sample in samples:
        if len(sample.labels) != len(SHAPES[name].labels):
            raise ValueError(f"{name} has the labels {SHAPES[name].labels}, not values {sample.labels}")
    return Family(name, samples)


def dump(families: Iterable[Family]) -> bytes:
    """Returns the metrics as text."""
    return "".join(map(_dump_family, families)).encode()


def _dump_family(metric: Family) -> str:
    shape, name = SHAPES[metric.name], PREFIX + metric.name
    lines = [f"# HELP {name} {shape.meaning}", f"# TYPE {name} {shape.kind}"]
    lines += [
        f"{name}{sample.suffix}{_labels(shape.labels, sample.labels)} {float(sample.value)!r}"
        for sample in metric.samples
    ]
    return "\n".join(lines) + "\n"


def _labels(names: Iterable[str], values: Iterable[str]) -> str:
    pairs = ",".join(f'{name}="{_escaped(value)}"' for name, value in zip(names, values, strict=True))
    return f"{{{pairs}}}" if pairs else ""


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
