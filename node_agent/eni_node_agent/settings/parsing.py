"""Single values of the environment: each function returns what a text means or raises ValueError. Pure."""

import re
from pathlib import Path
from typing import Final

FALSE_WORDS: Final = frozenset({"0", "f", "F", "FALSE", "false", "False"})
TRUE_WORDS: Final = frozenset({"1", "t", "T", "TRUE", "true", "True"})
SNAT_PORTS: Final = ("prng", "hashrandom", "none")
LARGEST_MARK: Final = 0xFFFFFFFF
VETH_PREFIXES: Final = "1 to 4 letters, digits, dashes or underscores that are not eth, lo or vlan"
"""What ``veth_prefix`` allows."""


def boolean(value: str) -> bool:
    """Reads a word as Go's strconv.ParseBool does, which VPC CNI uses."""
    if value not in TRUE_WORDS | FALSE_WORDS:
        raise ValueError(value)
    return value in TRUE_WORDS


def snat_ports(value: str) -> str:
    """Reads prng, hashrandom or none."""
    return SNAT_PORTS[SNAT_PORTS.index(value)]


def mark(value: str) -> int:
    """Reads a mark of 32 bits, in any of Go's notations of a number."""
    mark = int(value, base=0)
    if not 0 < mark <= LARGEST_MARK:
        raise ValueError(value)
    return mark


def veth_prefix(value: str) -> str:
    """Reads the beginning of a link's name; what the kernel and others call links is refused."""
    if not re.fullmatch("[a-zA-Z0-9_-]{1,4}", value) or value in {"eth", "vlan", "lo"}:
        raise ValueError(value)
    return value


def mtu(value: str) -> int:
    """Reads bytes, 576 to 9001."""
    mtu = int(value)
    if not 576 <= mtu <= 9001:
        raise ValueError(value)
    return mtu


def absolute_path(value: str) -> Path:
    """Reads an absolute path."""
    path = Path(value)
    if not path.is_absolute():
        raise ValueError(value)
    return path


def seconds(value: str, least: int, most: int) -> float:
    """Reads seconds between two limits."""
    seconds = float(value)
    if not least <= seconds <= most:
        raise ValueError(value)
    return seconds


def log_level(value: str) -> str:
    """Reads one of zap's words, in any case, as VPC CNI does."""
    words = {"debug": "DEBUG", "info": "INFO", "warn": "WARNING", "error": "ERROR", "fatal": "CRITICAL"}
    if value.lower() not in words:
        raise ValueError(value)
    return words[value.lower()]


def listen(value: str) -> str:
    """Reads where to listen: an address and a port, a port alone, or a unix socket."""
    if value.startswith("unix:"):
        return f"unix:{absolute_path(value.removeprefix('unix:'))}"
    host_port(f"all{value}" if value.startswith(":") else value)
    return value


def host_port(value: str) -> str:
    """Reads an address and a port."""
    host, _, port = value.rpartition(":")
    if not host or not 0 < int(port) < 65536:
        raise ValueError(value)
    return value
