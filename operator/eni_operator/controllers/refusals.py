"""What EC2's refusals mean for the pool's conditions: a machine reason, and a sentence that names what and when.

Decides the words; the errors come from ``execution`` and ``inventory``, the conditions that need no failure from
``planning.reasons``. Pure; instants are Unix seconds.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from eni_crds.conditions import OPERATOR_CONDITIONS, ConditionType, Reason
from eni_operator.domain.actions import Action, AssignAddresses, AssignIpv6Prefix, AssignPrefixes, AttachEni, CreateEni
from eni_operator.domain.reasons import Verdict
from eni_operator.ec2.errors import (
    AddressLimitReachedError,
    CredentialsExpiredError,
    CredentialsMissingError,
    DeniedError,
    Ec2Error,
    Ec2UnavailableError,
    LimitReachedError,
    NoFreePrefixError,
    QuotaReachedError,
    SubnetFullError,
    ThrottledError,
    UnknownInstanceError,
    UnknownInstanceTypeError,
    UnknownSecurityGroupError,
    UnknownSubnetError,
    WrongZoneError,
)
from eni_operator.planning.reasons import clock_time

NEXT_TRY: Final = "; next try at "
"""Stands before the instant in every sentence about a refusal."""
_GROWTH: Final = (CreateEni, AttachEni, AssignAddresses, AssignPrefixes, AssignIpv6Prefix)


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error, what was being done (None: EC2 was being asked), and when it is done again."""

    error: Ec2Error
    action: Action | None
    retry_at: float
    only_narrows: bool = False
    """True: the pool goes on without what was asked, as with subnet discovery denied."""

    @property
    def hinders(self) -> bool:
        """Tells whether the pool can not grow, or not be known, because of it."""
        return not self.only_narrows and (self.action is None or isinstance(self.action, _GROWTH))


@dataclass(frozen=True, slots=True)
class _Meaning:
    reason: Reason
    sentence: str
    """With places for the API, AWS's own sentence, the IAM action, and what it was about."""
    condition: ConditionType | None = None
    """The condition that is about just this; Ready and Sufficient follow from any."""


_MEANINGS: Final[tuple[tuple[type[Ec2Error], _Meaning], ...]] = (
    (
        ThrottledError,
        _Meaning(Reason.THROTTLED, "EC2 throttles {operation} in this account and Region", ConditionType.THROTTLED),
    ),
    (
        DeniedError,
        _Meaning(
            Reason.ACCESS_DENIED,
            "IAM denies {permission}{target}: grant it to the operator's role",
            ConditionType.ACCESS_DENIED,
        ),
    ),
    (
        CredentialsExpiredError,
        _Meaning(
            Reason.CREDENTIALS_EXPIRED,
            "the AWS credential has expired and was refused for {operation}: {detail}",
            ConditionType.ACCESS_DENIED,
        ),
    ),
    (
        CredentialsMissingError,
        _Meaning(
            Reason.CREDENTIALS_MISSING,
            "there is no usable AWS credential for {operation}: {detail}",
            ConditionType.ACCESS_DENIED,
        ),
    ),
    (
        SubnetFullError,
        _Meaning(
            Reason.SUBNET_FULL,
            "the subnet has no free address for {operation}{target}",
            ConditionType.SUBNET_EXHAUSTED,
        ),
    ),
    (
        NoFreePrefixError,
        _Meaning(
            Reason.NO_FREE_PREFIX,
            "the subnet has no whole /28 free for {operation}{target}",
            ConditionType.PREFIX_FRAGMENTED,
        ),
    ),
    (
        LimitReachedError,
        _Meaning(Reason.ENI_LIMIT, "the instance takes no further ENI{target}: {detail}", ConditionType.LIMIT_REACHED),
    ),
    (
        AddressLimitReachedError,
        _Meaning(
            Reason.ADDRESS_LIMIT, "the ENI takes no further address{target}: {detail}", ConditionType.LIMIT_REACHED
        ),
    ),
    (
        QuotaReachedError,
        _Meaning(
            Reason.ENI_QUOTA,
            "the account's quota of network interfaces in this Region is used up{target}: {detail}",
            ConditionType.LIMIT_REACHED,
        ),
    ),
    (
        UnknownSecurityGroupError,
        _Meaning(Reason.UNKNOWN_SECURITY_GROUP, "the VPC has no such security group{target}: {detail}"),
    ),
    (UnknownSubnetError, _Meaning(Reason.UNKNOWN_SUBNET, "there is no such subnet{target}: {detail}")),
    (
        WrongZoneError,
        _Meaning(Reason.WRONG_ZONE, "the ENI and the instance are in different zones{target}: {detail}"),
    ),
    (Ec2UnavailableError, _Meaning(Reason.EC2_UNREACHABLE, "EC2 does not answer {operation}: {detail}")),
    (
        UnknownInstanceTypeError,
        _Meaning(Reason.UNKNOWN_INSTANCE_TYPE, "EC2 does not know this node's instance type: {detail}"),
    ),
    (UnknownInstanceError, _Meaning(Reason.UNKNOWN_INSTANCE, "EC2 does not know this node's instance: {detail}")),
    (Ec2Error, _Meaning(Reason.EC2_ERROR, "{operation} failed{target}: {code}: {detail}")),
)
"""The first that fits counts; the last one always does."""

_UNREFUSED: Final = {
    ConditionType.THROTTLED: "EC2 throttles no call of this node",
    ConditionType.ACCESS_DENIED: "no call of this node lacks a permission or a credential",
}
"""Of conditions that only a refusal makes true: what is so without one."""
_UNKNOWN: Final = "not known before EC2 has told of the instance"


def _meaning(refusal: Refusal) -> tuple[_Meaning, str]:
    """Returns what the refusal means and its sentence."""
    error = refusal.error
    meaning = next(meaning for kind, meaning in _MEANINGS if isinstance(error, kind))
    sentence = meaning.sentence.format(
        operation=error.operation,
        code=error.code or "no code",
        detail=error.detail,
        permission=error.action if isinstance(error, DeniedError) else "",
        target=_target(refusal.action),
    )
    return meaning, f"{sentence}{NEXT_TRY}{clock_time(refusal.retry_at)}"


def _target(action: Action | None) -> str:
    match action:
        case None:
            return ""
        case CreateEni():
            return f" (new ENI in {action.subnet_id})"
        case _:
            return f" ({action.eni_id})"


def merge(planned: Iterable[Verdict], refusals: Sequence[Refusal]) -> tuple[Verdict, ...]:
    """Returns a verdict for each of the operator's conditions: planning's, and over them what EC2 refused.

    Ready stays true while there are addresses to give; what hinders growth makes Sufficient false, and replaces
    Ready's reason where Ready is false anyway.
    """
    verdicts = {
        type_: _verdict(type_, Reason.NOT_AFFECTED, _UNREFUSED.get(type_, _UNKNOWN), status=False)
        for type_ in OPERATOR_CONDITIONS
    }
    verdicts |= {verdict.type: verdict for verdict in planned}
    for refusal in refusals:
        meaning, message = _meaning(refusal)
        if meaning.condition is not None and not verdicts[meaning.condition].status:
            verdicts[meaning.condition] = _verdict(meaning.condition, meaning.reason, message, status=True)
        if refusal.hinders:
            _hinder(verdicts, meaning.reason, message)
    return tuple(verdicts.values())


def _hinder(verdicts: dict[ConditionType, Verdict], reason: Reason, message: str) -> None:
    sufficient, ready = verdicts[ConditionType.SUFFICIENT], verdicts[ConditionType.READY]
    if sufficient.status or sufficient.reason is Reason.NOT_AFFECTED:
        verdicts[ConditionType.SUFFICIENT] = _verdict(ConditionType.SUFFICIENT, reason, message, status=False)
    if not ready.status and ready.reason in {Reason.GROWING, Reason.NOT_AFFECTED}:
        verdicts[ConditionType.READY] = replace(ready, reason=reason, message=message)


def _verdict(type_: ConditionType, reason: Reason, message: str, *, status: bool) -> Verdict:
    return Verdict(type=type_, status=status, reason=reason, message=message)
