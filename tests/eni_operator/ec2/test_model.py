"""The SDK's data cut to our calls: everything we call is in it, and the client works on it."""

import asyncio
import re
import time
from pathlib import Path

import pytest

from eni_operator.domain.eni import InstanceId
from eni_operator.ec2 import client, model
from eni_operator.ec2.client import open_client
from eni_operator.ec2.throttle import Throttle
from eni_testing.ec2 import running_ec2


def test_every_api_the_client_calls_is_kept() -> None:
    source = Path(client.__file__).read_text()
    called = set(re.findall(r'_(?:call|pages|all)\(\s*"(\w+)"', source))
    assert called == set(model.OPERATIONS["ec2/2016-11-15"])


def test_shapes_are_kept_as_far_as_they_are_reached() -> None:
    shapes = {
        "In": {"members": {"A": {"shape": "List"}}},
        "List": {"member": {"shape": "Leaf"}},
        "Leaf": {"type": "string"},
        "Other": {"type": "string"},
    }
    assert model.reachable(shapes, ["In"]) == {"In", "List", "Leaf"}


def test_prose_goes_and_a_member_of_that_name_stays() -> None:
    value = {"documentation": "prose", "members": [{"documentation": {"shape": "X"}, "a": 1}]}
    assert model.without_prose(value) == {"members": [{"documentation": {"shape": "X"}, "a": 1}]}


def test_the_cut_data_is_small(tmp_path: Path) -> None:
    model.write(tmp_path)
    assert sum(file.stat().st_size for file in tmp_path.rglob("*.json")) < 200_000


async def test_the_client_works_on_the_cut_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model.write(tmp_path)
    monkeypatch.setenv("AWS_DATA_PATH", str(tmp_path))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDOPERATOR")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    throttle = Throttle(time.monotonic, asyncio.sleep)
    async with running_ec2() as ec2, open_client(throttle, region="us-east-1", endpoint_url=ec2.url) as opened:
        instance = InstanceId(ec2.run_instance())
        assert [facts.id for facts in await opened.describe_instances([instance])] == [instance]
        assert len(await opened.describe_attached([instance])) == 1
        assert (await opened.describe_limits("m5.large")).enis == 3
