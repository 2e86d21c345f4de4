"""Runs upstream's suite against a laboratory: six processes beside each other, in its namespaces, so they end with it.

``e2e.test`` is a client of the API server as any other; that its network is the VPC's router stands for a test machine
inside the VPC. Decides nothing about the result; ``results`` reads the report.
"""

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from eni_lab.errors import LabError
from eni_lab.kube.conformance import images, results
from eni_lab.kube.conformance.binaries import SuiteBinaries
from eni_lab.lab import Lab
from eni_lab.processes import LAB_NAMESPACES, inside
from eni_lab.waiting import Report

FOCUS = r"sig-network.*\[Conformance\]"
SKIP = r"\[Serial\]"
PROCESSES = 6
MINUTES = 20
"""After which ginkgo ends the run; it takes two to four."""
JSON_REPORT, JUNIT_REPORT, LOG = "report.json", "junit.xml", "ginkgo.log"
_PASSED = "•"
"""What ginkgo prints for each spec that passed."""
_PROGRESS_SECONDS = 15.0


def run(lab: Lab, kubectl: Path, built: SuiteBinaries, reports: Path, focus: str = FOCUS) -> results.Result:
    """Runs the specs that ``focus`` matches; both reports and the log are in the folder ``reports`` then.

    Raises:
        LabError: ginkgo wrote no report.
    """
    repositories = reports / "repositories.yaml"
    repositories.write_text(images.REPOSITORIES)
    (reports / JSON_REPORT).unlink(missing_ok=True)
    command = ginkgo_command(built, lab.layout.kubeconfig("admin"), kubectl, reports, focus)
    environ = {**os.environ, "KUBE_TEST_REPO_LIST": str(repositories)}
    _follow(inside(lab.pid, LAB_NAMESPACES, *command), environ, reports / LOG, lab.report)
    if not (reports / JSON_REPORT).exists():
        raise LabError(f"the suite wrote no report; see {reports / LOG}")
    expected = results.SPECS if focus == FOCUS else None
    return results.parse(json.loads((reports / JSON_REPORT).read_text()), expected)


def ginkgo_command(
    built: SuiteBinaries, kubeconfig: Path, kubectl: Path, reports: Path, focus: str = FOCUS
) -> list[str]:
    """The command line; skipped specs are left out of what it prints, they are thousands."""
    return [
        str(built["ginkgo"]),
        f"-procs={PROCESSES}",
        "--silence-skips",
        "--no-color",
        f"--timeout={MINUTES}m",
        f"--focus={focus}",
        f"--skip={SKIP}",
        f"--output-dir={reports}",
        f"--json-report={JSON_REPORT}",
        f"--junit-report={JUNIT_REPORT}",
        str(built["e2e.test"]),
        "--",
        "--provider=skeleton",
        f"--kubeconfig={kubeconfig}",
        f"--kubectl-path={kubectl}",
        "--num-nodes=3",
    ]


def _follow(command: list[str], environ: Mapping[str, str], log: Path, report: Report) -> None:
    with log.open("wb") as file, subprocess.Popen(command, env=environ, stdout=file, stderr=subprocess.STDOUT) as child:
        while child.returncode is None:
            try:
                child.wait(_PROGRESS_SECONDS)
            except subprocess.TimeoutExpired:
                report(f"passed so far: {log.read_text(errors='replace').count(_PASSED)}")
