"""Every code of AWS's lands in the class that says what to do about it."""

import pytest

from eni_operator.ec2 import errors
from eni_operator.ec2.errors import classify

CODES = [
    ("RequestLimitExceeded", "Request limit exceeded.", 503, errors.ThrottledError),
    ("Throttling", "Rate exceeded", 400, errors.ThrottledError),
    ("InsufficientFreeAddressesInSubnet", "…", 400, errors.SubnetFullError),
    ("InsufficientCidrBlocks", "not enough free cidr blocks", 400, errors.NoFreePrefixError),
    (
        "InvalidParameterValue",
        "There aren't sufficient free Ipv4 addresses or prefixes to assign",
        400,
        errors.NoFreePrefixError,
    ),
    ("InvalidParameterValue", "Network interface 'eni-1' is currently in use.", 400, errors.BusyError),
    (
        "InvalidParameterValue",
        "Some of the specified addresses are not assigned to interface eni-1",
        400,
        errors.NotAssignedError,
    ),
    (
        "InvalidParameterValue",
        "Instance 'i-1' already has an interface attached at device index '1'.",
        400,
        errors.DeviceIndexTakenError,
    ),
    ("InvalidParameterValue", "invalid value for parameter address", 400, errors.Ec2Error),
    ("AttachmentLimitExceeded", "Interface count 4 exceeds the limit", 400, errors.LimitReachedError),
    ("PrivateIpAddressLimitExceeded", "will exceed limit.", 400, errors.AddressLimitReachedError),
    ("NetworkInterfaceLimitExceeded", "…", 400, errors.QuotaReachedError),
    ("ResourceLimitExceeded", "maximum number of interfaces", 400, errors.QuotaReachedError),
    ("InvalidInstanceType", "…", 400, errors.UnknownInstanceTypeError),
    ("InvalidInstanceID.NotFound", "…", 400, errors.UnknownInstanceError),
    ("InvalidNetworkInterfaceID.NotFound", "…", 400, errors.NotFoundError),
    ("InvalidAttachmentID.NotFound", "…", 400, errors.NotFoundError),
    ("UnauthorizedOperation", "You are not authorized to perform this operation.", 403, errors.DeniedError),
    ("AuthFailure", "…", 401, errors.CredentialsMissingError),
    ("ExpiredToken", "…", 400, errors.CredentialsExpiredError),
    ("ExpiredTokenException", "…", 400, errors.CredentialsExpiredError),
    ("RequestExpired", "…", 400, errors.CredentialsExpiredError),
    (
        "InvalidParameterCombination",
        "You may not attach a network interface to an instance if they are not in the same availability zone",
        400,
        errors.WrongZoneError,
    ),
    ("InvalidParameterCombination", "Only one of the parameters may be specified", 400, errors.Ec2Error),
    (
        "InvalidParameter",
        "Security group sg-1 and subnet subnet-1 belong to different networks.",
        400,
        errors.UnknownSecurityGroupError,
    ),
    ("InvalidGroup.NotFound", "The security group 'sg-1' does not exist", 400, errors.UnknownSecurityGroupError),
    ("InvalidSubnetID.NotFound", "…", 400, errors.UnknownSubnetError),
    ("IdempotentParameterMismatch", "…", 400, errors.IdempotencyMismatchError),
    ("IncorrectState", "…", 400, errors.BusyError),
    ("InternalError", "…", 500, errors.Ec2UnavailableError),
    ("BadGateway", "…", 502, errors.Ec2UnavailableError),
    ("SomethingNew", "…", 400, errors.Ec2Error),
]


@pytest.mark.parametrize(("code", "text", "status", "expected"), CODES, ids=[f"{c[0]}-{c[3].__name__}" for c in CODES])
def test_a_code_has_exactly_one_class(code: str, text: str, status: int, expected: type[errors.Ec2Error]) -> None:
    error = classify("AssignPrivateIpAddresses", code, text, status)
    assert type(error) is expected
    assert (error.operation, error.code, error.detail) == ("AssignPrivateIpAddresses", code, text)


def test_only_an_answer_that_never_came_is_ambiguous() -> None:
    ambiguous = {type(e).__name__ for c, t, s, _ in CODES if (e := classify("X", c, t, s)).ambiguous}
    assert ambiguous == {"Ec2UnavailableError"}


def test_a_denial_names_the_action_that_aws_names() -> None:
    text = "User: arn:aws:sts::1:assumed-role/r is not authorized to perform: ec2:CreateTags on resource: arn:aws:ec2:…"
    error = classify("CreateNetworkInterface", "UnauthorizedOperation", text, 403)
    assert isinstance(error, errors.DeniedError)
    assert error.action == "ec2:CreateTags"


def test_a_denial_without_a_name_is_about_the_call_itself() -> None:
    error = classify("CreateNetworkInterface", "UnauthorizedOperation", "no", 403)
    assert isinstance(error, errors.DeniedError)
    assert error.action == "ec2:CreateNetworkInterface"


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("ExpiredTokenException", errors.CredentialsMissingError),
        ("InvalidIdentityToken", errors.CredentialsMissingError),
        ("AccessDenied", errors.CredentialsMissingError),
        ("ValidationError", errors.CredentialsMissingError),
        ("Throttling", errors.ThrottledError),
        ("ServiceUnavailable", errors.Ec2UnavailableError),
    ],
)
def test_a_role_that_sts_refuses_is_a_missing_credential_and_no_denied_call(
    code: str, expected: type[errors.Ec2Error]
) -> None:
    assert type(classify("AssumeRoleWithWebIdentity", code, "…")) is expected
