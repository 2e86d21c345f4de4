"""``make conformance``: performs runs of the matrix one after the other and prints a table of what they came to.

Parses and prints; ``runs`` does the work.
"""

import argparse
import os
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from eni_lab.errors import LabError
from eni_lab.kube.conformance import results, runs, suite
from eni_lab.lab import Lab
from eni_lab.layout import Layout
from eni_lab.waiting import stopwatch


def parser() -> argparse.ArgumentParser:
    """What may be chosen."""
    made = argparse.ArgumentParser(prog="conformance", description="Upstream's network conformance with our plugin.")
    made.add_argument("--mode", choices=sorted(runs.MODES), help="of the product (default: each)")
    made.add_argument("--proxy", choices=runs.PROXIES, help="kube-proxy's mode (default: each)")
    made.add_argument("--focus", default=suite.FOCUS, help="regular expression of the tests (default: %(default)s)")
    made.add_argument("--keep", action="store_true", help="make one run only and leave its cluster up")
    return made


def chosen(mode: str | None, proxy: str | None) -> list[runs.Run]:
    """The runs of the matrix that fit."""
    return [run for run in runs.MATRIX if mode in {None, run.mode} and proxy in {None, run.proxy}]


def main(arguments: Sequence[str] | None = None) -> int:
    """Performs the runs; 0 when every one passed whole, 1 otherwise."""
    options = parser().parse_args(arguments)
    lab = Lab(_layout(), os.environ, stopwatch())
    try:
        parts = runs.prepare(lab, dict(os.environ))
    except (LabError, OSError, subprocess.CalledProcessError) as error:
        lab.report(f"nothing can be tested: {error}")
        return 1
    came_to: dict[tuple[str, str], results.Result | None] = {}
    for run in chosen(options.mode, options.proxy)[: 1 if options.keep else None]:
        came_to[run.mode, run.proxy] = _perform(lab, parts, run, options)
    print("\n" + results.table(came_to))
    return 0 if all(result and result.is_whole for result in came_to.values()) else 1


def _perform(lab: Lab, parts: runs.Parts, run: runs.Run, options: argparse.Namespace) -> results.Result | None:
    reports = lab.layout.cache / "conformance" / "reports" / run.name
    lab.report(f"{run.name}: reports in {reports}")
    lab.down()
    try:
        result = runs.perform(lab, parts, run, reports, focus=options.focus, tied=not options.keep)
    except (LabError, OSError, subprocess.CalledProcessError) as error:
        lab.report(f"{run.name} did not come to testing: {error}")
        return None
    finally:
        runs.keep_logs(lab, reports)
        if not options.keep:
            lab.down()
    lab.report(f"{run.name}: {results.sentence(result)}")
    return result


def _layout() -> Layout:
    """A laboratory of its own, beside the one that ``eni-lab`` brings up."""
    layout = Layout.from_env(os.environ, Path.home())
    return layout if "ENI_LAB_STATE" in os.environ else replace(layout, state=layout.cache / "run" / "conformance")
