"""Runs the benchmarks named on the command line, or all: prints a table each and keeps the figures in latest.json."""

import importlib
import json
import sys
from pathlib import Path

from eni_lab.errors import LabError

sys.path.insert(0, str(Path(__file__).parents[1]))
figures = importlib.import_module("benchmarks.figures")
BENCHMARKS = ("cni", "daemons", "burst", "churn")


def main() -> None:
    """Runs, prints and keeps."""
    for name in sys.argv[1:] or BENCHMARKS:
        if name not in BENCHMARKS:
            sys.exit(f"no benchmark is called {name!r}; there are {', '.join(BENCHMARKS)}")
        print(f"== {name}", flush=True)
        try:
            result = importlib.import_module(f"benchmarks.{name}").run()
        except LabError as error:
            sys.exit(f"{name}: {error}")
        figures.keep(name, result)
        print(json.dumps(result, indent=2), flush=True)


if __name__ == "__main__":
    main()
