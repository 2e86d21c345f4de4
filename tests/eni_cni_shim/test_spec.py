from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eni_cni_shim import spec
from eni_cni_shim.spec import CniError, Code, Ends, Interface, Invocation, NetConf, PodArgs
from eni_testing import cni

GOLDEN = Path(__file__).parent / "golden"
HOST = Interface("eni0a1b2c3d4e5", "ee:58:0a:00:01:17")
POD = Interface("eth0", "ea:58:0a:00:01:17")
ENDS = Ends(HOST, POD, ("10.0.1.23",))
TWO_LINKS = [
    Ends(HOST, POD, ("10.0.1.23", "2001:db8::17")),
    Ends(
        Interface("eni1f2e3d4c5b6", "ee:58:0a:00:09:05"),
        Interface("mNicIf1", "ea:58:0a:00:09:05"),
        ("10.0.9.5", "2001:db8:9::5"),
    ),
]
NETNS = "/var/run/netns/cni-1"
ATTACHMENTS = "cni.dev/valid-attachments"


def config(**fields: Any) -> bytes:
    return json.dumps({**cni.CONFIG, **fields}).encode()


def parse(command: str, stdin: bytes, **variables: str) -> Invocation:
    return spec.parse({**cni.environ(command, netns=NETNS), **variables}, stdin)


def error_of(command: str, stdin: bytes, **variables: str) -> CniError:
    with pytest.raises(CniError) as caught:
        parse(command, stdin, **variables)
    return caught.value


def test_add_carries_everything_the_runtime_said() -> None:
    expected = Invocation("ADD", NetConf("1.0.0", "eni", 9001), "c1", "eth0", NETNS, PodArgs("default", "web-0", "u1"))
    assert expected == parse("ADD", config())


def test_unknown_fields_are_ignored() -> None:
    fields = {"runtimeConfig": {"x": 1}, "capabilities": {}, "vethPrefix": "eni", "args": {"cni": 1}, "dns": {}}
    assert parse("ADD", config()) == parse("ADD", config(**fields))


@pytest.mark.parametrize("version", spec.VERSIONS)
def test_result_has_the_shape_of_its_version(version: str) -> None:
    invocation = Invocation("ADD", NetConf(version, "eni"), netns=NETNS)
    result = spec.dump_result(invocation, [ENDS])
    assert json.loads((GOLDEN / f"add-{version}.json").read_text()) == json.loads(result)


@pytest.mark.parametrize("version", spec.VERSIONS)
def test_a_result_of_two_links_of_both_families_names_the_interface_of_each_address(version: str) -> None:
    invocation = Invocation("ADD", NetConf(version, "eni"), netns=NETNS)
    result = spec.dump_result(invocation, TWO_LINKS)
    assert json.loads((GOLDEN / f"add-two-links-{version}.json").read_text()) == json.loads(result)


def test_an_ipv6_pod_has_no_default_route_of_ipv4() -> None:
    invocation = Invocation("ADD", NetConf("1.0.0", "eni"), netns=NETNS)
    result = json.loads(spec.dump_result(invocation, [Ends(HOST, POD, ("2001:db8::17",))]))
    assert result["ips"] == [{"address": "2001:db8::17/128", "gateway": "fe80::1", "interface": 1}]
    assert result["routes"] == [{"dst": "::/0", "gw": "fe80::1"}]


ANNOTATIONS = "io.kubernetes.cri.pod-annotations"


@pytest.mark.parametrize(
    ("runtime_config", "expected"),
    [
        (None, False),
        ({}, False),
        ({ANNOTATIONS: None}, False),
        ({ANNOTATIONS: {}}, False),
        ({ANNOTATIONS: {"k8s.amazonaws.com/nicConfig": "multi-nic-attachment"}}, True),
        ({ANNOTATIONS: {"k8s.amazonaws.com/nicConfig": "multi-nic-attachment", "other": "x"}}, True),
        ({ANNOTATIONS: {"k8s.amazonaws.com/nicConfig": "Multi-NIC-Attachment"}}, False),
        ({ANNOTATIONS: {"k8s.amazonaws.com/nicConfig": ["multi-nic-attachment"]}}, False),
        ({ANNOTATIONS: {"nicConfig": "multi-nic-attachment"}}, False),
    ],
)
def test_only_the_one_annotation_asks_for_every_card(runtime_config: object, *, expected: bool) -> None:
    assert parse("ADD", config(runtimeConfig=runtime_config)).config.every_card is expected


@pytest.mark.parametrize("runtime_config", ["x", [], 1, {ANNOTATIONS: "x"}, {ANNOTATIONS: []}])
def test_annotations_that_are_none_are_refused_in_one_sentence(runtime_config: object) -> None:
    error = error_of("ADD", config(runtimeConfig=runtime_config))
    assert error.code == Code.INVALID_CONFIG
    assert "an object is allowed" in str(error)


def test_the_next_hops_are_vpc_cnis() -> None:
    hops = [spec.gateway(number, ipv6=ipv6) for number in (0, 1, 15) for ipv6 in (False, True)]
    assert hops == ["169.254.1.1", "fe80::1", "169.254.1.2", "fe80::2", "169.254.1.16", "fe80::10"]


def test_error_has_code_sentence_and_details() -> None:
    error = CniError(Code.TRY_AGAIN, "no address: 'subnet-1' is full", "SubnetExhausted")
    assert json.loads((GOLDEN / "error.json").read_text()) == json.loads(spec.dump_error(error, "1.0.0"))


def test_the_executables_announce_the_versions_spoken_here() -> None:
    assert list(spec.VERSIONS) == json.loads((GOLDEN / "version.json").read_text())["supportedVersions"]


@pytest.mark.parametrize(
    ("command", "missing"),
    [(command, name) for command, names in spec.REQUIRED.items() for name in names],
)
@pytest.mark.parametrize("absent", [True, False], ids=["absent", "empty"])
def test_a_missing_variable_is_named(command: str, missing: str, *, absent: bool) -> None:
    environ = {**cni.environ(command, netns=NETNS), missing: ""}
    if absent:
        del environ[missing]
    with pytest.raises(CniError, match=missing) as caught:
        spec.parse(environ, config())
    assert caught.value.code == Code.INVALID_ENVIRONMENT


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("CNI_COMMAND", "add"),
        ("CNI_COMMAND", "UPDATE"),
        ("CNI_COMMAND", ""),
        ("CNI_CONTAINERID", "-c1"),
        ("CNI_CONTAINERID", "a/b"),
        ("CNI_CONTAINERID", "a b"),
        ("CNI_CONTAINERID", "c1\n"),
        ("CNI_IFNAME", "interface-too-long"),
        ("CNI_IFNAME", "ätherätherät0"),
        ("CNI_IFNAME", ".."),
        ("CNI_IFNAME", "a/b"),
        ("CNI_IFNAME", "a:b"),
        ("CNI_IFNAME", "a b"),
        ("CNI_NETNS", "run/netns/x"),
        ("CNI_ARGS", "K8S_POD_NAME"),
        ("CNI_ARGS", "=x;IgnoreUnknown=1"),
        ("CNI_ARGS", "K8S_POD_NAME=x;COLOUR=red"),
        ("CNI_ARGS", "IgnoreUnknown=0;COLOUR=red"),
    ],
)
def test_a_malformed_variable_is_refused_in_one_sentence(variable: str, value: str) -> None:
    error = error_of("ADD", config(), **{variable: value})
    assert error.code == Code.INVALID_ENVIRONMENT
    assert variable in str(error)
    assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ("", PodArgs()),
        (";", PodArgs()),
        ("K8S_POD_NAME=web-0", PodArgs(name="web-0")),
        ("IgnoreUnknown=true;COLOUR=red;K8S_POD_NAMESPACE=default", PodArgs("default")),
        ("K8S_POD_INFRA_CONTAINER_ID=c1;K8S_POD_UID=u=1", PodArgs(uid="u=1")),
    ],
)
def test_args_are_pairs_and_unknown_ones_are_ignored_when_told_so(args: str, expected: PodArgs) -> None:
    assert expected == spec.parse_args(args)


@pytest.mark.parametrize(
    ("stdin", "code", "words"),
    [
        (b"", Code.DECODING_FAILURE, "not JSON"),
        (b"{", Code.DECODING_FAILURE, "not JSON"),
        (b"\xff\xfe{}", Code.DECODING_FAILURE, "not JSON"),
        (b"[" * 100_000, Code.DECODING_FAILURE, "not JSON"),
        (b'{"mtu": ' + b"9" * 5000 + b"}", Code.DECODING_FAILURE, "not JSON"),
        (b"[]", Code.DECODING_FAILURE, "an object is allowed"),
        (b"null", Code.DECODING_FAILURE, "an object is allowed"),
        (b"{}", Code.INVALID_CONFIG, "cniVersion and name and type"),
        (config(name=""), Code.INVALID_CONFIG, "lacks name"),
        (config(type=None), Code.INVALID_CONFIG, "lacks type"),
        (config(name=["eni"]), Code.INVALID_CONFIG, "a string is allowed"),
        (config(name="two words"), Code.INVALID_CONFIG, "two words"),
        (config(cniVersion="0.2.0"), Code.INCOMPATIBLE_VERSION, "0.2.0"),
        (config(cniVersion="2.0.0"), Code.INCOMPATIBLE_VERSION, "0.3.1, 0.4.0, 1.0.0, 1.1.0 are supported"),
        (config(cniVersion=[1]), Code.INCOMPATIBLE_VERSION, "cniVersion"),
        (config(mtu=575), Code.INVALID_CONFIG, "576 to 9001"),
        (config(mtu=9002), Code.INVALID_CONFIG, "9002"),
        (config(mtu="jumbo"), Code.INVALID_CONFIG, "jumbo"),
        (config(mtu="9" * 5000), Code.INVALID_CONFIG, "mtu"),
        (config(mtu=True), Code.INVALID_CONFIG, "true"),
        (config(mtu=1500.0), Code.INVALID_CONFIG, "1500.0"),
        (config(ipam={"type": "host-local"}), Code.UNSUPPORTED_FIELD, 'ipam is {"type": "host-local"}'),
    ],
)
def test_a_bad_configuration_is_refused_in_one_sentence(stdin: bytes, code: Code, words: str) -> None:
    error = error_of("ADD", stdin)
    assert error.code == code
    assert words in str(error)
    assert len(str(error)) < 400


@pytest.mark.parametrize(("mtu", "expected"), [(None, 9001), ("", 9001), ("1500", 1500), (576, 576), (9001, 9001)])
def test_mtu_is_a_number_or_a_numeric_string(mtu: object, expected: int) -> None:
    assert expected == parse("ADD", config(mtu=mtu)).config.mtu


@pytest.mark.parametrize(
    ("command", "too_old", "since"),
    [("CHECK", "0.3.1", "0.4.0"), ("STATUS", "1.0.0", "1.1.0"), ("GC", "1.0.0", "1.1.0")],
)
def test_a_verb_needs_the_version_that_has_it(command: str, too_old: str, since: str) -> None:
    fields: dict[str, Any] = {"prevResult": {}, ATTACHMENTS: []}
    assert error_of(command, config(cniVersion=too_old, **fields)).code == Code.INCOMPATIBLE_VERSION
    assert parse(command, config(cniVersion=since, **fields)).command == command


def test_a_mistake_in_the_conflist_does_not_keep_pods_from_going() -> None:
    stdin = config(mtu="jumbo", ipam={"type": "x"}, prevResult="?")
    assert Invocation("DEL", NetConf("1.0.0", "eni"), "c1", "eth0") == parse("DEL", stdin, CNI_ARGS="?", CNI_NETNS="?")


def test_check_needs_a_previous_result_and_add_may_have_one() -> None:
    assert error_of("CHECK", config()).code == Code.INVALID_CONFIG
    assert parse("ADD", config()).config.previous is None
    assert parse("ADD", config(prevResult={"ips": []})).config.previous == {"ips": []}


@pytest.mark.parametrize("command", ["ADD", "CHECK"])
@pytest.mark.parametrize("previous", [[], "x", {"ips": "?"}, {"interfaces": [None]}, {"routes": {"dst": "0.0.0.0/0"}}])
def test_a_previous_result_that_cannot_be_read_is_refused(command: str, previous: object) -> None:
    assert error_of(command, config(prevResult=previous)).code == Code.INVALID_CONFIG


@pytest.mark.parametrize(
    ("stdin", "version"),
    [(b"?", "1.1.0"), (b"[]", "1.1.0"), (b"{}", "1.1.0"), (config(cniVersion=[]), "1.1.0"), (config(), "1.0.0")]
    + [(config(cniVersion=version), version) for version in spec.VERSIONS],
)
def test_an_error_is_written_in_the_configurations_version_where_there_is_one(stdin: bytes, version: str) -> None:
    assert spec.version_of(stdin) == version


@pytest.mark.parametrize(
    "attachments", [{}, "c1", ["c1"], [{}], [{"containerID": "c1"}], [{"containerID": "c1", "ifname": 1}], [[]]]
)
def test_an_unreadable_list_of_attachments_is_never_an_empty_one(attachments: object) -> None:
    assert error_of("GC", config(cniVersion="1.1.0", **{ATTACHMENTS: attachments})).code == Code.INVALID_CONFIG


@pytest.mark.parametrize("fields", [{}, {ATTACHMENTS: None}])
def test_a_missing_list_of_attachments_is_never_an_empty_one(fields: dict[str, Any]) -> None:
    assert parse("GC", config(cniVersion="1.1.0", **fields)).config.valid_attachments is None
    assert parse("GC", config(cniVersion="1.1.0", **{ATTACHMENTS: []})).config.valid_attachments == frozenset()


@pytest.mark.parametrize("key", [ATTACHMENTS, "cni.dev/attachments"])
def test_valid_attachments_are_read(key: str) -> None:
    entries = [{"containerID": "c1", "ifname": "eth0"}, {"containerID": "c2", "ifname": "eth0", "more": 1}]
    invocation = parse("GC", config(cniVersion="1.1.0", **{key: entries}))
    assert invocation.config.valid_attachments == frozenset({("c1", "eth0"), ("c2", "eth0")})


@pytest.mark.parametrize("version", spec.VERSIONS)
def test_own_result_differs_in_nothing_even_when_others_added_to_it(version: str) -> None:
    invocation = Invocation("ADD", NetConf(version, "eni"), netns=NETNS)
    for links in ([ENDS], TWO_LINKS):
        previous = json.loads(spec.dump_result(invocation, links))
        previous["interfaces"].append({"name": "ifb0"})
        assert spec.differences(previous, links) == []


@pytest.mark.parametrize("previous", [{}, {"ips": None, "interfaces": "?"}, {"ips": [1], "interfaces": [None]}])
def test_a_previous_result_of_another_pod_differs_in_everything(previous: dict[str, Any]) -> None:
    assert len(spec.differences(previous, [ENDS])) == 3
    assert len(spec.differences(previous, TWO_LINKS)) == 8


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
FIELDS = ["cniVersion", "name", "type", "mtu", "ipam", "prevResult", "runtimeConfig", ATTACHMENTS]


@settings(deadline=None)
@given(
    command=st.sampled_from(sorted(spec.REQUIRED)),
    fields=st.dictionaries(st.sampled_from(FIELDS), JSON),
    args=st.text(alphabet=st.characters(exclude_characters="\0")),
)
def test_any_input_is_either_understood_or_a_cni_error(command: str, fields: dict[str, Any], args: str) -> None:
    stdin = config(**{"cniVersion": "1.1.0", **fields})
    codes = set()
    try:
        parse(command, stdin, CNI_ARGS=args, CNI_IFNAME=args or "eth0")
    except CniError as error:
        codes.add(json.loads(spec.dump_error(error))["code"])
    assert codes <= {1, 2, 4, 6, 7}
