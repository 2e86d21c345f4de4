"""Flags of the control plane that the suite's assumptions rest on."""

from pathlib import Path

from eni_lab.kube import control_plane
from eni_lab.layout import Layout


def test_nodes_may_write_their_own_objects_only() -> None:
    flags = control_plane.api_server_flags(Path("pki"))
    assert "--authorization-mode=Node,RBAC" in flags
    assert "--enable-admission-plugins=NodeRestriction" in flags
    assert "--anonymous-auth=false" in flags


def test_services_have_a_second_family_on_request_only() -> None:
    ranges = [
        next(flag.partition("=")[2] for flag in flags if flag.startswith("--service-cluster-ip-range="))
        for flags in (control_plane.api_server_flags(Path("pki"), dual_stack=dual) for dual in (False, True))
    ]
    assert ranges == ["172.20.0.0/16", "172.20.0.0/16,fd00:ec2:20::/112"]


def test_a_silent_node_is_noticed_soon() -> None:
    flags = control_plane.controller_manager_flags(Layout(Path("cache"), Path("state")))
    assert "--node-monitor-grace-period=16s" in flags


def test_nobody_outside_the_laboratory_reaches_etcd() -> None:
    flags = control_plane.etcd_flags(Layout(Path("cache"), Path("state")))
    assert not [flag for flag in flags if "://" in flag and "127.0.0.1" not in flag]
