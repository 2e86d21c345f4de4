from collections.abc import Iterator

import pytest

from eni_testing.hosts import Host
from eni_testing.routed import RoutedLab


@pytest.fixture
def lab() -> Iterator[RoutedLab]:
    with RoutedLab() as routed:
        yield routed


@pytest.fixture
def node_a(lab: RoutedLab) -> Iterator[Host]:
    with Host() as node:
        lab.plug("i-0000000000000000a", node)
        yield node


@pytest.fixture
def node_b(lab: RoutedLab) -> Iterator[Host]:
    with Host() as node:
        lab.plug("i-0000000000000000b", node)
        yield node
