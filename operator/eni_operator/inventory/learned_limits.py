"""Limits of an instance type nobody has told us of: guessed generously, then cut by what EC2 refuses.

Decides what to take for the limit between what is known to fit and what was refused; asks nothing. One for an
instance. Counterpart: ``inventory.instance_types``, which knows the limits of nearly every type.
"""

import math
from collections.abc import Iterable
from typing import Final

from eni_operator.domain.eni import Eni
from eni_operator.domain.instance import InstanceLimits

MOST_ENIS: Final = 15
MOST_ADDRESSES: Final = 50
"""What the largest types take on one card; a smaller one refuses and is learnt."""


class LearnedLimits:
    """What one instance of an unknown type has taken and refused on network card 0."""

    def __init__(self) -> None:
        self._enis = MOST_ENIS
        self._addresses = MOST_ADDRESSES
        self._has_refused_addresses = False

    def refused_eni(self, enis: Iterable[Eni]) -> None:
        """EC2 takes no more ENIs than there are."""
        self._enis = min(self._enis, len(_on_card_0(enis)))

    def refused_addresses(self, eni: Eni, asked: int) -> None:
        """EC2 did not take so many more addresses or prefixes; of an ENI that is not attached, not even what it has."""
        refused = eni.slots_used + (asked if eni.attachment is not None else 0)
        self._addresses = max(1, min(self._addresses, refused - 1))
        self._has_refused_addresses = True

    def limits(self, enis: Iterable[Eni]) -> InstanceLimits:
        """Returns what to go by: half way between what fits and what may fit, once something was refused.

        A type that is new enough to be unknown is on Nitro, so prefixes are taken to be possible.
        """
        present = _on_card_0(enis)
        fitting = max((eni.slots_used for eni in present), default=1)
        most = max(self._addresses, fitting)
        halfway = math.ceil((fitting + most) / 2)
        return InstanceLimits(
            enis=max(self._enis, len(present)),
            addresses_per_eni=halfway if self._has_refused_addresses else most,
            prefixes=True,
        )


def _on_card_0(enis: Iterable[Eni]) -> list[Eni]:
    return [eni for eni in enis if eni.attachment is not None and eni.attachment.network_card == 0]
