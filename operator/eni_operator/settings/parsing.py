"""What the text of one variable means; a ValueError says what is allowed.

VPC CNI's numbers and booleans are read as Go's strconv.Atoi and strconv.ParseBool read them, so that no value counts
here and not there: Python's ``int`` also takes blanks, underscores and other scripts' digits.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

_TRUE: Final = frozenset(("1", "t", "T", "TRUE", "true", "True"))
_FALSE: Final = frozenset(("0", "f", "F", "FALSE", "false", "False"))
_DECIMAL: Final = re.compile(r"[+-]?[0-9]+")
_LARGEST: Final = 2**63 - 1
_AWS_LOG_LEVELS: Final = {
    "debug": "debug",
    "info": "info",
    "warn": "warning",
    "error": "error",
    "fatal": "critical",
}


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen."""

    host: str
    port: int


def boolean(text: str) -> bool:
    """Reads a word as Go's strconv.ParseBool does."""
    if text not in _TRUE | _FALSE:
        raise ValueError("it must be true or false")
    return text in _TRUE


def whole(text: str) -> int | None:
    """Reads a decimal number of 64 bits as Go's strconv.Atoi does; None when it is none."""
    if not _DECIMAL.fullmatch(text):
        return None
    digits = text.lstrip("+-0")
    if len(digits) > len(str(_LARGEST)):  # also spares Python thousands of digits, which it refuses to convert
        return None
    number = int(digits or "0")
    return None if number > _LARGEST else -number if text[0] == "-" else number


def at_least(least: int) -> Callable[[str], int]:
    """Returns a reader of whole numbers from ``least`` on."""

    def parse(text: str) -> int:
        number = whole(text)
        if number is None or number < least:
            raise ValueError(f"it must be a whole number, {least} or more")
        return number

    return parse


def log_level(text: str) -> str:
    """Reads VPC CNI's word for a level, in any case, and returns Python's."""
    if text.lower() not in _AWS_LOG_LEVELS:
        raise ValueError(f"it must be one of {', '.join(_AWS_LOG_LEVELS)}")
    return _AWS_LOG_LEVELS[text.lower()]


def address(text: str) -> Address:
    """Reads host:port, with an IPv6 host in brackets."""
    host, _, port = text.rpartition(":")
    number = whole(port)
    if not host or text.split() != [text] or number is None or not 0 <= number <= 65535:
        raise ValueError("it must be host:port, the port from 0 to 65535")
    return Address(host.strip("[]"), number)
