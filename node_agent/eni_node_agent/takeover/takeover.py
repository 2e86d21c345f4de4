"""The course of a takeover: read, adopt, serve, tidy up, and be done when the last pod of VPC CNI is gone.

Decides the order. What is read is divided by ``plan``; before the agent serves, the ledger holds every address of a
pod that lives, so nobody else can get it. What VPC CNI keeps for the node goes once our network stands beside it, what
it keeps for a pod goes with the pod. While it still runs (``rival``) nothing of this is done.
"""

import asyncio
import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from eni_cni_shim.plugin.addresspool import Assignment, Sandbox, SandboxKey
from eni_cni_shim.plugin.pod_network import PodNetwork, PodNetworkError
from eni_node_agent.ledger.ledger import Holding, Ledger
from eni_node_agent.network.libnftables import Nftables, NftablesError
from eni_node_agent.sandbox import names
from eni_node_agent.takeover import checkpoint, conflists, legacy, netfilter, plan, rival
from eni_node_agent.takeover.checkpoint import Allocation, CheckpointError
from eni_node_agent.takeover.kernel import Kernel, eni_primaries
from eni_node_agent.takeover.plan import Estate, Heir

log = logging.getLogger(__name__)

_PASSES = 2
"""Of two like rules the kernel may take away ours first (``Kernel.remove``)."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where VPC CNI has its things, as this process sees them."""

    run_dir: Path
    """Folder of its socket."""
    checkpoint: Path
    """Of network card 0; those of other cards are beside it."""
    conf_dir: Path
    """Of its conflist and ours."""


class Takeover:
    """What VPC CNI left on this node. Lives in one event loop, works in threads of the process's network namespace."""

    def __init__(
        self, ledger: Ledger, places: Places, *, connmark: int, veth_prefix: str, clock: Callable[[], float]
    ) -> None:
        """Makes it; ``connmark`` and ``veth_prefix`` as in the settings, ``clock`` gives seconds since boot."""
        self._ledger = ledger
        self._places = places
        self._connmark = connmark
        self._veth_prefix = veth_prefix
        self._clock = clock
        self._taken: set[SandboxKey] = set()
        self._knows_containers = True
        self._is_over = False
        self._cleared_for: frozenset[str] | None = None
        self._told: set[str] = set()

    @property
    def is_first(self) -> bool:
        """Tells whether runtimes read VPC CNI's conflist: nothing was taken over yet, or it was installed again."""
        return conflists.is_in_force(self._places.conf_dir)

    @property
    def left(self) -> frozenset[str]:
        """Returns the addresses of pods taken over that still have them."""
        return frozenset(address for holding in self._held() for address in holding.all_addresses)

    async def rival(self) -> str:
        """Returns where VPC CNI's daemon answers, in words; empty: nowhere."""
        return await asyncio.to_thread(rival.answering, self._places.run_dir, with_port=self.is_first)

    async def take_over(self) -> None:
        """Lets the ledger hold what pods of VPC CNI have, and routes them in our table as well.

        Raises:
            OSError: the kernel would not say; nobody must be served then.
        """
        estate = await asyncio.to_thread(self._look)
        now = self._clock()
        for heir in estate.heirs:
            self._adopt(heir, now)
        self._ledger.rest(dict.fromkeys(estate.departed, now))
        await asyncio.to_thread(self._prepare, estate)
        self._is_over, self._cleared_for = False, None
        if estate.heirs or estate.departed:
            extra = {"pods": len(estate.heirs), "departed": len(estate.departed)}
            log.info("pods of VPC CNI taken over", extra=extra)

    async def tidy(self) -> None:
        """Removes what serves nobody any more; to be called now and then, once our network is in order."""
        left = self.left
        if self._is_over or left == self._cleared_for:
            return
        try:
            await asyncio.to_thread(self._clear, left, self._containers())
        except (OSError, NftablesError) as error:
            self._tell("what VPC CNI left cannot be removed, it is tried again", error=str(error))
            return
        self._cleared_for = left
        if not left:
            await asyncio.to_thread(self._forget)
            self._is_over = True

    async def remove_rules_of(self, key: SandboxKey) -> None:
        """Removes VPC CNI's rules for a pod that left without a word, before its address cools. Raises OSError."""
        holding = self._ledger.find(key)
        if holding is not None and key in self._taken:
            await asyncio.to_thread(remove_pod_rules, holding.all_addresses)

    def set_conflist_aside(self) -> None:
        """Lets runtimes read our conflist, which is there, in place of VPC CNI's. Raises OSError."""
        if conflists.set_aside(self._places.conf_dir):
            log.info("VPC CNI's conflist set aside", extra={"path": str(self._places.conf_dir / conflists.ASIDE)})

    def _look(self) -> Estate:
        self._knows_containers = True
        allocations = [each for path in self._checkpoints() for each in self._read(path)]
        with Kernel() as kernel:
            veths = {link.ifname for link in kernel.links().values() if link.kind == "veth"}
            return plan.divide(allocations, veths, kernel.host_routes(), self._veth_prefix)

    def _checkpoints(self) -> list[Path]:
        first = self._places.checkpoint
        others = sorted(first.parent.glob(f"{first.stem}-nic-*{first.suffix}"))
        return [path for path in (first, *others) if path.exists()]

    def _read(self, path: Path) -> tuple[Allocation, ...]:
        """What cannot be read is known from the kernel alone: no address is doubled, a pod goes by its link."""
        try:
            found = checkpoint.parse(checkpoint.text_of(path))
        except (OSError, CheckpointError) as error:
            found = checkpoint.Checkpoint((), (str(error),))
        for problem in found.problems:
            self._knows_containers = False
            self._tell("VPC CNI's checkpoint cannot be read, its pods are found by their routes", path, problem)
        return found.allocations

    def _held(self) -> list[Holding]:
        found = (self._ledger.find(key) for key in self._taken)
        return [holding for holding in found if holding is not None]

    def _adopt(self, heir: Heir, now: float) -> None:
        if self._ledger.adopt(Holding(heir.sandbox, heir.links, since=now)):
            self._taken.add(heir.sandbox.key)
        elif heir.sandbox.key not in self._taken:
            self._adopt_what_is_left(heir, now)

    def _adopt_what_is_left(self, heir: Heir, now: float) -> None:
        """Another pod has an address of the heir's already: those of its other links are not to be given away too."""
        for link in heir.links:
            key = names.recovered_key(link.host_ifname)
            if self._ledger.adopt(Holding(Sandbox(key), (link,), since=now)):
                self._taken.add(key)
            else:
                self._tell("an address of a pod of VPC CNI is held by another pod already", *link.addresses)

    def _prepare(self, estate: Estate) -> None:
        """Before the first packet is ours to carry: routes of the living, addresses that keep their routes."""
        with Kernel() as kernel:
            indices = {link.ifname: link.index for link in kernel.links().values()}
            for link in (link for heir in estate.heirs for link in heir.links):
                if link.host_ifname in indices:  # it may just have gone
                    kernel.ensure_pod_route(link.addresses[0], indices[link.host_ifname])
            rules = kernel.rules()
            kernel.own_addresses(set(eni_primaries(rules)))
            # Left in place, "to 10.0.1.21 lookup main" would keep the next pod of that address from its route.
            for rule in rules:
                if not rule.is_ours and rule.pod_address in estate.departed:
                    kernel.remove(rule)

    def _containers(self) -> frozenset[str] | None:
        """Returns the containers taken over that still live; None: of some pods the container is not known."""
        keys = {holding.sandbox.key for holding in self._held()}
        if not self._knows_containers or any(names.is_recovered(key) for key in keys):
            return None
        return frozenset(key.container_id for key in keys)

    def _clear(self, left: frozenset[str], containers: frozenset[str] | None) -> None:
        found = netfilter.find(containers)
        if not self._has_traces(found):
            return
        with Kernel() as kernel:
            for _ in range(_PASSES):
                kernel.settle(plan.settle(kernel.rules(), left, kernel.our_tables(), self._connmark))
        commands = netfilter.removal(found)
        if commands:
            self._run(commands)
            log.info("rules of VPC CNI removed from nftables", extra={"rules": len(found.rules)})
        for table in legacy.tables_with_traces():
            self._tell("rules of VPC CNI stay in the legacy iptables, where only that tool can remove them", table)

    def _has_traces(self, found: netfilter.Found) -> bool:
        """Tells whether VPC CNI was ever here: only then a rule that looks like one of its own is."""
        files = [self._places.conf_dir / conflists.ASIDE, *self._checkpoints()]
        return bool(self._taken) or found != netfilter.Found() or any(path.exists() for path in files)

    def _run(self, commands: str) -> None:
        nftables = Nftables()
        try:
            nftables.run(commands)
        finally:
            nftables.close()

    def _forget(self) -> None:
        for path in self._checkpoints():
            try:
                path.unlink()
            except OSError as error:
                self._tell("VPC CNI's checkpoint cannot be removed", path, str(error))
            else:
                log.info("the last pod of VPC CNI is gone", extra={"checkpoint": str(path)})

    def _tell(self, sentence: str, *what: object, **extra: str) -> None:
        """Says a thing once."""
        key = f"{sentence} {what} {extra}"
        if key not in self._told:
            self._told.add(key)
            log.warning(sentence, extra={"what": ", ".join(map(str, what)), **extra})


class TakenOverPodNetwork(PodNetwork):
    """The pods' side of the network, where some of the pods were set up by VPC CNI."""

    def __init__(self, takeover: Takeover, proc_sys: Path) -> None:
        super().__init__(proc_sys)
        self._takeover = takeover

    async def remove(self, assignment: Assignment) -> None:
        """As ``PodNetwork.remove``; takes VPC CNI's rules for the pod along before its addresses can be another's."""
        await super().remove(assignment)
        theirs = self._takeover.left.intersection(assignment.addresses)
        if theirs:
            try:
                await asyncio.to_thread(remove_pod_rules, theirs)
            except OSError as error:
                raise PodNetworkError(f"the kernel refused to remove VPC CNI's rules: {error.strerror}") from error


def remove_pod_rules(addresses: Collection[str]) -> None:
    """Removes VPC CNI's rules for pods, in the network namespace of the calling thread. Raises OSError."""
    with Kernel() as kernel:
        rules = [rule for rule in kernel.rules() if rule.pod_address in addresses]
        kernel.settle(plan.settle(rules, (), kernel.our_tables(), mark=0))
