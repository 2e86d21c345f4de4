"""Looks at all sides, twice where they differ, and tells what differs. The command's shell.

Decides that a difference must be seen twice, a second apart: pods come and go while one looks. The exit code is 0 when
nothing differs, 1 when something does, 2 when nothing differs in what could be seen but a side could not be.
"""

import json
import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from eni_node_agent.cluster import conflist
from eni_node_agent.inspection import agent, kernel, runtime
from eni_node_agent.inspection.agent import AgentUnseenError
from eni_node_agent.inspection.compare import Finding, findings
from eni_node_agent.inspection.kernel import KernelUnseenError
from eni_node_agent.inspection.runtime import RuntimeUnseenError
from eni_node_agent.inspection.views import AgentView, KernelView, RuntimeView, Views
from eni_node_agent.network.desired import NetworkSettings
from eni_node_agent.settings import Settings

CONFIRM_SECONDS: Final = 1.0
CLEAN, DRIFT, BLIND = 0, 1, 2


class Report(NamedTuple):
    """What an inspection came to."""

    node: str
    findings: tuple[Finding, ...]
    blind: tuple[str, ...]
    sources: dict[str, str]

    @property
    def exit_code(self) -> int:
        """Returns 0: nothing differs, 1: something does, 2: not everything could be seen."""
        return DRIFT if self.findings else BLIND if self.blind else CLEAN


def inspect(settings: Settings, network: NetworkSettings, *, sleep: Callable[[float], None] = time.sleep) -> Report:
    """Returns what differs on this node now and a second later."""
    views = look(settings, network)
    found = findings(views)
    if found:
        sleep(CONFIRM_SECONDS)
        views = look(settings, network)
        again = set(findings(views))
        found = [finding for finding in found if finding in again]
    node = views.agent.state.node if views.agent else settings.node_name
    return Report(node, tuple(found), views.blind, dict(views.sources))


def look(settings: Settings, network: NetworkSettings) -> Views:
    """Returns what each side says now."""
    blind: list[str] = []
    sources: dict[str, str] = {}
    told: AgentView | None = None
    seen: KernelView | None = None
    believed: RuntimeView | None = None
    try:
        told = agent.look(settings)
        sources["supply, ledger"] = "the running agent" if told.is_running else "what the last agent has left"
    except AgentUnseenError as error:
        blind.append(str(error))
    try:
        seen = kernel.look(told.state.supply if told else None, network, settings.proc_sys)
        sources["kernel"] = f"netlink and nftables, {len(seen.pod_routes)} pod routes"
    except KernelUnseenError as error:
        blind.append(str(error))
    try:
        believed = runtime.look(settings.cni_cache_dir, conflist.NETWORK)
        sources["runtime"] = _runtime_source(believed)
    except RuntimeUnseenError as error:
        blind.append(str(error))
    return Views(told, seen, believed, tuple(blind), sources)


def text(report: Report) -> str:
    """Returns the report for a person."""
    lines = [f"{report.node}: {_summary(report)}"]
    for finding in report.findings:
        lines += ["", f"[{finding.sides}] {finding.subject}: {finding.sentence}", f"    {finding.remedy}"]
    lines += ["", *(f"looked at {side}: {source}" for side, source in report.sources.items())]
    lines += [f"could not look: {sentence}" for sentence in report.blind]
    return "\n".join(lines) + "\n"


def document(report: Report) -> str:
    """Returns the report for a program."""
    fields: dict[str, Any] = {
        "node": report.node,
        "differences": [finding._asdict() for finding in report.findings],
        "lookedAt": report.sources,
        "couldNotLook": list(report.blind),
    }
    return json.dumps(fields, indent=2) + "\n"


def _summary(report: Report) -> str:
    count = len(report.findings)
    if count:
        return f"{count} difference{'s' if count > 1 else ''}"
    return "nothing differs in what could be seen" if report.blind else "EC2's view, ledger, kernel and runtime agree"


def _runtime_source(view: RuntimeView) -> str:
    who = "cached results alone" if view.live is None else "cached results and crictl"
    return f"{who}, {len(view.attachments)} attachments"
