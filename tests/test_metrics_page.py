"""docs/metrics.md names every metric the daemons serve, and nothing else; the example's queries too."""

import re
from pathlib import Path

from prometheus_client import CollectorRegistry

from eni_crds.vpc_cni_metrics import PREFIX, SHAPES
from eni_node_agent.metrics.measurements import Measurements, Seen
from eni_operator import metrics as operator_metrics

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/metrics.md").read_text()
OURS = r"\b(?:eni_agent|eni_operator)_\w+\b"
NOTHING = Seen(
    supply=None,
    assigned=(),
    counts={},
    waiting=0,
    ready_enis=frozenset(),
    looks={},
    is_serving=False,
    is_marking=False,
    journal_bytes=0,
)


def names_in(registry: CollectorRegistry) -> set[str]:
    families = registry.collect()
    return {family.name + ("_total" if family.type == "counter" else "") for family in families}


def served() -> set[str]:
    agent = names_in(Measurements(lambda: 0.0, lambda: NOTHING).metrics.registry)
    ours = {name for name in agent if name.startswith("eni_agent_")}
    return ours | names_in(operator_metrics.REGISTRY)


def rows(title: str) -> dict[str, list[str]]:
    """Returns the cells of a section's rows by metric; a row may name several."""
    section = PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]
    cells = ([cell.strip() for cell in line.split("|")] for line in section.splitlines() if line.startswith("| `"))
    return {name: row for row in cells for name in re.findall(r"`([a-z_0-9]+)`", row[1])}


def test_every_metric_of_ours_is_on_the_page_and_no_other() -> None:
    assert set(re.findall(OURS, PAGE)) == served()


def test_every_name_of_vpc_cni_is_on_the_page_as_it_is_served() -> None:
    table = rows("VPC CNI's names")
    assert set(table) == {PREFIX + name for name in SHAPES}
    for name, shape in SHAPES.items():
        cells = table[PREFIX + name]
        who = "both" if len(shape.served_by) == 2 else shape.served_by[0]
        assert cells[2:5] == [shape.kind, ", ".join(shape.labels), who], name


def test_the_example_alerts_and_dashboard_ask_for_nothing_else() -> None:
    for name in ("alerts.yaml", "node.json"):
        text = (ROOT / "deploy/dashboards" / name).read_text()
        asked = {re.sub(r"_(bucket|sum|count)$", "", found) for found in re.findall(OURS, text)}
        assert asked, name
        assert asked <= served() | {"eni_agent"}, name
