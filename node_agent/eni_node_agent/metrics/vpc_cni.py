"""VPC CNI's metrics that a node's agent can serve truly, from supply and ledger, under VPC CNI's names.

Decides their values, so that dashboards and alerts made for VPC CNI go on working. What only its EC2 caller can know is
served by the operator under the same names (``eni_operator.vpc_cni_metrics``); where both serve a name, their label
values differ, so a sum over both is right. ``docs/metrics.md`` has the table.
Source: https://github.com/aws/amazon-vpc-cni-k8s (v1.23.1), ``utils/prometheusmetrics``.
"""

import platform
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Final, NamedTuple

from prometheus_client import CollectorRegistry, Histogram

from eni_crds.nodeippool import SERVING_ROLES, EniRole, Mode, Supply, SupplyEni
from eni_crds.nodeippool import Family as AddressFamily
from eni_crds.vpc_cni_metrics import PREFIX, SHAPES, Family, Sample, family

PREFIX_ADDRESSES: Final = 16
"""Addresses in a /28."""
_START_BUCKETS: Final = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)


class Pool(NamedTuple):
    """The pool as it stands."""

    supply: Supply | None
    assigned: tuple[str, ...]
    """Addresses of the VPC that pods hold, of both families."""
    looks: Mapping[str, int]
    """Looks at the host's network by how they ended: success, error."""
    is_marking: bool
    """True: our firewall marks connections."""
    is_starting: bool
    """True: the node cannot serve pods yet."""


@dataclass(slots=True)
class Losses:
    """What was taken from under pods: an ENI or an address that left the supply while pods held it."""

    enis: int = 0
    addresses: int = 0
    _seen: frozenset[str] = frozenset()
    _owners: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def see(self, supply: Supply, lost: Iterable[str]) -> None:
        """Takes over a supply and the assigned addresses it does not name; each loss counts once."""
        now = frozenset(lost)
        fresh = now - self._seen
        present = {eni.id for eni in supply.enis}
        gone = [eni_id for eni_id in self._owners if eni_id not in present]
        self.addresses += len(fresh)
        self.enis += sum(1 for eni_id in gone if any(_is_of(self._owners[eni_id], address) for address in fresh))
        self._seen = now
        self._owners = {eni.id: frozenset((*eni.addresses, *eni.prefixes)) for eni in supply.enis}


@dataclass(slots=True)
class Counts:
    """What is counted rather than looked up."""

    adds: int = 0
    dels: Counter[str] = field(default_factory=Counter)
    """By reason: PodDeleted, SetupNSFailed."""
    refusals: int = 0
    """ADDs that ended without an address."""
    setup_failures: int = 0
    """Times the host's network could not be brought to what the supply asks for."""
    losses: Losses = field(default_factory=Losses)


class StartTimes:
    """The two histograms of VPC CNI's start; ours has its process's one value in each."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._startup = _histogram("ipamd_startup_duration_seconds", registry)
        self._initialization = _histogram("ipamd_node_initialization_duration_seconds", registry)

    def started(self, seconds: float) -> None:
        """Takes over when the socket opened; it never waits for the API server."""
        self._startup.labels("true", "false", "").observe(seconds)

    def initialized(self, seconds: float) -> None:
        """Takes over when the node could serve for the first time."""
        self._initialization.labels("true").observe(seconds)


def _histogram(name: str, registry: CollectorRegistry) -> Histogram:
    shape = SHAPES[name]
    return Histogram(PREFIX + name, shape.meaning, shape.labels, registry=registry, buckets=_START_BUCKETS)


def families(pool: Pool, counts: Counts, version: str) -> Iterator[Family]:
    """Yields every metric the agent serves, but for the two histograms of ``StartTimes``."""
    yield from _limits(pool.supply)
    yield from _totals(pool)
    yield _per_cidr(pool)
    yield _per_eni(pool)
    yield from _counters(counts)
    yield family("ipamd_action_inprogress", Sample(("nodeInit",), int(pool.is_starting)))
    yield family("connmark_backend", Sample(("nftables",), int(pool.is_marking)))
    looks = (Sample((result,), pool.looks.get(result, 0)) for result in ("success", "error"))
    yield family("connmark_reconcile_total", *looks)
    yield family("build_info", Sample((version, f"cpython{platform.python_version()}"), 1))


def _limits(supply: Supply | None) -> Iterator[Family]:
    foreign = 0 if supply is None else sum(1 for eni in supply.enis if eni.role is EniRole.UNMANAGED)
    enis = 0 if supply is None else supply.limits.enis - foreign
    per_eni = 0 if supply is None else (supply.limits.addresses_per_eni - 1) * (16 if _has_prefixes(supply) else 1)
    yield family("eni_max", Sample((), enis))
    yield family("ip_max", Sample((), enis * per_eni))


def _totals(pool: Pool) -> Iterator[Family]:
    enis = tuple(_serving(pool.supply))
    prefixes = sum(len(eni.prefixes) for eni in enis)
    total = sum(len(eni.addresses) for eni in enis) + prefixes * PREFIX_ADDRESSES
    yield family("eni_allocated", Sample((), len(enis)))
    yield family("total_ip_addresses", Sample((), total))
    yield family("assigned_ip_addresses", Sample((), len(_counted(pool))))
    yield family("total_ipv4_prefixes", Sample((), prefixes))


def _per_cidr(pool: Pool) -> Family:
    """One series a prefix, and one a subnet for all single addresses in it: a series for each would be hundreds."""
    enis = tuple(_serving(pool.supply))
    single = {address: eni.subnet_cidr for eni in enis for address in eni.addresses}
    prefixes = (str(ip_network(prefix)) for eni in enis for prefix in (*eni.prefixes, *eni.ipv6_prefixes))
    counts = Counter(dict.fromkeys((*single.values(), *prefixes), 0))
    for address in pool.assigned:
        where = single.get(address) or _prefix_of(address)
        if where in counts:
            counts[where] += 1
    return family("assigned_ip_per_cidr", *(Sample((cidr,), count) for cidr, count in sorted(counts.items())))


def _per_eni(pool: Pool) -> Family:
    held = frozenset(_counted(pool))
    samples = (Sample((eni.id,), _count(eni, held)) for eni in _serving(pool.supply))
    return family("assigned_ip_per_eni", *samples)


def _counters(counts: Counts) -> Iterator[Family]:
    yield family("add_ip_req_count", Sample((), counts.adds))
    dels = (Sample((reason,), count) for reason, count in sorted(counts.dels.items()))
    yield family("del_ip_req_count", *dels)
    yield family("no_available_ip_addresses", Sample((), counts.refusals))
    yield family("force_removed_enis", Sample((), counts.losses.enis))
    yield family("force_removed_ips", Sample((), counts.losses.addresses))
    yield family("ipamd_error_count", Sample(("increaseIPPoolsetupENIFailed",), counts.setup_failures))
    yield family("pod_eni_error_count")


def _counted(pool: Pool) -> list[str]:
    """Returns the addresses of one family: IPv4 where the pool has it, as pods of a dual-stack pool have both."""
    has_ipv4 = pool.supply is None or AddressFamily.IPV4 in pool.supply.families
    return [address for address in pool.assigned if (":" not in address) == has_ipv4]


def _serving(supply: Supply | None) -> Iterator[SupplyEni]:
    return iter(()) if supply is None else (eni for eni in supply.enis if eni.role in SERVING_ROLES)


def _has_prefixes(supply: Supply) -> bool:
    mode = supply.policy.get("mode")
    return mode is not None and mode.value in {Mode.PREFIX, Mode.AUTO}


def _count(eni: SupplyEni, held: frozenset[str]) -> int:
    prefixes = {str(ip_network(prefix)) for prefix in (*eni.prefixes, *eni.ipv6_prefixes)}
    return sum(1 for address in held if address in eni.addresses or _prefix_of(address) in prefixes)


def _prefix_of(address: str) -> str:
    """Returns the /28 around an IPv4 address, the /80 around an IPv6 one: what EC2 delegates."""
    length = 28 if ip_address(address).version == 4 else 80
    return str(ip_network(f"{address}/{length}", strict=False))


def _is_of(cidrs: frozenset[str], address: str) -> bool:
    return address in cidrs or _prefix_of(address) in cidrs
