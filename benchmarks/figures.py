"""What every benchmark needs of its figures: quantiles, and the file they are kept in."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

LATEST = Path(__file__).parent / "latest.json"


def quantile(values: Sequence[float], share: float) -> float:
    """Returns the value that this share of all does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def keep(name: str, figures: Any) -> None:
    """Merges one benchmark's figures into the file of the latest ones."""
    latest = json.loads(LATEST.read_text()) if LATEST.exists() else {}
    LATEST.write_text(json.dumps({**latest, name: figures}, indent=2) + "\n")
