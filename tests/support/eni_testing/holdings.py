"""Holdings for tests of the agent, of one link as a pod of one network card has; and who remembers them."""

from eni_cni_shim.plugin.addresspool import PodLink, Sandbox, SandboxKey
from eni_node_agent.ledger.journal import JournalError
from eni_node_agent.ledger.ledger import Holding
from eni_node_agent.sandbox import names


def sandbox(name: str, *, every_card: bool = False) -> Sandbox:
    """Returns the sandbox of a container called so."""
    return Sandbox(SandboxKey("eni", name, "eth0"), every_card=every_card)


def held(sandbox: Sandbox, *addresses: str, eni_id: str = "eni-1", since: float = 0.0, egress: str = "") -> Holding:
    """Returns what a sandbox holds on one link, named as the agent names it."""
    link = PodLink(sandbox.key.ifname, names.host_ifname(sandbox.key), eni_id, addresses, egress)
    return Holding(sandbox, (link,), since)


class Notebook:
    """What a ledger writes to in place of a journal: notes each entry, and refuses to while it is full."""

    def __init__(self) -> None:
        self.is_full = False
        self.entries: list[str] = []

    def hold(self, holding: Holding) -> None:
        """Notes that addresses were given."""
        self._note(f"hold {holding.address}")

    def release(self, holding: Holding, at: float) -> None:
        """Notes that they were taken back."""
        self._note(f"release {holding.address} at {at:g}")

    def _note(self, entry: str) -> None:
        if self.is_full:
            raise JournalError("journal cannot be written: full")
        self.entries.append(entry)
