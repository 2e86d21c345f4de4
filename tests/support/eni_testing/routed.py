"""The VPC fabric in a namespace of the test's own, fed with hand-made ports; ``vpc`` adds an engine to it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Self

from eni_lab.fabric.fabric import Fabric
from eni_lab.fabric.namespaces import enter
from eni_testing.hosts import Host

if TYPE_CHECKING:
    from collections.abc import Iterable

    from eni_lab.aws.engine.ports import Port
    from eni_lab.fabric.firewall import Drop


class RoutedLab(Host):
    """The router's namespace, with a fabric that runs on a thread inside it."""

    def __init__(self) -> None:
        super().__init__()
        self.thread = ThreadPoolExecutor(1, "fabric", initializer=enter, initargs=(self.path,))
        self.fabric: Fabric = self.thread.submit(Fabric).result()

    def plug(self, instance_id: str, node: Host) -> None:
        """The instance's interfaces are to appear inside ``node`` from the next ``apply``."""
        self.fabric.register(instance_id, node.path)

    def apply(self, ports: Iterable[Port]) -> None:
        """Makes the router right for ``ports``, and fails when it cannot be."""
        self.thread.submit(self.fabric.apply, list(ports)).result()
        assert not self.fabric.problems, "; ".join(self.fabric.problems.values())

    def drops(self) -> list[Drop]:
        """What the router dropped so far."""
        return self.thread.submit(self.fabric.drops).result()

    def close(self) -> None:
        """Ends the fabric, its thread and the namespace."""
        self.fabric.close()
        self.thread.shutdown()
        super().close()

    def __enter__(self) -> Self:
        return self
