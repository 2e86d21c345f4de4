"""What is on the wire: how an object of ours is read, written and changed, whatever its fields.

Decides names (camelCase there, snake_case here), that unknown fields stay out of the way, and that nothing half read
gets in. msgspec does the work: its types take 0.8 MB of a daemon that watches every node, where pydantic's take 12.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Self

import msgspec

NonNegative = Annotated[int, msgspec.Meta(ge=0)]
Positive = Annotated[int, msgspec.Meta(ge=1)]
Cidr = Annotated[str, msgspec.Meta(extra_json_schema={"format": "cidr"})]
Instant = Annotated[datetime, msgspec.Meta(tz=True)]
"""With its offset from UTC, as RFC 3339 has it."""


class ContractError(ValueError):
    """An object is not what its type says; the message names the field as it is on the wire."""


class Contract(msgspec.Struct, frozen=True, rename="camel"):
    """Base of everything on the wire. What is made here is checked by types, what comes from there by ``parse``."""

    @classmethod
    def parse(cls, document: Mapping[str, Any]) -> Self:
        """Returns the object in parsed JSON; raises ContractError for the first field that is not as its type says."""
        try:
            return msgspec.convert(document, cls)
        except msgspec.ValidationError as error:
            raise ContractError(_sentence(str(error))) from None

    def dump(self) -> dict[str, Any]:
        """Returns the object as the API server takes it; absent stays absent."""
        document: dict[str, Any] = _without_nulls(msgspec.to_builtins(self))
        return document

    def replace(self, **changes: Any) -> Self:
        """Returns a copy with other values of some fields, named as they are here."""
        return msgspec.structs.replace(self, **changes)

    @classmethod
    def wire_names(cls) -> dict[str, str]:
        """Returns the name on the wire by name of field, in the order of the class."""
        return dict(zip(cls.__struct_fields__, cls.__struct_encode_fields__, strict=True))


def _sentence(problem: str) -> str:
    """Puts the field in front of msgspec's ``Expected `int`, got `str` - at `$.spec.policy.warmIPs```."""
    said, _, path = problem.partition(" - at ")
    field = path.strip("`").removeprefix("$").removeprefix(".")
    return f"{field}: {said}" if field else said


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nulls(item) for name, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value
