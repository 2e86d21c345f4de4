"""Metric families under names Prometheus's client would change, as the text format has them.

The client ends every counter's name in ``_total``; VPC CNI's counters do not, and its metrics helper goes by the TYPE
line. Format: https://prometheus.io/docs/instrumenting/exposition_formats/ (version 0.0.4).
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple


class Sample(NamedTuple):
    """One value of a family."""

    labels: Mapping[str, str]
    value: float
    suffix: str = ""
    """What follows the family's name: ``_sum``."""


class Family(NamedTuple):
    """A metric with all its values."""

    name: str
    kind: str
    """counter, gauge or summary."""
    meaning: str
    samples: tuple[Sample, ...] = ()


def dump(families: Iterable[Family]) -> bytes:
    """Returns the families as text."""
    return "".join(map(_dump_family, families)).encode()


def _dump_family(family: Family) -> str:
    meaning = family.meaning.replace("\\", r"\\").replace("\n", r"\n")
    lines = [f"# HELP {family.name} {meaning}", f"# TYPE {family.name} {family.kind}"]
    lines += [f"{family.name}{each.suffix}{_labels(each.labels)} {float(each.value)!r}" for each in family.samples]
    return "\n".join(lines) + "\n"


def _labels(labels: Mapping[str, str]) -> str:
    pairs = ",".join(f'{name}="{_escaped(value)}"' for name, value in sorted(labels.items()))
    return f"{{{pairs}}}" if pairs else ""


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
