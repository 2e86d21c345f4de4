"""What counts as supply: the addresses pods have or may have, out of everything the ENIs hold.

Decides how much a CIDR counts that pods must leave, of which no new pod gets an address: as much as pods have of it,
no more. Where the agent has not said how much that is, there are two bounds: growth trusts the upper one, so that it
never asks for what pods have already; release trusts the lower one, so that it never takes what pods may need.
"""

from collections.abc import Iterator

from eni_operator.domain.eni import ADDRESSES_PER_PREFIX
from eni_operator.planning.grain import Grain
from eni_operator.planning.holdings import Holding, Holdings, size


def most(holdings: Holdings, grain: Grain) -> int:
    """Counts supply from above: a handshake the agent has not seen counts in full, where pods had the CIDR."""
    pinned = sum(sum(holding.leaving.values()) + unseen(holding) for holding in holdings.serving)
    return open_to_pods(holdings, grain) + pinned + _left_most(holdings, grain)


def least(holdings: Holdings, grain: Grain) -> int:
    """Counts supply from below: a handshake the agent has not seen counts nothing."""
    pinned = sum(sum(holding.leaving.values()) for holding in holdings.serving)
    return open_to_pods(holdings, grain) + pinned + _left_least(holdings, grain)


def open_to_pods(holdings: Holdings, grain: Grain) -> int:
    """Counts the addresses of CIDRs that a new pod may have an address of, now and from here on."""
    return sum(
        size(cidr) for holding in holdings.serving for cidr in holding.kept if not is_unwanted(holding, cidr, grain)
    )


def unseen(holding: Holding) -> int:
    """Counts the addresses of the ENI's handshakes that the agent has not answered and pods may hold up."""
    return sum(size(cidr) for cidr in holding.unseen)


def is_unwanted(holding: Holding, cidr: str, grain: Grain) -> bool:
    """Tells whether pods must leave this CIDR sooner or later."""
    return holding.excluded or grain.is_wrong(cidr)


def unwanted_in_use(holdings: Holdings, grain: Grain) -> Iterator[str]:
    """Yields the CIDRs that pods must leave and have, and that are in no handshake yet."""
    for holding in holdings.serving:
        idle = frozenset(holding.idle)
        yield from (cidr for cidr in holding.kept if is_unwanted(holding, cidr, grain) and cidr not in idle)


def _left_most(holdings: Holdings, grain: Grain) -> int:
    """Counts what pods have at most of the CIDRs they must leave."""
    return _within(holdings.busy - _elsewhere(holdings, grain, of_a_prefix=1, unseen_count=0), holdings, grain)


def _left_least(holdings: Holdings, grain: Grain) -> int:
    everything = _elsewhere(holdings, grain, of_a_prefix=ADDRESSES_PER_PREFIX, unseen_count=1)
    return _within(holdings.busy - everything, holdings, grain)


def _within(busy: int, holdings: Holdings, grain: Grain) -> int:
    """Returns the single addresses in use, and of ``busy`` what fits in the prefixes: one each at least."""
    unwanted = [size(cidr) for cidr in unwanted_in_use(holdings, grain)]
    prefixes = sum(1 for addresses in unwanted if addresses > 1)
    return len(unwanted) - prefixes + min(max(busy, prefixes), prefixes * ADDRESSES_PER_PREFIX)


def _elsewhere(holdings: Holdings, grain: Grain, *, of_a_prefix: int, unseen_count: int) -> int:
    """Counts addresses in use that are not of a kept prefix that pods must leave.

    Of single addresses that is known, of other prefixes only that it is between one and all.
    """
    found = 0
    for holding in holdings.serving:
        idle = frozenset(holding.idle)
        for cidr in holding.kept:
            if cidr not in idle and (size(cidr) == 1 or not is_unwanted(holding, cidr, grain)):
                found += 1 if size(cidr) == 1 else of_a_prefix
        found += sum(holding.leaving.values()) + sum(
            size(cidr) for cidr in holding.unseen if size(cidr) == 1 or unseen_count
        )
    return found
