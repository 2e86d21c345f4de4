"""Reads what tests and people send to the laboratory: a value of the wanted type, or one sentence.

Decides nothing about what is allowed; the types say it. EC2's own parameters are not read here:
``wire`` knows botocore's shapes, and AWS's errors have words of their own.
"""

from typing import Any, Final, TypeVar

from pydantic import ConfigDict, ValidationError

T = TypeVar("T")

STRICT: Final = ConfigDict(extra="forbid", strict=True)
"""A text is no number here, and a field that is not known is a slip of the pen."""


def parse(kind: type[T], fields: dict[str, Any]) -> T:
    """Returns the pydantic dataclass; raises ValueError that names each field, what it is and what is allowed."""
    try:
        return kind(**fields)
    except ValidationError as error:
        raise ValueError("; ".join(map(_sentence, error.errors()))) from None


def _sentence(problem: Any) -> str:
    field, said = ".".join(map(str, problem["loc"])), problem["msg"]
    known = {"missing": f"{field} is missing", "unexpected_keyword_argument": f"there is no {field!r}"}
    return known.get(problem["type"]) or f"{field} is {problem['input']!r}, {said[0].lower()}{said[1:]}"
