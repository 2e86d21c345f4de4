"""The contract as the specification has it: each verb, version and error, through executable, socket and kernel."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from eni_cni_shim import protocol, spec
from eni_lab.waiting import wait_for
from eni_testing.cni_client import DONE, Client, faults

if TYPE_CHECKING:
    from collections.abc import Callable

    from eni_testing.agents import AgentNode
    from eni_testing.cni import Pod

pytestmark = pytest.mark.netns

VERSIONS = spec.VERSIONS


def names() -> dict[str, Any]:
    return {"container_id": uuid.uuid4().hex}


def links(node: AgentNode) -> list[str]:
    return [line.split("@")[0] for line in node.host.run(["ip", "-br", "link"]).stdout.splitlines()]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_pods_life_in_each_version(
    make_client: Callable[[list[str]], Client], executable: list[str], node: AgentNode, pod: Pod, version: str
) -> None:
    runtime, me = make_client(executable), names()
    added = runtime.call("ADD", version=version, netns=pod.path, **me)
    assert (added.exit_code, added.stderr) == (0, b"")
    assert faults(added.json, version, pod.path) == []
    check = runtime.call("CHECK", version=version, netns=pod.path, prevResult=added.json, **me)
    assert check == DONE if version != "0.3.1" else check.code == 1
    [address] = [ip["address"].removesuffix("/32") for ip in added.json["ips"]]
    assert node.host.reaches(address)
    assert runtime.call("DEL", version=version, netns=pod.path, prevResult=added.json, **me) == DONE
    wait_for(
        "the interface is gone", lambda: pod.run(["ip", "link", "show", "eth0"], check=False).returncode, seconds=5
    )
    assert f"{address} " not in node.host.run(["ip", "route", "show", "table", "all"]).stdout


def test_the_result_tells_what_the_kernel_has(runtime: Client, node: AgentNode, pod: Pod) -> None:
    me = names()
    result = runtime.call("ADD", netns=pod.path, mtu=1400, **me).json
    host, inside = result["interfaces"]
    for where, told in ((node.host, host), (pod, inside)):
        [link] = json.loads(where.run(["ip", "-j", "link", "show", told["name"]]).stdout)
        assert (link["address"], link["mtu"]) == (told["mac"], told["mtu"])
    [default] = json.loads(pod.run(["ip", "-j", "route", "show", "default"]).stdout)
    assert result["routes"] == [{"dst": "0.0.0.0/0", "gw": default["gateway"]}]
    assert result["ips"][0]["gateway"] == default["gateway"]
    runtime.call("DEL", **me)


@pytest.mark.parametrize(
    ("verb", "version", "code"),
    [
        pytest.param(verb, version, 1, id=f"{verb} {version}")
        for verb, since in spec.SINCE.items()
        for version in ("0.1.0", "0.2.0", *VERSIONS, "1.2.0", "2.0.0")
        if version not in VERSIONS or VERSIONS.index(version) < VERSIONS.index(since)
    ],
)
def test_a_verb_in_a_version_that_has_it_not_is_code_1(runtime: Client, verb: str, version: str, code: int) -> None:
    fields: dict[str, Any] = {"prevResult": {}, "cni.dev/valid-attachments": []}
    answer = runtime.call(verb, version=version, netns="/run/netns/x", **fields)
    assert answer.code == code
    assert version in answer.json["msg"]


MISTAKES: dict[str, tuple[int, list[str], dict[str, Any]]] = {
    "ipam": (2, ["ipam", "host-local"], {"ipam": {"type": "host-local"}}),
    "no name": (7, ["name"], {"name": ""}),
    "no type": (7, ["type"], {"type": None}),
    "a name of another kind": (7, ["name", "[1]"], {"name": [1]}),
    "a name that is a path": (7, ["../x"], {"name": "../x"}),
    "mtu too small": (7, ["mtu", "68"], {"mtu": 68}),
    "mtu no number": (7, ["mtu", "jumbo"], {"mtu": "jumbo"}),
    "prevResult a list": (7, ["prevResult", "[]"], {"prevResult": []}),
    "interfaces no list": (7, ["interfaces", "prevResult"], {"prevResult": {"interfaces": {"name": "eth0"}}}),
    "ips no objects": (7, ["ips", "prevResult"], {"prevResult": {"ips": ["10.0.0.1"]}}),
    "routes no objects": (7, ["routes", "prevResult"], {"prevResult": {"routes": [None]}}),
}


@pytest.mark.parametrize(("code", "words", "fields"), MISTAKES.values(), ids=MISTAKES)
@pytest.mark.parametrize("version", VERSIONS)
def test_a_mistake_in_the_configuration_has_its_code_and_is_named(
    runtime: Client, pod: Pod, version: str, code: int, words: list[str], fields: dict[str, Any]
) -> None:
    answer = runtime.call("ADD", version=version, netns=pod.path, **fields)
    assert answer.code == code
    assert answer.json["cniVersion"] == version
    assert all(word in answer.json["msg"] for word in words), answer


@pytest.mark.parametrize(
    ("verb", "variable"), [(verb, variable) for verb, needed in spec.REQUIRED.items() for variable in needed]
)
def test_a_variable_that_is_missing_is_code_4_and_named(runtime: Client, verb: str, variable: str) -> None:
    answer = runtime.call(verb, netns="/run/netns/x", variables={variable: ""}, prevResult={})
    assert answer.code == 4
    assert variable in answer.json["msg"]


BAD_VARIABLES = [
    ("CNI_CONTAINERID", "../../etc"),
    ("CNI_CONTAINERID", "x" * 70_000 + "/"),
    ("CNI_IFNAME", "a/b"),
    ("CNI_IFNAME", "sixteen-bytes-xx"),
    ("CNI_NETNS", "run/netns/x"),
    ("CNI_NETNS", "/nonexistent"),
    ("CNI_NETNS", "/etc/hostname"),
    ("CNI_ARGS", "K8S_POD_NAME"),
    ("CNI_COMMAND", "UPDATE"),
]


@pytest.mark.parametrize(("variable", "value"), BAD_VARIABLES)
def test_a_variable_that_makes_no_sense_is_code_4_and_named(runtime: Client, variable: str, value: str) -> None:
    answer = runtime.call("ADD", variables={"CNI_NETNS": "/nonexistent", variable: value})
    assert answer.code == 4
    assert variable in answer.json["msg"]


def test_the_hosts_own_namespace_is_no_pods(runtime: Client, node: AgentNode) -> None:
    answer = runtime.call("ADD", netns=node.host.path)
    assert answer.code == 4
    assert "CNI_NETNS" in answer.json["msg"]


@pytest.mark.parametrize("verb", spec.REQUIRED)
@pytest.mark.parametrize(
    ("stdin", "code"),
    [
        pytest.param(b"x" * (protocol.LARGEST_BODY + 1), 5, id="huge"),
        pytest.param(b"", 6, id="empty"),
        pytest.param(b"[]", 6, id="list"),
        pytest.param(b"\xff\xfe\x00", 6, id="bytes"),
        pytest.param(b'{"cniVersion": "1.1.0"', 6, id="cut"),
        pytest.param(b"[" * 100_000, 6, id="deep"),
    ],
)
def test_input_that_cannot_be_read_has_its_code(runtime: Client, verb: str, stdin: bytes, code: int) -> None:
    assert runtime.call(verb, netns="/run/netns/x", stdin=stdin).code == code


def test_an_unknown_container_is_code_3(runtime: Client, pod: Pod) -> None:
    me = names()
    answer = runtime.call("CHECK", netns=pod.path, prevResult={}, **me)
    assert answer.code == 3
    assert me["container_id"] in answer.json["msg"]


def test_an_interface_of_that_name_is_an_error_and_nothing_is_left(runtime: Client, node: AgentNode, pod: Pod) -> None:
    pod.run(["ip", "link", "add", "eth0", "type", "veth", "peer", "other"])
    before, me = links(node), names()
    answer = runtime.call("ADD", netns=pod.path, **me)
    assert answer.code == 101
    assert "eth0" in answer.json["msg"]
    assert set(links(node)) <= set(before)  # a veth of the test before may have gone meanwhile
    assert runtime.call("CHECK", netns=pod.path, prevResult={}, **me).code == 3


def test_add_twice_gives_the_same_attachment_twice(runtime: Client, pod: Pod) -> None:
    me = names()
    first = runtime.call("ADD", netns=pod.path, **me)
    assert first.exit_code == 0
    assert runtime.call("ADD", netns=pod.path, **me) == first
    assert runtime.call("CHECK", netns=pod.path, prevResult=first.json, **me) == DONE
    runtime.call("DEL", **me)


@pytest.mark.parametrize("stdin", [b"", b"{}", b"\xff", b'{"cniVersion": "0.4.0"}'])
@pytest.mark.parametrize("netns", ["", "dummy"])
def test_version_is_told_whatever_comes_with_it(
    make_client: Callable[[list[str]], Client], executable: list[str], stdin: bytes, netns: str
) -> None:
    answer = make_client(executable).call("VERSION", stdin=stdin, netns=netns)
    assert answer.exit_code == 0
    assert answer.json == {"cniVersion": "1.1.0", "supportedVersions": list(VERSIONS)}
