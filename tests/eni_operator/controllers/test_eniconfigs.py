"""Which ENIConfig a node uses: VPC CNI's order, and selectors between its labels and its default."""

from typing import Any

import pytest

from eni_crds.eniconfig import LabelSelector
from eni_operator.controllers import eniconfigs
from eni_operator.controllers.eniconfigs import Keys
from eni_operator.controllers.kube import KubeObject

KEY = "k8s.amazonaws.com/eniConfig"
EXTERNAL = "vpc.amazonaws.com/externalEniConfig"
KEYS = Keys(KEY, KEY)


def node(labels: dict[str, str] | None = None, annotations: dict[str, str] | None = None) -> KubeObject:
    return {"metadata": {"name": "a", "labels": labels, "annotations": annotations}}


def configs(**specs: dict[str, Any]) -> dict[str, KubeObject]:
    return {name: {"metadata": {"name": name}, "spec": spec} for name, spec in specs.items()}


@pytest.mark.parametrize(
    ("spec_name", "labels", "annotations", "expected"),
    [
        (None, {}, {}, None),
        (None, {KEY: "by-label"}, {}, "by-label"),
        (None, {}, {KEY: "by-annotation"}, "by-annotation"),
        (None, {KEY: "by-label"}, {KEY: "by-annotation"}, "by-annotation"),
        (None, {KEY: "by-label", EXTERNAL: "external"}, {KEY: "by-annotation"}, "external"),
        ("by-pool", {KEY: "by-label", EXTERNAL: "external"}, {KEY: "by-annotation"}, "by-pool"),
    ],
)
def test_the_strongest_naming_counts(
    spec_name: str | None, labels: dict[str, str], annotations: dict[str, str], expected: str | None
) -> None:
    choice = eniconfigs.choose(spec_name, node(labels, annotations), {}, KEYS)
    assert (choice.name if choice else None) == expected


def test_keys_of_ones_own_replace_vpc_cnis() -> None:
    choice = eniconfigs.choose(None, node({"l": "x", KEY: "y"}), {}, Keys("a", "l"))
    assert choice is not None
    assert choice.name == "x"


def test_default_is_meant_under_custom_networking_where_nothing_names_one() -> None:
    keys = Keys(KEY, KEY, falls_to_default=True)
    choice = eniconfigs.choose(None, node(), configs(default={}), keys)
    assert choice is not None
    assert (choice.name, choice.config is not None) == ("default", True)
    named = eniconfigs.choose(None, node({KEY: "zone-a"}), {}, keys)
    assert named is not None
    assert named.name == "zone-a"


def test_of_fitting_selectors_the_highest_priority_counts_and_then_the_name() -> None:
    selected = {"nodeSelector": {"matchLabels": {"pool": "batch"}}}
    found = configs(
        a={**selected, "priority": 1}, c={**selected, "priority": 5}, b={**selected, "priority": 5}, other={}
    )
    choice = eniconfigs.choose(None, node({"pool": "batch"}), found, KEYS)
    assert choice is not None
    assert choice.name == "b"
    assert eniconfigs.choose(None, node({"pool": "web"}), found, KEYS) is None


@pytest.mark.parametrize(
    ("selector", "fits"),
    [
        ({}, True),
        ({"matchLabels": {"a": "1"}}, True),
        ({"matchLabels": {"a": "2"}}, False),
        ({"matchExpressions": [{"key": "a", "operator": "In", "values": ["1", "2"]}]}, True),
        ({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["1"]}]}, False),
        ({"matchExpressions": [{"key": "b", "operator": "NotIn", "values": ["1"]}]}, True),
        ({"matchExpressions": [{"key": "a", "operator": "Exists"}]}, True),
        ({"matchExpressions": [{"key": "a", "operator": "DoesNotExist"}]}, False),
        ({"matchLabels": {"a": "1"}, "matchExpressions": [{"key": "b", "operator": "Exists"}]}, False),
    ],
)
def test_a_selector_means_what_it_means_to_kubernetes(selector: dict[str, Any], *, fits: bool) -> None:
    assert eniconfigs.matches(LabelSelector.parse(selector), {"a": "1"}) == fits


def test_an_eniconfig_that_cannot_be_read_names_the_field() -> None:
    choice = eniconfigs.choose("bad", node(), configs(bad={"subnet": "not-a-subnet"}), KEYS)
    assert choice is not None
    assert choice.is_unreadable
    assert "spec.subnet" in choice.problem


def test_fields_of_other_implementations_do_no_harm() -> None:
    choice = eniconfigs.choose("old", node(), configs(old={"subnet": "subnet-0000000a", "future": {"x": 1}}), KEYS)
    assert choice is not None
    assert choice.config is not None
