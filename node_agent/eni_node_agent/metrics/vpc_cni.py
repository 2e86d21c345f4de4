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
from eni_node_agent.metrics.families import Family, Sample

PREFIX_ADDRESSES: Final = 16
"""Addresses in a /28."""
_START_BUCKETS: Final = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)


class Pool(NamedTuple):
    """The pool as it stands."""

    supply: Supply | None
    assigned: tuple[str, ...]
    """Addresses pods hold."""
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
        self._startup = Histogram(
            "awscni_ipamd_startup_duration_seconds",
            "From the start of the process to its open socket.",
            ("success", "with_api_server", "failure_reason"),
            registry=registry,
            buckets=_START_BUCKETS,
        )
        self._initialization = Histogram(
            "awscni_ipamd_node_initialization_duration_seconds",
            "From the start of the process to a host network that can serve pods.",
            ("success",),
            registry=registry,
            buckets=_START_BUCKETS,
        )

    def started(self, seconds: float) -> None:
        """Takes over when the socket opened; it never waits for the API server."""
        self._startup.labels("true", "false", "").observe(seconds)

    def initialized(self, seconds: float) -> None:
        """Takes over when the node could serve for the first time."""
        self._initialization.labels("true").observe(seconds)


def families(pool: Pool, counts: Counts, version: str) -> Iterator[Family]:
    """Yields every family the agent serves, but for the two histograms of ``StartTimes``."""
    yield from _limits(pool.supply)
    yield from _totals(pool)
    yield _per_cidr(pool)
    yield _per_eni(pool)
    yield from _counters(counts)
    yield _gauge(
        "ipamd_action_inprogress",
        "1 while the node is being prepared.",
        Sample({"fn": "nodeInit"}, int(pool.is_starting)),
    )
    yield _gauge(
        "connmark_backend",
        "What marks connections: always nftables here.",
        Sample({"backend": "nftables"}, int(pool.is_marking)),
    )
    outcomes = (Sample({"result": result}, pool.looks.get(result, 0)) for result in ("success", "error"))
    yield Family("awscni_connmark_reconcile_total", "counter", "Looks at the rules that mark.", tuple(outcomes))
    build = {"version": version, "goversion": f"cpython{platform.python_version()}"}
    yield _gauge("build_info", "Always 1; goversion is that of the language we are written in.", Sample(build, 1))


def _limits(supply: Supply | None) -> Iterator[Family]:
    foreign = 0 if supply is None else sum(1 for eni in supply.enis if eni.role is EniRole.UNMANAGED)
    enis = 0 if supply is None else supply.limits.enis - foreign
    per_eni = 0 if supply is None else (supply.limits.addresses_per_eni - 1) * (16 if _has_prefixes(supply) else 1)
    yield _gauge("eni_max", "ENIs this instance can have for pods.", Sample({}, enis))
    yield _gauge("ip_max", "Addresses this instance can have for pods.", Sample({}, enis * per_eni))


def _totals(pool: Pool) -> Iterator[Family]:
    enis = tuple(_serving(pool.supply))
    prefixes = sum(len(eni.prefixes) for eni in enis)
    total = sum(len(eni.addresses) for eni in enis) + prefixes * PREFIX_ADDRESSES
    yield _gauge("eni_allocated", "ENIs attached for pods.", Sample({}, len(enis)))
    yield _gauge("total_ip_addresses", "Addresses on them.", Sample({}, total))
    yield _gauge("assigned_ip_addresses", "Addresses pods hold.", Sample({}, len(pool.assigned)))
    yield _gauge("total_ipv4_prefixes", "IPv4 prefixes on them.", Sample({}, prefixes))


def _per_cidr(pool: Pool) -> Family:
    """One series a prefix, and one a subnet for all single addresses in it: a series for each would be hundreds."""
    enis = tuple(_serving(pool.supply))
    single = {address: eni.subnet_cidr for eni in enis for address in eni.addresses}
    prefixes = {str(ip_network(prefix)): prefix for eni in enis for prefix in eni.prefixes}
    counts = Counter(dict.fromkeys((*single.values(), *prefixes), 0))
    for address in pool.assigned:
        where = single.get(address) or _prefix_of(address)
        if where in counts:
            counts[where] += 1
    samples = (Sample({"cidr": cidr}, count) for cidr, count in sorted(counts.items()))
    return Family("awscni_assigned_ip_per_cidr", "gauge", "Addresses pods hold, by CIDR.", tuple(samples))


def _per_eni(pool: Pool) -> Family:
    held = frozenset(pool.assigned)
    samples = (Sample({"eni": eni.id}, _count(eni, held)) for eni in _serving(pool.supply))
    return Family("awscni_assigned_ip_per_eni", "gauge", "Addresses pods hold, by ENI.", tuple(samples))


def _counters(counts: Counts) -> Iterator[Family]:
    yield _counter("add_ip_req_count", "ADDs asked for.", Sample({}, counts.adds))
    dels = (Sample({"reason": reason}, count) for reason, count in sorted(counts.dels.items()))
    yield _counter("del_ip_req_count", "DELs asked for, and ADDs undone.", *dels)
    yield _counter("no_available_ip_addresses", "ADDs that ended without an address.", Sample({}, counts.refusals))
    yield _counter("force_removed_enis", "ENIs that left while pods had addresses.", Sample({}, counts.losses.enis))
    yield _counter(
        "force_removed_ips", "Addresses that left while pods held them.", Sample({}, counts.losses.addresses)
    )
    failures = Sample({"fn": "increaseIPPoolsetupENIFailed"}, counts.setup_failures)
    yield _counter("ipamd_error_count", "Failures by function.", failures)
    yield _counter("pod_eni_error_count", "Failures with branch ENIs, of which there are none.")


def _serving(supply: Supply | None) -> Iterator[SupplyEni]:
    return iter(()) if supply is None else (eni for eni in supply.enis if eni.role in SERVING_ROLES)


def _has_prefixes(supply: Supply) -> bool:
    mode = supply.policy.get("mode")
    return mode is not None and mode.value in {Mode.PREFIX, Mode.AUTO}


def _count(eni: SupplyEni, held: frozenset[str]) -> int:
    prefixes = {str(ip_network(prefix)) for prefix in eni.prefixes}
    return sum(1 for address in held if address in eni.addresses or _prefix_of(address) in prefixes)


def _prefix_of(address: str) -> str:
    """Returns the /28 around an IPv4 address, the /80 around an IPv6 one: what EC2 delegates."""
    length = 28 if ip_address(address).version == 4 else 80
    return str(ip_network(f"{address}/{length}", strict=False))


def _is_of(cidrs: frozenset[str], address: str) -> bool:
    return address in cidrs or _prefix_of(address) in cidrs


def _gauge(name: str, meaning: str, *samples: Sample) -> Family:
    return Family(f"awscni_{name}", "gauge", meaning, samples)


def _counter(name: str, meaning: str, *samples: Sample) -> Family:
    return Family(f"awscni_{name}", "counter", meaning, samples)
