"""VPC CNI's metrics that only the caller of EC2 can know, under VPC CNI's names.

Decides what of ours counts as what of theirs. The rest is served by each node's agent; where both serve a name, their
label values differ, so a sum over both is right (``eni_crds.vpc_cni_metrics`` says who serves what, ``docs/metrics.md``
tells it to people). Counters of one process, as in ``metrics``.
"""

import platform
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Final

from eni_crds.vpc_cni_metrics import Family, Sample, dump, family
from eni_operator.domain.actions import (
    Action,
    AssignAddresses,
    AssignIpv6Prefix,
    AssignPrefixes,
    AttachEni,
    CreateEni,
    RemoveEni,
    Unassign,
)
from eni_operator.domain.eni import Eni

_FAILED: Final[dict[type[Action], str]] = {
    CreateEni: "increaseIPPoolAllocENI",
    AttachEni: "increaseIPPoolwaitENIAttachedFailed",
    AssignAddresses: "increaseIPPoolAllocIPAddressesFailed",
    AssignPrefixes: "increaseIPPoolAllocIPAddressesFailed",
    AssignIpv6Prefix: "increaseIPPoolAllocIPAddressesFailed",
    Unassign: "decreaseIPPool",
    RemoveEni: "decreaseIPPoolFreeENIFailed",
}
"""Of ipamd_error_count; what is not here (tags, security groups, DeleteOnTermination) VPC CNI does not count."""
_SHRINKING: Final = (Unassign, RemoveEni)
_DELETE: Final = "DeleteNetworkInterface"

_calls: Counter[tuple[str, ...]] = Counter()
_call_milliseconds: Counter[tuple[str, ...]] = Counter()
_api_errors: Counter[tuple[str, ...]] = Counter()
_undeleted: Counter[tuple[str, ...]] = Counter()
_failures: Counter[tuple[str, ...]] = Counter()
_under_way: Counter[tuple[str, ...]] = Counter()
_surprises: Counter[tuple[str, ...]] = Counter()


def observe_call(api: str, code: str, status: int, seconds: float) -> None:
    """Counts a call to EC2.

    Args:
        api: as CloudTrail names it.
        code: AWS's error code, or another word for what went wrong; empty: it succeeded.
        status: HTTP status; 0: no answer came.
        seconds: it took.
    """
    labels = (api, "true" if code else "false", str(status or ""))
    _calls[labels] += 1
    _call_milliseconds[labels] += round(seconds * 1000)
    if code:
        _api_errors[api, code] += 1


@contextmanager
def performing(action: Action) -> Iterator[None]:
    """Counts an action as under way."""
    with under_way("decreaseDatastorePool" if isinstance(action, _SHRINKING) else "increaseDatastorePool"):
        yield


@contextmanager
def under_way(what: str) -> Iterator[None]:
    """Counts something as under way, by the name of VPC CNI's function."""
    _under_way[what,] += 1
    try:
        yield
    finally:
        _under_way[what,] -= 1


def failed(action: Action, api: str, code: str) -> None:
    """Counts an action that failed at a call, with AWS's code."""
    name = _FAILED.get(type(action))
    if name is not None:
        _failures[name,] += 1
    if isinstance(action, RemoveEni) and api == _DELETE:
        undeleted("FreeENIDeleteErr", code)


def undeleted(what: str, code: str) -> None:
    """Counts an ENI that could not be deleted: FreeENIDeleteErr, cleanUpLeakedENIDeleteErr."""
    _undeleted[what, code] += 1


def observed(before: Collection[Eni], after: Collection[Eni]) -> None:
    """Counts what a look at EC2 has changed in what is believed of an instance; the first look changes nothing."""
    if not before:
        return
    old, new = {eni.id: eni for eni in before}, {eni.id: eni for eni in after}
    _surprises["eniReconcileAdd",] += len(new.keys() - old.keys())
    _surprises["eniReconcileDel",] += len(old.keys() - new.keys())
    for eni_id in old.keys() & new.keys():
        had, has = _cidrs(old[eni_id]), _cidrs(new[eni_id])
        _surprises["eniDataStorePoolReconcileAdd",] += len(has - had)
        _surprises["eniIPPoolReconcileDel",] += len(had - has)


def text() -> bytes:
    """Returns everything in Prometheus's text format."""
    return dump(_families())


def _families() -> Iterator[Family]:
    by_api: Counter[tuple[str, ...]] = Counter()
    failed_by_api: Counter[tuple[str, ...]] = Counter()
    for (api, error, _), count in _calls.items():
        by_api[api,] += count
        failed_by_api[api,] += count if error == "true" else 0
    latencies = (
        sample
        for labels, count in sorted(_calls.items())
        for sample in (Sample(labels, _call_milliseconds[labels], "_sum"), Sample(labels, count, "_count"))
    )
    yield family("aws_api_latency_ms", *latencies)
    yield _counted("ec2api_req_count", by_api)
    yield _counted("ec2api_error_count", +failed_by_api)
    yield _counted("aws_api_error_count", _api_errors)
    yield _counted("aws_utils_error_count", _undeleted)
    yield _counted("ipamd_error_count", _failures)
    yield _counted("ipamd_action_inprogress", _under_way)
    yield _counted("reconcile_count", _surprises)
    yield family("build_info", Sample((version("eni-operator"), f"cpython{platform.python_version()}"), 1))


def _counted(name: str, counts: Counter[tuple[str, ...]]) -> Family:
    return family(name, *(Sample(labels, count) for labels, count in sorted(counts.items())))


def _cidrs(eni: Eni) -> frozenset[str]:
    return frozenset((*eni.addresses, *eni.prefixes, *eni.ipv6_prefixes))
