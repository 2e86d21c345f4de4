"""What every Describe shares: naming ids, filters and pages.

Filters: AND across names, OR within values, case-sensitive; ``*`` is any text and ``?`` at most one character
(https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Filtering.html#Filtering_Resources_CLI). Pages go by id, so
that what is made or deleted between two pages neither hides nor repeats another row.
"""

import base64
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from eni_lab.aws.engine.errors import Ec2Error, invalid_combination, invalid_value
from eni_lab.aws.engine.region import Args, Region
from eni_lab.aws.engine.table import Table

Row = TypeVar("Row")
FilterValue = str | bool | int | Iterable[str] | None
Filters = Mapping[str, Callable[[Row], FilterValue]]
"""What each filter name looks at in a row."""

FOUND_BY_TERM = {"attachment.attachment-id", "attachment.instance-id", "instance-id", "mac-address"}
"""Filters, beside those by tag, whose rows ENIs and instances are found by without looking at every one."""


def select_ids(rows: Mapping[str, Row], ids: Sequence[str], not_found: Callable[[str], Ec2Error]) -> dict[str, Row]:
    """Returns the named rows, or all when none is named; the error names the first missing id only, as EC2's does."""
    for key in ids:
        if key not in rows:
            raise not_found(key)
    return {key: rows[key] for key in ids} if ids else dict(rows)


def select_rows(
    table: Table[Row], args: Args, moment: float, ids: Sequence[str], not_found: Callable[[str], Ec2Error]
) -> Mapping[str, Row]:
    """Returns the named rows as of a moment, or at least all that can pass the request's filters."""
    then = table.as_of(moment)
    if ids:
        return select_ids(then, ids, not_found)
    for wanted in args.get("Filters", []):
        name, values = wanted["Name"], wanted.get("Values", [])
        if (name in FOUND_BY_TERM or name.startswith("tag:")) and not _is_wild(values):
            return table.candidates(name, values, moment)
    return then


def refuse_ids_with_pages(args: Args, ids: str) -> None:
    """Raises when a request names ids and asks for pages."""
    if args.get(ids) and args.get("MaxResults") is not None:
        raise invalid_combination(f"The parameter {ids} cannot be used with the parameter MaxResults")


def select_page(
    region: Region, args: Args, rows: Mapping[str, Row], filters: Filters[Row], *, sizes: tuple[int, int] = (5, 1000)
) -> tuple[list[Row], str | None]:
    """Returns one page of the rows that pass the request's filters, and the token of the next page."""
    passed = _passing(region, args.get("Filters", []), rows, filters)
    digest = _digest(args)
    after = _position(args.get("NextToken"), digest)
    keys = sorted(key for key in passed if key > after)
    size = args.get("MaxResults")
    if size is None:
        return [passed[key] for key in keys], None
    low, high = sizes
    if not low <= size <= high:
        text = f"Value ( {size} ) for parameter maxResults is invalid. Expecting a value between {low} and {high}."
        raise invalid_value(text)
    token = _token(keys[size - 1], digest) if len(keys) > size else None
    return [passed[key] for key in keys[:size]], token


def tag_filter(name: str, tags: Mapping[str, str]) -> FilterValue:
    """Returns what ``tag-key`` and ``tag:<key>`` look at."""
    return tags.keys() if name == "tag-key" else tags.get(name.removeprefix("tag:"))


def filter_texts(value: FilterValue) -> Iterable[str]:
    """Returns what a filter's patterns are compared with."""
    if value is None:
        return ()
    if isinstance(value, bool):
        return (str(value).lower(),)
    return (str(value),) if isinstance(value, str | int) else value


def _passing(
    region: Region, requested: Sequence[Mapping[str, Any]], rows: Mapping[str, Row], filters: Filters[Row]
) -> dict[str, Row]:
    if sum(len(wanted.get("Values", [])) for wanted in requested) > region.knobs.filter_values_limit:
        text = f"The maximum number of filter values specified on a single call is {region.knobs.filter_values_limit}"
        raise Ec2Error("FilterLimitExceeded", text)
    passed = dict(rows)
    for wanted in requested:
        look = _look(wanted["Name"], filters)
        matches = _matcher(wanted.get("Values", []))
        passed = {key: row for key, row in passed.items() if any(map(matches, filter_texts(look(row))))}
    return passed


def _look(name: str, filters: Filters[Row]) -> Callable[[Row], FilterValue]:
    if name in filters:
        return filters[name]
    if name == "tag-key" or name.startswith("tag:"):
        return lambda row: tag_filter(name, row.tags)  # type: ignore[attr-defined]
    raise invalid_value(f"The filter '{name}' is invalid")


def _matcher(values: Sequence[str]) -> Callable[[str], object]:
    """Returns what is true of a text that one of the values means."""
    if not _is_wild(values):
        return frozenset(values).__contains__
    return re.compile("|".join(map(_pattern, values)), re.DOTALL).fullmatch


def _is_wild(values: Sequence[str]) -> bool:
    return any(_SPECIAL.search(value) for value in values)


_SPECIAL = re.compile(r"[*?\\]")
_PIECE = re.compile(r"\\?.", re.DOTALL)
_MEANING = {"*": ".*", "?": ".?"}


def _pattern(value: str) -> str:
    """Returns a filter value as a regular expression; a backslash takes a wildcard's meaning away."""
    return "".join(_MEANING.get(piece) or re.escape(piece[-1]) for piece in _PIECE.findall(value))


def _digest(args: Args) -> str:
    text = json.dumps(args.get("Filters", []), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _token(after: str, digest: str) -> str:
    return base64.urlsafe_b64encode(json.dumps([after, digest]).encode()).decode()


def _position(token: str | None, digest: str) -> str:
    if token is None:
        return ""
    try:
        after, of = json.loads(base64.urlsafe_b64decode(token))
    except ValueError:
        raise Ec2Error("InvalidNextToken", "The token is invalid.") from None
    if of != digest:
        raise Ec2Error("InvalidNextToken", "The token belongs to a request with other filters.")
    return str(after)
