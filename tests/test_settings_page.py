"""docs/settings.md names every variable the daemons read, and nothing else that looks like one of ours."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCES = ("operator/eni_operator/settings.py", "node_agent/eni_node_agent/settings.py", "cni_shim/forwarder.c")
VARIABLE = r"\b(?:ENI|AWS|HOST|CLUSTER|WARM|MINIMUM|MAX|ENABLE|IP_COOLDOWN|ADDITIONAL|POD|MY)_[A-Z0-9_]+\b"


def read_by_the_daemons() -> set[str]:
    return {name for source in SOURCES for name in re.findall(rf'"({VARIABLE})"', (ROOT / source).read_text())} - {
        "AWS_DEFAULT_REGION"
    }


def test_every_variable_is_on_the_page() -> None:
    page = set(re.findall(VARIABLE, (ROOT / "docs/settings.md").read_text()))
    assert read_by_the_daemons() <= page


def test_the_page_promises_no_variable_that_nobody_reads() -> None:
    promised = set(re.findall(r"\bENI_[A-Z_]+\b", (ROOT / "docs/settings.md").read_text())) - {"ENI_"}
    assert promised <= read_by_the_daemons()
