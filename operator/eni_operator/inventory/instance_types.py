"""Limits of instance types, asked of EC2 once each: they never change.

Decides who is believed: EC2 first, the built-in table where EC2 does not tell, and nobody for a type that neither
knows, so that its limits are learnt (``inventory.learned_limits``).
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from eni_operator.domain.instance import InstanceLimits
from eni_operator.ec2.errors import CredentialsMissingError, DeniedError, Ec2Error, UnknownInstanceTypeError
from eni_operator.inventory.instance_limits import built_in_limits
from eni_operator.inventory.source import TypeSource

log = logging.getLogger(__name__)

PATIENCE: Final = 3
"""Calls on end that may fail before the built-in table is believed."""
UNKNOWN_SECONDS: Final = 3600.0
"""How soon EC2 is asked again for a type that nobody knows."""


class InstanceTypes:
    """The types seen so far; shared by all instances of a process."""

    def __init__(self, source: TypeSource, clock: Callable[[], float]) -> None:
        self._source = source
        self._clock = clock
        self._limits: dict[str, InstanceLimits] = {}
        self._unknown_until: dict[str, float] = {}
        self._failed = 0
        self._asking = asyncio.Lock()

    async def limits(self, instance_type: str) -> InstanceLimits | None:
        """Returns the type's limits; None where nobody knows them. Raises when EC2 must be asked again."""
        if not self._is_settled(instance_type):
            async with self._asking:  # who waited here may find it answered
                if not self._is_settled(instance_type):
                    await self._settle(instance_type)
        return self._limits.get(instance_type)

    def _is_settled(self, instance_type: str) -> bool:
        return instance_type in self._limits or self._clock() < self._unknown_until.get(instance_type, 0.0)

    async def _settle(self, instance_type: str) -> None:
        limits = await self._ask(instance_type)
        if limits is not None:
            self._limits[instance_type] = limits
        else:
            self._unknown_until[instance_type] = self._clock() + UNKNOWN_SECONDS

    async def _ask(self, instance_type: str) -> InstanceLimits | None:
        try:
            limits = await self._source.describe_limits(instance_type)
        except (DeniedError, UnknownInstanceTypeError) as error:
            log.warning("limits come from the built-in table, or are learnt", extra={"error": str(error)})
            return built_in_limits(instance_type)
        except CredentialsMissingError:  # nothing else would be answered either, and a person must hear of it
            raise
        except Ec2Error:
            self._failed += 1
            known = built_in_limits(instance_type) if self._failed >= PATIENCE else None
            if known is None:
                raise
            return known
        self._failed = 0
        return limits
