"""Reads the environment variable by variable and gathers every problem, so that a person sees all at once. Pure."""

import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from eni_node_agent.settings import parsing

_T = TypeVar("_T")

SMALLEST_IPV6_MTU: Final = 1280
"""Bytes every link that carries IPv6 must take in one piece (RFC 8200 section 5); the kernel drops IPv6 below."""
FOREIGN: Final = frozenset(
    {"ENI_AGENT_SOCKET", "ENI_AGENT_TIMEOUT", "ENI_CONFIG_ANNOTATION_DEF", "ENI_CONFIG_LABEL_DEF"}
)
"""Of the CNI executable and of VPC CNI: they may stand in a shared environment."""


class SettingsError(Exception):
    """The environment does not make sense; the message has one sentence for each problem."""


def small_mtus(eni_mtu: int, pod_mtu: int, when: str) -> list[str]:
    """Returns a clause for each MTU that is too small for IPv6, and what is allowed ``when`` there is IPv6."""
    named = (("AWS_VPC_ENI_MTU", eni_mtu), ("POD_MTU", pod_mtu))
    small = ((name, mtu) for name, mtu in named if mtu < SMALLEST_IPV6_MTU)
    return [f"{name} is {mtu}, {when} {SMALLEST_IPV6_MTU} to 9001 bytes are allowed" for name, mtu in small]


@dataclass(slots=True)
class Reader:
    """Reads variables one by one and gathers what is wrong with them. VPC CNI's are lenient, ours are strict."""

    environ: Mapping[str, str]
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    known: set[str] = field(default_factory=set)

    def text(self, name: str, default: str) -> str:
        """Reads any text; empty is as if not set."""
        self.known.add(name)
        return self.environ.get(name) or default

    def required(self, name: str) -> str:
        """Reads this node's name."""
        value = self.text(name, "")
        if not value:
            self.problems.append(f"{name} is not set; the name of this node is needed")
        return value

    def lenient(self, name: str, parse: Callable[[str], _T], default: _T) -> _T:
        """Reads one of AWS's variables: what cannot be read is the default, as VPC CNI has it."""
        value = self.text(name, "")
        try:
            return parse(value) if value else default
        except ValueError:
            self.warnings.append(f'{name} is "{value}", which cannot be read; it is as if not set')
            return default

    def strict(self, name: str, parse: Callable[[str], _T], default: str, allowed: str) -> _T:
        """Reads one of our variables: what cannot be read is a problem."""
        value = self.text(name, default)
        try:
            return parse(value)
        except ValueError:
            self.problems.append(f'{name} is "{value}"; {allowed} is allowed')
            return parse(default)

    def boolean(self, name: str, *, default: bool) -> bool:
        """Reads a word for true or false, leniently."""
        return self.lenient(name, parsing.boolean, default)

    def mtu(self, name: str, default: int) -> int:
        """Reads an MTU, strictly."""
        return self.strict(name, parsing.mtu, str(default), "a number of bytes from 576 to 9001")

    def cidrs(self, name: str) -> tuple[str, ...]:
        """Reads IPv4 CIDRs; unreadable and IPv6 ones are left out, bits beyond the mask are cut, as VPC CNI does."""
        found = []
        for part in filter(None, (part.strip() for part in self.text(name, "").split(","))):
            try:
                found.append(str(ipaddress.IPv4Network(part, strict=False)))
            except ValueError:
                continue
        return tuple(found)

    def url(self, name: str) -> str:
        """Reads a URL; a bare host gets https, as EKS hands it out both ways."""
        value = self.text(name, "").rstrip("/")
        return value if not value or "://" in value else f"https://{value}"

    def absolute_path(self, name: str, default: str) -> Path:
        """Reads a path, strictly."""
        return self.strict(name, parsing.absolute_path, default, "an absolute path")

    def seconds(self, name: str, default: float, limits: tuple[int, int]) -> float:
        """Reads seconds, strictly."""
        allowed = "a number of seconds from {} to {}".format(*limits)
        return self.strict(name, lambda value: parsing.seconds(value, *limits), f"{default:g}", allowed)

    def host_port(self, name: str, default: str) -> str:
        """Reads an address and a port, strictly."""
        return self.strict(name, parsing.host_port, default, "an address and a port as in 127.0.0.1:61680")

    def listen(self, name: str, default: str) -> str:
        """Reads where to listen, strictly."""
        return self.strict(
            name, parsing.listen, default, "an address and a port as in 127.0.0.1:61678 or :61678, or unix:PATH,"
        )

    def choice(self, name: str, allowed: tuple[str, ...], default: str) -> str:
        """Reads one of some words, strictly."""
        return self.strict(name, lambda value: allowed[allowed.index(value)], default, "one of " + ", ".join(allowed))

    def require_ipv6_mtus(self, values: Mapping[str, Any]) -> None:
        """Refuses MTUs too small for the IPv6 that is asked for here; a pool's families come with the supply."""
        if values["enable_v6_egress"]:
            self.problems += small_mtus(values["eni_mtu"], values["pod_mtu"], "with ENABLE_V6_EGRESS")

    def finish(self) -> None:
        """Raises SettingsError when anything was wrong, or a variable of ours is none of the agent's."""
        ours = {name for name in self.environ if name.startswith("ENI_")}
        unknown = sorted(ours - self.known - FOREIGN)
        self.problems.extend(f"{name} is not a setting of the agent" for name in unknown)
        if self.problems:
            raise SettingsError("; ".join(self.problems))
