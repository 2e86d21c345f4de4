"""The IAM policy users attach: what the client calls, no more, and only our own ENIs where AWS lets us say so.

Which action takes which resource and condition:
https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonec2.html
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from eni_crds.names import TAG_FORBIDDEN, TAG_INSTANCE
from eni_operator.ec2 import model

POLICY = json.loads((Path(__file__).parents[3] / "deploy/iam-policy.json").read_text())
ENIS = "arn:aws:ec2:*:*:network-interface/*"


def listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def statements(action: str, resource: str) -> Iterator[dict[str, Any]]:
    for statement in POLICY["Statement"]:
        if f"ec2:{action}" in listed(statement["Action"]) and resource in listed(statement["Resource"]):
            yield statement


def test_it_names_exactly_what_the_client_calls() -> None:
    granted = {action for statement in POLICY["Statement"] for action in listed(statement["Action"])}
    assert granted == {f"ec2:{operation}" for operation in model.OPERATIONS["ec2/2016-11-15"]}


def test_only_reading_is_allowed_on_everything() -> None:
    [everywhere] = [statement for statement in POLICY["Statement"] if "*" in listed(statement["Resource"])]
    assert all(action.startswith(("ec2:Describe", "ec2:Get")) for action in everywhere["Action"])


@pytest.mark.parametrize("action", ["AttachNetworkInterface", "DetachNetworkInterface", "DeleteNetworkInterface"])
def test_only_enis_with_our_tag_are_moved_or_deleted(action: str) -> None:
    [statement] = statements(action, ENIS)
    assert statement["Condition"] == {"Null": {f"aws:ResourceTag/{TAG_INSTANCE}": "false"}}


def test_no_eni_is_created_without_our_tag() -> None:
    [statement] = statements("CreateNetworkInterface", ENIS)
    assert statement["Condition"] == {"Null": {f"aws:RequestTag/{TAG_INSTANCE}": "false"}}


def test_nothing_but_an_eni_is_tagged_and_never_for_awss_own_controller() -> None:
    [statement] = [s for s in POLICY["Statement"] if "ec2:CreateTags" in listed(s["Action"])]
    assert statement["Resource"] == ENIS
    assert statement["Condition"] == {"ForAllValues:StringNotEquals": {"aws:TagKeys": [TAG_FORBIDDEN]}}
