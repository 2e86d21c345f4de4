"""Our result behind that of others: nothing of theirs is lost, and every index points where it pointed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eni_cni_shim import chaining, spec
from eni_cni_shim.spec import Ends, Interface, Invocation, NetConf

HOST, POD = Interface("eni0a1b2c3d4e5", "ee:58:0a:00:01:17"), Interface("eth0", "ea:58:0a:00:01:17")
LINKS = [Ends(HOST, POD, ("10.0.1.23",))]


def ours(version: str) -> bytes:
    return spec.dump_result(Invocation("ADD", NetConf(version, "eni"), netns="/run/netns/x"), LINKS)


def appended(previous: Any, version: str = "1.1.0") -> Any:
    return json.loads(chaining.append(previous, ours(version)))


@pytest.mark.parametrize("version", spec.VERSIONS)
@pytest.mark.parametrize("previous", [{}, {"interfaces": None, "ips": None, "routes": None, "dns": None}])
def test_behind_nothing_it_is_our_own(version: str, previous: dict[str, Any]) -> None:
    assert appended(previous, version) == json.loads(ours(version))


def test_theirs_come_first_and_ours_point_behind_them() -> None:
    previous = {
        "cniVersion": "1.0.0",
        "interfaces": [{"name": "cni0"}, {"name": "net0", "sandbox": "/run/netns/x", "pciID": "0000:00:05.0"}],
        "ips": [{"address": "192.168.7.2/24", "interface": 1}, {"address": "2001:db8::2/64"}],
        "routes": [{"dst": "192.168.0.0/16"}],
        "dns": {"nameservers": ["10.0.0.2"]},
        "strange": {"kept": True},
    }
    result = appended(previous)
    assert [each["name"] for each in result["interfaces"]] == ["cni0", "net0", HOST.name, "eth0"]
    assert result["ips"][:2] == previous["ips"]
    assert result["ips"][2]["interface"] == 3
    assert [route["dst"] for route in result["routes"]] == ["192.168.0.0/16", "0.0.0.0/0"]
    assert (result["dns"], result["strange"], result["cniVersion"]) == (previous["dns"], previous["strange"], "1.1.0")


INTERFACES = st.lists(st.fixed_dictionaries({"name": st.text(min_size=1, max_size=5)}), max_size=4)


@given(interfaces=INTERFACES, ips=st.lists(st.fixed_dictionaries({"address": st.just("10.9.9.9/24")}), max_size=3))
def test_every_address_stays_on_the_interface_it_was_on(interfaces: list[Any], ips: list[Any]) -> None:
    previous = {"interfaces": interfaces, "ips": [{**ip, "interface": 0} for ip in ips if interfaces]}
    result = appended(previous)
    on = [result["interfaces"][ip["interface"]] for ip in result["ips"]]
    assert on[:-1] == interfaces[:1] * len(previous["ips"])
    assert on[-1]["name"] == "eth0"
    assert spec.differences(result, LINKS) == []
