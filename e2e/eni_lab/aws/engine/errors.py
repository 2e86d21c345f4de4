"""EC2's errors as the API answers them: a code, a sentence and an HTTP status.

The texts are those seen in real accounts where one is known; ``docs/standin-aws.md`` lists which are assumed.
Counterpart: ``eni_lab.aws.wire`` renders them.
"""

from collections.abc import Iterable


class Ec2Error(Exception):
    """One error of the EC2 API (https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html)."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status


def invalid_value(message: str) -> Ec2Error:
    """Returns the error for a value EC2 does not accept."""
    return Ec2Error("InvalidParameterValue", message)


def invalid_combination(message: str) -> Ec2Error:
    """Returns the error for parameters that exclude each other."""
    return Ec2Error("InvalidParameterCombination", message)


def missing(parameter: str) -> Ec2Error:
    """Returns the error for an absent required parameter."""
    return Ec2Error("MissingParameter", f"The request must contain the parameter {parameter}")


def exclusive(names: Iterable[str]) -> Ec2Error:
    """Returns the error for parameters of which only one may be given."""
    return invalid_combination(f"Only one of the parameters {', '.join(names)} may be specified.")


def no_free_addresses() -> Ec2Error:
    """Returns the error for a subnet without a free single address."""
    text = "The specified subnet does not have enough free addresses to satisfy the request."
    return Ec2Error("InsufficientFreeAddressesInSubnet", text)


def no_free_blocks() -> Ec2Error:
    """Returns the error for a subnet without a wholly free aligned /28 (or /80)."""
    text = "The specified subnet does not have enough free cidr blocks to satisfy the request."
    return Ec2Error("InsufficientCidrBlocks", text)


def no_addresses_on_efa_only(parameter: str) -> Ec2Error:
    """Returns the error for addresses on an ENI without a network device (the code is documented nowhere; assumed)."""
    text = f"The parameter {parameter} cannot be specified for a network interface of type efa-only."
    return invalid_combination(text)


def address_limit() -> Ec2Error:
    """Returns the error for more addresses and prefixes than the instance type allows on one ENI."""
    return Ec2Error("PrivateIpAddressLimitExceeded", "Number of private addresses will exceed limit.")
