from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from eni_lab.fabric.namespaces import entered
from eni_testing import cni
from eni_testing.cni import NODE_ADDRESS, NODE_ADDRESS_IPV6, Pod
from eni_testing.hosts import Host

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(scope="session")
def static_forwarder(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The C executable, just built."""
    return cni.build_forwarder(tmp_path_factory.mktemp("forwarder"))


@pytest.fixture(params=["c", "python"])
def executable(request: pytest.FixtureRequest) -> list[str]:
    """Each of the two executables."""
    if request.param == "python":
        return cni.PYTHON_FORWARDER
    command: list[str] = request.getfixturevalue("static_forwarder")
    return command


@pytest.fixture
def node() -> Iterator[Host]:
    """A node's namespace, which the test and every thread it starts are in."""
    with Host() as host:
        host.run(["ip", "address", "add", f"{NODE_ADDRESS}/32", "dev", "lo"])
        host.run(["ip", "address", "add", f"{NODE_ADDRESS_IPV6}/128", "dev", "lo", "nodad"])
        for family in ("-4", "-6"):
            host.run(["ip", family, "rule", "add", "priority", "512", "lookup", str(cni.POD_TABLE)])
        host.run(["sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"])
        with entered(host.path):
            yield host


@pytest.fixture
def make_pod() -> Iterator[Callable[[], Pod]]:
    """Makes pods' namespaces that go with the test."""
    pods: list[Pod] = []

    def make() -> Pod:
        pods.append(Pod())
        return pods[-1]

    yield make
    for pod in pods:
        pod.close()
