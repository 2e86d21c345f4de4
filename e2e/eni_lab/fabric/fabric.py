"""The VPC fabric: keeps the router's links, routes and rules equal to what the stand-in says is attached and owned.

Everything here runs on one thread in the router's network namespace. It never asks the engine: ``apply`` is told.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Self

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from eni_lab.fabric import firewall, links, router, routes
from eni_lab.fabric.desired import desired
from eni_lab.fabric.namespaces import Namespace

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from eni_lab.aws.engine.ports import Port
    from eni_lab.fabric.desired import FabricState, Link

logger = logging.getLogger(__name__)


class Fabric:
    """The router of a VPC in the network namespace of the thread that makes it."""

    def __init__(self) -> None:
        self._outside = router.prepare()
        self._nodes: dict[str, Namespace] = {}
        self._created: dict[str, Link] = {}
        self._gateways: frozenset[str] = frozenset()
        self._elements = ""
        self.outages: dict[str, firewall.Outage] = {}
        """How callers find the AWS endpoint that cannot use it, by source address."""
        self.problems: dict[str, str] = {}
        """Why a link that should be there is not, by the router's link name."""

    @property
    def outside_pid(self) -> int:
        """The process of the host outside, in whose network namespace that is."""
        return self._outside.pid

    @property
    def nodes(self) -> Mapping[str, Namespace]:
        """The namespaces of registered instances, living or not."""
        return self._nodes

    def register(self, instance_id: str, namespace_path: str) -> None:
        """The instance's interfaces are to be in this namespace from the next ``apply``.

        Registering again, as after a reboot, moves them: the old links go, new ones are made.
        OSError when no namespace is at the path.
        """
        self._nodes[instance_id] = Namespace.at(namespace_path)

    def unregister(self, instance_id: str) -> None:
        """The instance has no namespace any more; unknown ones are no error."""
        self._nodes.pop(instance_id, None)

    def apply(self, ports: Iterable[Port]) -> None:
        """Makes the router right for ``ports``; what could not be made is in ``problems`` and tried again next time."""
        living = {instance: namespace for instance, namespace in self._nodes.items() if namespace.lives()}
        state = desired(ports, living)
        with IPRoute() as ipr:
            self._remove_links(ipr, state)
            self._load_elements(state)
            routes.ensure_gateways(ipr, state.gateways, self._gateways)
            self._gateways |= state.gateways
            self._create_links(ipr, state)
            routes.ensure_routes(ipr, state.routes, links.present(ipr))

    def cut_off(self, address: str, how: firewall.Outage) -> None:
        """From now on the AWS endpoint refuses or ignores what comes from this address."""
        self.outages[address] = how
        firewall.cut_off(self.outages)

    def end_outages(self) -> None:
        """The AWS endpoint answers everybody again."""
        self.outages.clear()
        firewall.cut_off(self.outages)

    def drops(self) -> list[firewall.Drop]:
        """What the router dropped so far, by link and source address."""
        return firewall.drops()

    def close(self) -> None:
        """Ends the host outside; links and rules go with the router's namespace."""
        self._outside.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _remove_links(self, ipr: IPRoute, state: FabricState) -> None:
        """Links nobody wants, or whose far end is in a namespace of before a reboot."""
        for name, index in links.present(ipr).items():
            if state.links.get(name) != self._created.get(name):
                links.remove(ipr, index)
                logger.info("link removed", extra={"link": name})

    def _load_elements(self, state: FabricState) -> None:
        elements = firewall.elements(state)
        if elements != self._elements:
            firewall.load(elements)
            self._elements = elements

    def _create_links(self, ipr: IPRoute, state: FabricState) -> None:
        standing = links.present(ipr)
        self._created = {name: link for name, link in self._created.items() if name in standing}
        problems = {}
        for link in state.links.values():
            if link.name not in standing:
                try:
                    links.create(ipr, link)
                except (NetlinkError, OSError) as error:
                    problems[link.name] = f"the link {link.node_name} of {link.eni_id} cannot be made: {error}"
                else:
                    self._created[link.name] = link
                    logger.info(
                        "link created", extra={"link": link.name, "eni": link.eni_id, "name_in_node": link.node_name}
                    )
        self._report(problems)

    def _report(self, problems: dict[str, str]) -> None:
        for name, problem in problems.items():
            if problem != self.problems.get(name):
                logger.warning("link missing", extra={"link": name, "problem": problem})
        self.problems = problems
