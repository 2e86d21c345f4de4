"""docs/operations.md has a section for every reason a person can meet, and for no other."""

import re
from pathlib import Path

from eni_crds.conditions import ConditionType, Reason

PAGE = (Path(__file__).parents[1] / "docs/operations.md").read_text()
ALL_IS_WELL = {
    Reason.POOL_READY,
    Reason.ADDRESSES_AVAILABLE,
    Reason.AGENT_SERVING,
    Reason.NETWORK_IN_ORDER,
    Reason.NOT_AFFECTED,
    Reason.ENICONFIG_READY,
    Reason.ENICONFIG_UNUSED,
}


def test_every_reason_has_a_section() -> None:
    assert set(re.findall(r"^### (\w+)$", PAGE, re.MULTILINE)) == {r.value for r in Reason} - ALL_IS_WELL


def test_every_condition_is_explained() -> None:
    assert {type_ for type_ in ConditionType if f"`{type_}`" not in PAGE} == set()


def test_every_difference_an_inspection_can_find_is_explained() -> None:
    source = (Path(__file__).parents[1] / "node_agent/eni_node_agent/inspection/compare.py").read_text()
    kinds = set(re.findall(r'Finding\(\s*"([a-z]+\.\w+)"', source))
    kinds |= {f"pod.{kind}" for kind in re.findall(r'yield finding\(\s*"(\w+)"', source)}
    assert len(kinds) > 15
    assert kinds == set(re.findall(r"`([a-z]+\.[a-z_]+)`", PAGE.split("| difference | sides |")[1].split("\n\n")[0]))
