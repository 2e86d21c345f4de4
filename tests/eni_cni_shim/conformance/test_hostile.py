"""Whatever a runtime sends, it gets an answer of the contract, and the agent serves the next one."""

from __future__ import annotations

import json
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eni_cni_shim import spec

if TYPE_CHECKING:
    from eni_testing.agents import AgentNode
    from eni_testing.cni import Pod
    from eni_testing.cni_client import Client

pytestmark = pytest.mark.netns

KNOWN = [
    "cniVersion", "name", "type", "mtu", "ipam", "prevResult", "runtimeConfig", "args", "capabilities", "dns",
    "cni.dev/valid-attachments", "cni.dev/attachments",
]  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KNOWN) | st.text(), inner, max_size=3),
    max_leaves=12,
)
CODES = {1, 2, 3, 4, 5, 6, 7, 11, 50, 51, 101, 102}  # 103 would be a fault of ours


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    verb=st.sampled_from(sorted(spec.REQUIRED)),
    fields=st.dictionaries(st.sampled_from(KNOWN), JSON, max_size=6),
    args=st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=30),
)
def test_any_configuration_gets_an_answer_of_the_contract(
    runtime: Client, verb: str, fields: dict[str, Any], args: str
) -> None:
    answer = runtime.call(verb, netns="/nonexistent", variables={"CNI_ARGS": args}, **fields)
    assert answer.exit_code == 0 or answer.code in CODES, answer


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(verb=st.sampled_from(sorted(spec.REQUIRED)), stdin=st.binary(max_size=200))
def test_any_bytes_get_an_answer_of_the_contract(runtime: Client, verb: str, stdin: bytes) -> None:
    assert runtime.call(verb, netns="/nonexistent", stdin=stdin).code in CODES


@pytest.mark.parametrize(
    "document",
    [
        b'{"cniVersion": "1.1.0", "cniVersion": "0.1.0", "name": "eni", "type": "eni-cni"}',
        b'{"cniVersion": "1.1.0", "name": "eni", "type": "eni-cni", "mtu": 1e400}',
        b'{"cniVersion": "1.1.0", "name": "eni", "type": "eni-cni", "mtu": NaN}',
        b'{"cniVersion": "1.1.0", "name": "\\ud800", "type": "eni-cni"}',
        b'{"cniVersion": "1.1.0", "name": "eni", "type": "eni-cni", "prevResult": {"ips": ' + b"[" * 5000 + b"}",
        json.dumps({"name": "eni" * 300_000, "type": "eni-cni", "cniVersion": "1.1.0"}).encode(),
        json.dumps({"cniVersion": "1.1.0", "name": "e", "type": "x", "ipam": {"type": "y" * 500_000}}).encode(),
    ],
    ids=["twice", "infinite", "NaN", "lone surrogate", "deep", "long name", "long field"],
)
def test_documents_made_to_hurt_are_refused_in_a_short_sentence(runtime: Client, document: bytes) -> None:
    answer = runtime.call("ADD", netns="/nonexistent", stdin=document)
    assert answer.code in CODES
    assert len(answer.stdout) < 2000


def test_the_agent_lives_through_a_crowd_of_them(runtime: Client, node: AgentNode, pod: Pod) -> None:
    before = node.pid
    bad = [{"stdin": b"x" * 500_000}, {"mtu": []}, {"variables": {"CNI_NETNS": "/dev/null"}}, {"version": "9.9.9"}]
    with ThreadPoolExecutor(8) as threads:
        answers = [threads.submit(runtime.call, verb, **how) for verb in spec.REQUIRED for how in bad * 3]  # type: ignore[arg-type]
        assert {answer.result().exit_code for answer in answers} == {0, 1}
    me = uuid.uuid4().hex
    assert runtime.call("ADD", container_id=me, netns=pod.path).exit_code == 0
    assert node.pid == before
    runtime.call("DEL", container_id=me)
