"""What a report of ginkgo is read as: every spec that ran counts, and none that should have run may be missing."""

from typing import Any

import pytest

from eni_lab.kube.conformance import results


def spec(state: str, text: str = "resolves", node: str = "It") -> dict[str, Any]:
    return {
        "ContainerHierarchyTexts": ["[sig-network] DNS"],
        "LeafNodeType": node,
        "LeafNodeText": text if node == "It" else "",
        "State": state,
    }


def report(*specs: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"RunTime": 96_000_000_000, "SpecReports": list(specs)}]


def all_passed() -> list[dict[str, Any]]:
    return [spec("passed") for _ in range(results.SPECS)]


def test_a_run_is_whole_when_every_spec_there_is_passed() -> None:
    result = results.parse(report(*all_passed(), *[spec("skipped")] * 7000, spec("pending")))
    assert result.is_whole
    assert results.sentence(result) == f"passed {results.SPECS} of {results.SPECS} in 96 s"


@pytest.mark.parametrize("state", ["failed", "timedout", "panicked", "interrupted", "aborted"])
def test_a_spec_that_did_not_pass_is_named(state: str) -> None:
    result = results.parse(report(*all_passed()[1:], spec(state, "serves")))
    assert not result.is_whole
    [line] = results.sentence(result).splitlines()[1:]
    assert line.strip().startswith("[sig-network] DNS serves")
    assert (state in line) == (state != "failed")


def test_a_filter_that_finds_fewer_specs_is_no_success() -> None:
    result = results.parse(report(spec("passed")))
    assert not result.is_whole
    assert results.sentence(result) == f"passed 1 of 1 in 96 s, but {results.SPECS} should have run"
    assert not results.parse([{"RunTime": 0, "SpecReports": None}]).is_whole


def test_a_choice_of_specs_may_be_any_but_none() -> None:
    assert results.parse(report(spec("passed")), expected=None).is_whole
    nothing = results.parse(report(spec("skipped")), expected=None)
    assert not nothing.is_whole
    assert results.sentence(nothing) == "passed 0 of 0 in 96 s, but some should have run"


def test_a_failed_setup_of_the_suite_counts_and_a_good_one_does_not() -> None:
    setup = "SynchronizedBeforeSuite"
    assert results.parse(report(*all_passed(), spec("passed", node=setup))).ran == results.SPECS
    failed = results.parse(report(*all_passed(), spec("failed", node=setup)))
    assert not failed.is_whole
    assert failed.failed == (f"[sig-network] DNS {setup}",)


def test_the_table_has_a_line_for_each_run_and_for_one_that_never_began() -> None:
    whole = results.parse(report(*all_passed()))
    text = results.table({("secondary", "nftables"): whole, ("prefix", "iptables"): None})
    assert [line.split() for line in text.splitlines()[1:]] == [
        ["secondary", "nftables", str(results.SPECS), "of", str(results.SPECS), "96"],
        ["prefix", "iptables", "did", "not", "run"],
    ]
