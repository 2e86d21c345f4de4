"""What a run of the suite came to, read from ginkgo's JSON report. Pure.

The report is a list of suites with their specs; https://pkg.go.dev/github.com/onsi/ginkgo/v2/types#Report.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

SPECS = 45
"""Of Kubernetes 1.34: ``sig-network`` and ``[Conformance]``, not ``[Serial]``. Fewer would be a filter gone wrong."""
_NOT_RUN = frozenset({"skipped", "pending"})


@dataclass(frozen=True, slots=True)
class Result:
    """One run."""

    ran: int
    passed: int
    failed: tuple[str, ...]
    """Names of the specs that ran and did not pass, and of what failed around them."""
    seconds: float
    expected: int | None
    """How many had to run; None: a choice of them, at least one."""

    @property
    def is_complete(self) -> bool:
        """Whether no spec was missing."""
        return self.ran > 0 if self.expected is None else self.ran == self.expected

    @property
    def is_whole(self) -> bool:
        """Whether every spec there is ran and passed."""
        return self.is_complete and not self.failed


def parse(report: Sequence[dict[str, Any]], expected: int | None = SPECS) -> Result:
    """Reads a report of one suite or several.

    Nodes that are not specs (setup and tear-down of the suite) count only when they failed.
    """
    entries = [entry for suite in report for entry in suite["SpecReports"] or [] if entry["State"] not in _NOT_RUN]
    specs = [entry for entry in entries if entry["LeafNodeType"] == "It"]
    failed = tuple(sorted(_name(entry) for entry in entries if entry["State"] != "passed"))
    passed = sum(entry["State"] == "passed" for entry in specs)
    seconds = sum(suite["RunTime"] for suite in report) / 1e9
    return Result(len(specs), passed, failed, seconds, expected)


def sentence(result: Result) -> str:
    """Such as ``passed 44 of 45 in 96 s, failed:`` and the names."""
    told = f"passed {result.passed} of {result.ran} in {result.seconds:.0f} s"
    if not result.is_complete:
        told += f", but {result.expected or 'some'} should have run"
    return told + (", failed:\n" + "\n".join(f"  {name}" for name in result.failed) if result.failed else "")


def table(results: dict[tuple[str, str], Result | None]) -> str:
    """One line a run, by mode and kube-proxy's mode; None: it did not come to testing."""
    lines = [f"{'mode':12}{'kube-proxy':12}{'passed':>10}{'seconds':>10}"]
    for (mode, proxy), result in results.items():
        figures = f"{result.passed:>4} of {result.ran}{result.seconds:>10.0f}" if result else f"{'did not run':>20}"
        lines.append(f"{mode:12}{proxy:12}{figures}")
    return "\n".join(lines)


def _name(entry: dict[str, Any]) -> str:
    parts = [*(entry["ContainerHierarchyTexts"] or []), entry["LeafNodeText"] or entry["LeafNodeType"]]
    name = " ".join(parts)
    return name if entry["State"] == "failed" else f"{name} ({entry['State']})"
