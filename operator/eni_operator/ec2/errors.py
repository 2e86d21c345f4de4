"""AWS's error codes sorted once, by what the caller must do about them.

Decides which class an error is; does not retry (``ec2.client`` tries once, the reconcile loop tries again) and does not
word conditions (``controllers.refusals``). Codes: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html
"""

import re
from typing import Final


class Ec2Error(Exception):
    """EC2 refused or failed and no other class fits: say so, try again later with back-off."""

    def __init__(self, operation: str, code: str = "", detail: str = "") -> None:
        super().__init__(f"{operation} failed: {code}: {detail}" if code else f"{operation} failed: {detail}")
        self.operation = operation
        """The API, as CloudTrail names it: ``AttachNetworkInterface``."""
        self.code = code
        """AWS's code; empty when no answer came."""
        self.detail = detail
        """AWS's sentence, or the transport's."""

    @property
    def ambiguous(self) -> bool:
        """Tells whether the call may have had its effect all the same: ask EC2 before trying again."""
        return False


class ThrottledError(Ec2Error):
    """Too many calls: slow this API down, try again with jitter."""


class SubnetFullError(Ec2Error):
    """The subnet has no free address: leave it alone for a while."""


class NoFreePrefixError(Ec2Error):
    """The subnet has no free /28, though it may have single addresses: leave prefixes there alone for a while."""


class LimitReachedError(Ec2Error):
    """The instance holds as many ENIs as its type allows: look again at what is attached."""


class DeviceIndexTakenError(Ec2Error):
    """Something else is attached at that device index: look again at what is attached."""


class AddressLimitReachedError(Ec2Error):
    """The ENI holds as many addresses as the instance type allows: look again at what it has."""


class QuotaReachedError(Ec2Error):
    """The account's quota of ENIs is used up: a person must raise it."""


class NotFoundError(Ec2Error):
    """The thing is not there, or not yet: done for who removes, look again for who uses."""


class NotAssignedError(NotFoundError):
    """Some of the addresses are not on that ENI: done for who gives them back."""


class UnknownInstanceError(NotFoundError):
    """EC2 does not know the instance, or not in this Region or account."""


class UnknownSecurityGroupError(NotFoundError):
    """The VPC has no such security group."""


class UnknownSubnetError(NotFoundError):
    """There is no such subnet."""


class UnknownInstanceTypeError(Ec2Error):
    """EC2 does not know the instance type: its limits cannot be had."""


class DeniedError(Ec2Error):
    """IAM says no: a person must grant ``action``."""

    @property
    def action(self) -> str:
        """Returns the missing IAM action, as ``ec2:CreateNetworkInterface``."""
        named = re.search(r"not authorized to perform:\s*([a-z0-9-]+:\w+)", self.detail)
        return named.group(1) if named else f"ec2:{self.operation}"


class WrongZoneError(Ec2Error):
    """The ENI and the instance are in different zones: a person must name subnets of the instance's zone."""


class CredentialsMissingError(Ec2Error):
    """There is no usable AWS credential: a person must mend the role."""


class CredentialsExpiredError(CredentialsMissingError):
    """EC2 finds the credential too old, or the time it was signed at: nobody renews it, or a clock is off."""


class Ec2UnavailableError(Ec2Error):
    """No answer, or a server error: nobody knows whether the call had its effect."""

    @property
    def ambiguous(self) -> bool:
        """Tells that the effect is unknown."""
        return True


class IdempotencyMismatchError(Ec2Error):
    """The client token was used with other arguments: an ENI of that intent exists, find and adopt it."""


class BusyError(Ec2Error):
    """The ENI is still in use or changing: the same call works later."""


_BY_CODE: Final[dict[str, type[Ec2Error]]] = {
    "RequestLimitExceeded": ThrottledError,
    "Throttling": ThrottledError,
    "ThrottlingException": ThrottledError,
    "ThrottledException": ThrottledError,
    "EC2ThrottledException": ThrottledError,
    "TooManyRequestsException": ThrottledError,
    "InsufficientFreeAddressesInSubnet": SubnetFullError,
    "InsufficientCidrBlocks": NoFreePrefixError,
    "AttachmentLimitExceeded": LimitReachedError,
    "PrivateIpAddressLimitExceeded": AddressLimitReachedError,
    "NetworkInterfaceLimitExceeded": QuotaReachedError,
    "ResourceLimitExceeded": QuotaReachedError,
    "InvalidInstanceID.NotFound": UnknownInstanceError,
    "InvalidGroup.NotFound": UnknownSecurityGroupError,
    "InvalidSecurityGroupID.NotFound": UnknownSecurityGroupError,
    "InvalidGroupId.Malformed": UnknownSecurityGroupError,
    "InvalidSecurityGroupID.Malformed": UnknownSecurityGroupError,
    "InvalidSubnetID.NotFound": UnknownSubnetError,
    "InvalidSubnetId.Malformed": UnknownSubnetError,
    "InvalidInstanceID.Malformed": UnknownInstanceError,
    "InvalidInstanceType": UnknownInstanceTypeError,
    "UnauthorizedOperation": DeniedError,
    "AccessDenied": DeniedError,
    "AccessDeniedException": DeniedError,
    "AuthFailure": CredentialsMissingError,
    "ExpiredToken": CredentialsExpiredError,
    "ExpiredTokenException": CredentialsExpiredError,
    "RequestExpired": CredentialsExpiredError,
    "InvalidClientTokenId": CredentialsMissingError,
    "InvalidIdentityToken": CredentialsMissingError,
    "SignatureDoesNotMatch": CredentialsMissingError,
    "IdempotentParameterMismatch": IdempotencyMismatchError,
    "InvalidNetworkInterface.InUse": BusyError,
    "IncorrectState": BusyError,
    "InternalError": Ec2UnavailableError,
    "InternalFailure": Ec2UnavailableError,
    "Unavailable": Ec2UnavailableError,
    "ServiceUnavailable": Ec2UnavailableError,
}

_BY_TEXT: Final[tuple[tuple[str, str, type[Ec2Error]], ...]] = (
    ("InvalidParameterValue", "sufficient free ipv4 addresses or prefixes", NoFreePrefixError),
    ("InvalidParameterValue", "currently in use", BusyError),
    ("InvalidParameterValue", "are not assigned to interface", NotAssignedError),
    ("InvalidParameterValue", "already has an interface attached at device index", DeviceIndexTakenError),
    ("InvalidParameterCombination", "not in the same availability zone", WrongZoneError),
    ("InvalidParameter", "belong to different networks", UnknownSecurityGroupError),
)
"""Codes that say little, told apart by EC2's sentence."""

_PASSES: Final = (ThrottledError, Ec2UnavailableError)
"""What STS gets over by itself. Whatever else it refuses a role with, a person mends there."""


def classify(operation: str, code: str, detail: str, http_status: int = 400) -> Ec2Error:
    """Returns the error for an answer of EC2's, or of STS's to the credential chain.

    A 5xx without a known code leaves the effect unknown.
    """
    kind = _kind(code, detail.lower(), http_status)
    if operation.startswith("AssumeRole") and not issubclass(kind, _PASSES):
        kind = CredentialsMissingError
    return kind(operation, code, detail)


def _kind(code: str, detail: str, http_status: int) -> type[Ec2Error]:
    for known, text, kind in _BY_TEXT:
        if code == known and text in detail:
            return kind
    if code in _BY_CODE:
        return _BY_CODE[code]
    if code.endswith(".NotFound"):
        return NotFoundError
    return Ec2UnavailableError if http_status >= 500 else Ec2Error
