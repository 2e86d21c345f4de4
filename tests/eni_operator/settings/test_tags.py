"""ADDITIONAL_ENI_TAGS: what reaches a new ENI, and what is told to be dropped."""

import json

import pytest

from eni_operator.settings import Settings


def read(text: str) -> Settings:
    return Settings.from_env({"MY_NODE_NAME": "node-a", "ADDITIONAL_ENI_TAGS": text})


def test_a_json_object_of_strings_is_taken() -> None:
    settings = read('{"team": "net", "empty": ""}')
    assert (settings.tags, settings.warnings) == ({"team": "net", "empty": ""}, ())


@pytest.mark.parametrize("text", ["{", "[]", "null", '"a"', '{"a": 1}', '{"a": null}', "a=b", "[" * 100_000])
def test_anything_else_is_ignored_whole(text: str) -> None:
    settings = read(text)
    assert (settings.tags, settings.warnings) == (
        {},
        (f"ADDITIONAL_ENI_TAGS={text!r} is ignored: it must be a JSON object of strings",),
    )


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        (
            "node.k8s.amazonaws.com/instance_id",
            "i-1",
            "keys that contain k8s.amazonaws.com are Kubernetes' and EKS's own",
        ),
        ("k8s.amazonaws.com", "x", "keys that contain k8s.amazonaws.com are Kubernetes' and EKS's own"),
        ("eks:eni:owner", "me", "AWS's resource controller deletes available ENIs that bear it"),
        ("aws:name", "x", "keys that begin with aws: are AWS's own"),
        ("AWS:name", "x", "keys that begin with aws: are AWS's own"),
        ("", "x", "a key has 1 to 128 characters, this one 0"),
        ("k" * 129, "x", "a key has 1 to 128 characters, this one 129"),
        ("long", "v" * 257, "a value has at most 256 characters, this one 257"),
    ],
)
def test_a_tag_we_or_ec2_would_not_take_is_dropped_alone_and_named(key: str, value: str, why: str) -> None:
    settings = read(json.dumps({key: value, "team": "net"}))
    assert settings.tags == {"team": "net"}
    assert settings.warnings == (f"ADDITIONAL_ENI_TAGS: the tag {key!r} is dropped: {why}",)


@pytest.mark.parametrize(("key", "value"), [("k" * 128, "v" * 256), ("awsome", "x"), ("ä" * 128, "x")])
def test_a_tag_at_ec2s_limits_is_taken(key: str, value: str) -> None:
    assert read(json.dumps({key: value})).tags == {key: value}
