"""The agent's state as one value: what ``eni-agent inspect`` and the support bundle ask the running agent for.

Decides its JSON, which both ends of the state socket speak: they come from one image, so it needs no versions. Where
the agent is gone, ``inspection.agent`` makes the same value from the journal and the saved supply.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from eni_cni_shim.plugin.addresspool import PodLink, Sandbox, SandboxKey
from eni_crds.nodeippool import Supply
from eni_node_agent.ledger.ledger import Holding
from eni_node_agent.sandbox import names


@dataclass(frozen=True, slots=True)
class HeldAddresses:
    """What a sandbox holds."""

    network: str
    container_id: str
    ifname: str
    links: tuple[PodLink, ...]
    """At least one."""
    since: float
    """Seconds since boot."""
    pod_namespace: str = ""
    pod_name: str = ""
    pod_uid: str = ""
    netns: str = ""

    @property
    def addresses(self) -> tuple[str, ...]:
        """All addresses of the VPC."""
        return tuple(address for link in self.links for address in link.addresses)

    @property
    def all_addresses(self) -> tuple[str, ...]:
        """All addresses, node-local ones too."""
        return tuple(address for link in self.links for address in link.all_addresses)

    @property
    def pod(self) -> str:
        """The pod as people name it; the sandbox where no pod is known."""
        return f"{self.pod_namespace}/{self.pod_name}" if self.pod_name else f"sandbox {self.container_id}"

    @property
    def is_recovered(self) -> bool:
        """True: adopted from the kernel; nothing is known of it but its host link."""
        return names.is_recovered(SandboxKey(self.network, self.container_id, self.ifname))

    @property
    def is_taken_over(self) -> bool:
        """True: VPC CNI has set it up, in its own way and under its own network's name."""
        return self.network == names.VPC_CNI_NETWORK


@dataclass(frozen=True, slots=True)
class State:
    """What the agent knows."""

    node: str
    version: str
    boot_id: str
    now: float
    """Seconds since boot."""
    supply: Supply | None
    holdings: tuple[HeldAddresses, ...]
    cooling: Mapping[str, float]
    """When cooling addresses were released, in seconds since boot."""
    ready_enis: tuple[str, ...] = ()
    """ENIs the host's network is ready for."""
    problems: tuple[str, ...] = ()
    """What could not be brought about in the host's network."""
    obstacle: str = ""
    """Why the node cannot serve pods; empty: it can."""
    waiting: tuple[str, ...] = ()
    """Pods whose ADD waits for an address."""

    def dump(self) -> dict[str, Any]:
        """Returns the JSON object."""
        plain = {name: getattr(self, name) for name in self.__slots__}
        supply = None if self.supply is None else self.supply.dump()
        return plain | {
            "supply": supply,
            "holdings": [asdict(each) for each in self.holdings],
            "cooling": dict(self.cooling),
        }

    @classmethod
    def parse(cls, document: Mapping[str, Any]) -> Self:
        """Returns the state in a JSON object; raises ValueError, KeyError or TypeError when it is none."""
        fields = dict(document)
        supply = fields.pop("supply")
        holdings = [HeldAddresses(**{**each, "links": _links(each["links"])}) for each in fields.pop("holdings")]
        lists: dict[str, Any] = {name: tuple(fields.pop(name)) for name in ("ready_enis", "problems", "waiting")}
        return cls(
            **fields,
            **lists,
            supply=None if supply is None else Supply.parse(supply),
            holdings=tuple(holdings),
        )


def held_addresses(holdings: Iterable[Holding]) -> tuple[HeldAddresses, ...]:
    """Returns the ledger's holdings as the state shows them."""
    return tuple(_held(holding.sandbox, holding.links, holding.since) for holding in holdings)


def _held(sandbox: Sandbox, links: tuple[PodLink, ...], since: float) -> HeldAddresses:
    return HeldAddresses(
        network=sandbox.key.network,
        container_id=sandbox.key.container_id,
        ifname=sandbox.key.ifname,
        links=links,
        since=since,
        pod_namespace=sandbox.pod_namespace,
        pod_name=sandbox.pod_name,
        pod_uid=sandbox.pod_uid,
        netns=sandbox.netns,
    )


def _links(documents: Iterable[Mapping[str, Any]]) -> tuple[PodLink, ...]:
    return tuple(PodLink(**{**each, "addresses": tuple(each["addresses"])}) for each in documents)
