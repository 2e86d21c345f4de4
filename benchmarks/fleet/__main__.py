"""Runs the model of the fleet and prints its table; keeps the figures in ``benchmarks/fleet/latest.json``."""

import argparse
import json
import logging
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Final

from benchmarks.fleet.contest import CONTENDERS, Result, contend
from benchmarks.fleet.scenarios import SCENARIOS

LATEST: Final = Path(__file__).parent / "latest.json"
COLUMNS: Final = (
    "contender",
    "half s",
    "last s",
    "x floor",
    "at rest s",
    "calls",
    "throttled",
    "idle",
    "ENIs",
    "calls/node h",
)
WIDTHS: Final = (14, 8, 8, 8, 10, 8, 10, 7, 6, 13)


def main() -> None:
    """Runs, prints and keeps."""
    parser = argparse.ArgumentParser(prog="fleet", description=__doc__)
    parser.add_argument("--nodes", type=int, default=1000, help="how many join (1000)")
    parser.add_argument("--seed", type=int, default=1, help="of everything that is chance (1)")
    parser.add_argument("--scenario", choices=SCENARIOS, action="append", help="only this one; may be repeated")
    parser.add_argument("--contender", choices=CONTENDERS, action="append", help="only this one; may be repeated")
    asked = parser.parse_args()
    logging.basicConfig(level=logging.ERROR)
    for name in asked.scenario or SCENARIOS:
        scenario = SCENARIOS[name]
        print(
            f"\n{name}: {asked.nodes} nodes, floor {scenario.floor(asked.nodes):.0f} s ({scenario.needed})", flush=True
        )
        print(_row(COLUMNS), flush=True)
        for contender in asked.contender or CONTENDERS:
            result = contend(scenario, CONTENDERS[contender], asked.nodes, seed=asked.seed, tell=_tell)
            _tell("")
            print(_row(_cells(contender, result)), flush=True)
            _keep(f"{name} {contender}", result)


def _keep(name: str, result: Result) -> None:
    """Merges one result into the file of the latest ones, so that a run that is ended keeps what it has."""
    latest = json.loads(LATEST.read_text()) if LATEST.exists() else {}
    figures = {**asdict(result), "ratio": round(result.ratio, 3)}
    figures = {key: None if value == float("inf") else value for key, value in figures.items()}  # JSON has no infinity
    LATEST.write_text(json.dumps({**latest, name: figures}, indent=2, sort_keys=True) + "\n")


def _tell(text: str) -> None:
    """Shows progress on one line that the next one replaces; nothing where nobody looks on."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
    elif text:
        print(text, file=sys.stderr, flush=True)


def _cells(contender: str, result: Result) -> tuple[str, ...]:
    return (
        contender,
        f"{result.half_seconds:.0f}",
        f"{result.last_seconds:.0f}",
        f"{result.ratio:.2f}",
        f"{result.rest_seconds:.0f}",
        str(result.calls_in_all),
        str(result.refused_in_all),
        str(result.idle),
        str(result.secondary_enis),
        f"{result.quiet_calls_per_node:.2f}",
    )


def _row(cells: tuple[str, ...]) -> str:
    [first, *rest] = zip(cells, WIDTHS, strict=True)
    return f"{first[0]:<{first[1]}}" + "".join(f"{cell:>{width}}" for cell, width in rest)


if __name__ == "__main__":
    main()
