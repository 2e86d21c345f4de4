import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eni_node_agent.takeover import checkpoint
from eni_node_agent.takeover.checkpoint import Allocation, CheckpointError

ENTRY: dict[str, Any] = {
    "networkName": "aws-cni",
    "containerID": "5f" * 32,
    "ifName": "eth0",
    "ipv4": "10.0.1.21",
    "allocationTimestamp": 1_700_000_000_000_000_000,
    "metadata": {"k8sPodNamespace": "default", "k8sPodName": "web-0", "interfacesCount": 2},
}
READ = Allocation("10.0.1.21", "5f" * 32, "eth0", "default", "web-0", 2)


def dump(*entries: object, version: str = "vpc-cni-ipam/1") -> str:
    return json.dumps({"version": version, "allocations": list(entries)})


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, READ),
        ({"metadata": {"k8sPodNamespace": "default", "k8sPodName": "web-0"}}, READ._replace(interfaces=1)),
        ({"metadata": {}}, READ._replace(pod_namespace="", pod_name="", interfaces=1)),
        ({"networkName": "_migrated-from-cri", "ifName": "unknown"}, READ),
        ({"ipv4": "", "ipv6": "2001:DB8::1"}, READ._replace(address="2001:db8::1")),
    ],
    ids=["as it is", "before there were cards", "no pod known", "from the runtime", "IPv6"],
)
def test_what_an_entry_says(change: dict[str, Any], expected: Allocation) -> None:
    assert checkpoint.parse(dump(ENTRY | change)) == ((expected,), ())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"ipv4": "10.0.1.300"}, "'10.0.1.300' does not appear to be an IPv4 or IPv6 address"),
        ({"ipv6": "2001:db8::1"}, "2 of the fields ipv4 and ipv6"),
        ({"ipv4": 7}, "ipv4 is 7"),
        ({"containerID": "../../etc"}, 'containerID is "../../etc"'),
        ({"ifName": ""}, 'ifName is ""'),
        ({"metadata": [1]}, "metadata is [1]"),
        ({"metadata": {"k8sPodName": "A;rm"}}, 'k8sPodName is "A;rm"'),
        ({"metadata": {"interfacesCount": 10**9}}, "interfacesCount is 1000000000; 0 to 64"),
    ],
)
def test_an_entry_that_cannot_be_is_told_and_the_others_are_read(change: dict[str, Any], said: str) -> None:
    found = checkpoint.parse(dump(ENTRY | change, ENTRY, "text"))
    assert found.allocations == (READ,)
    assert found.problems[0].startswith("allocations[0]: ")
    assert said in found.problems[0]
    assert found.problems[1] == 'allocations[2]: it is "text"; an object is allowed'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "it is list in JSON"),
        (dump(version="vpc-cni-ipam/2"), 'version is "vpc-cni-ipam/2"; "vpc-cni-ipam/1" is understood'),
        ('{"version": "vpc-cni-ipam/1", "allocations": {"a": 1}}', "allocations is dict"),
    ],
)
def test_a_file_that_is_no_checkpoint_is_refused_in_a_sentence(text: str, said: str) -> None:
    with pytest.raises(CheckpointError, match=re.escape(said)):
        checkpoint.parse(text)


FIELDS = st.sampled_from(list(ENTRY))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner),
    max_leaves=12,
)


@given(st.lists(JSON | st.dictionaries(FIELDS, JSON), max_size=5))
def test_no_entry_is_lost_without_a_word(entries: list[object]) -> None:
    found = checkpoint.parse(dump(*entries))
    assert len(found.allocations) + len(found.problems) == len(entries)


def test_what_is_no_file_of_its_size_is_not_read(tmp_path: Path) -> None:
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(checkpoint.LARGEST_BYTES + 1)
    for path in (tmp_path, large):
        with pytest.raises(CheckpointError, match="no file of at most"):
            checkpoint.text_of(path)
    (tmp_path / "torn").write_bytes(b"\xff{")
    with pytest.raises(CheckpointError, match="not JSON"):
        checkpoint.parse(checkpoint.text_of(tmp_path / "torn"))
