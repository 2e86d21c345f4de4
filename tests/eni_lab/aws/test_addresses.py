"""Facts: subnet-sizing.html and ec2-prefix-eni.html; the numbers can be checked by hand."""

import random
from ipaddress import IPv4Address, IPv4Network, IPv6Network

import pytest

from eni_lab.aws.engine.addresses import SubnetPool
from eni_lab.aws.engine.errors import Ec2Error
from eni_lab.aws.engine.ipv6_addresses import Ipv6SubnetPool


def pool(cidr: str = "10.0.1.0/24") -> SubnetPool:
    return SubnetPool(IPv4Network(cidr), random.Random(1))


def test_aws_keeps_the_first_four_addresses_and_the_last() -> None:
    taken = {pool_of_16.pick_address("random") for pool_of_16 in [pool("10.0.1.0/28")] for _ in range(11)}
    assert taken == {f"10.0.1.{host}" for host in range(4, 15)}


@pytest.mark.parametrize(("cidr", "free"), [("10.0.0.0/16", 65531), ("10.0.1.0/24", 251), ("10.0.1.0/28", 11)])
def test_free_counts_what_can_be_handed_out(cidr: str, free: int) -> None:
    assert pool(cidr).free == free


@pytest.mark.parametrize("choice", ["random", "packed"])
def test_a_24_has_14_prefixes_and_27_single_addresses_besides(choice: str) -> None:
    subnet = pool()
    prefixes = [subnet.pick_prefix(choice, fall_back=True) for _ in range(14)]
    assert {IPv4Network(prefix).network_address.packed[3] for prefix in prefixes} == set(range(16, 240, 16))
    with pytest.raises(Ec2Error, match="InsufficientCidrBlocks"):
        subnet.pick_prefix(choice, fall_back=True)
    assert subnet.free == 27
    for _ in range(27):
        subnet.pick_address(choice)
    with pytest.raises(Ec2Error, match="InsufficientFreeAddressesInSubnet"):
        subnet.pick_address(choice)


def test_one_address_in_each_block_leaves_no_prefix_though_most_addresses_are_free() -> None:
    subnet = pool()
    for block in range(1, 15):
        subnet.take_address(f"10.0.1.{16 * block + 7}")
    assert subnet.free == 251 - 14
    with pytest.raises(Ec2Error, match="InsufficientCidrBlocks"):
        subnet.pick_prefix("random", fall_back=True)


def test_a_released_prefix_can_be_taken_again() -> None:
    subnet = pool()
    subnet.take_prefix("10.0.1.32/28")
    subnet.release_prefix("10.0.1.32/28")
    assert subnet.take_prefix("10.0.1.32/28") == "10.0.1.32/28"
    assert subnet.free == 251 - 16


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        ("10.0.1.3", "InvalidParameterValue"),
        ("10.0.1.255", "InvalidParameterValue"),
        ("10.0.2.7", "InvalidParameterValue"),
        ("ten", "InvalidParameterValue"),
        ("10.0.1.9", "InvalidIPAddress.InUse"),
    ],
)
def test_a_named_address_must_be_usable_and_free(wanted: str, code: str) -> None:
    subnet = pool()
    subnet.take_address("10.0.1.9")
    with pytest.raises(Ec2Error) as caught:
        subnet.take_address(wanted)
    assert caught.value.code == code


@pytest.mark.parametrize(
    "wanted", ["10.0.1.0/28", "10.0.1.240/28", "10.0.1.32/27", "10.0.1.33/28", "10.0.2.16/28", "x"]
)
def test_a_named_prefix_must_be_an_aligned_wholly_free_28_of_the_subnet(wanted: str) -> None:
    with pytest.raises(Ec2Error, match="InvalidParameterValue"):
        pool().take_prefix(wanted)


def test_single_addresses_never_come_from_a_reservation_unless_named() -> None:
    subnet = pool("10.0.1.0/27")
    subnet.reserve(IPv4Network("10.0.1.16/28"), "explicit")
    assert {subnet.pick_address("random") for _ in range(12)} == {f"10.0.1.{host}" for host in range(4, 16)}
    with pytest.raises(Ec2Error, match="InsufficientFreeAddressesInSubnet"):
        subnet.pick_address("random")
    assert subnet.take_address("10.0.1.20") == "10.0.1.20"


def test_prefixes_come_from_a_prefix_reservation_first_and_from_the_rest_when_it_is_full() -> None:
    subnet = pool()
    subnet.reserve(IPv4Network("10.0.1.64/27"), "prefix")
    first = {subnet.pick_prefix("random", fall_back=False) for _ in range(2)}
    assert first == {"10.0.1.64/28", "10.0.1.80/28"}
    with pytest.raises(Ec2Error, match="InsufficientCidrBlocks"):
        subnet.pick_prefix("random", fall_back=False)
    third = IPv4Network(subnet.pick_prefix("random", fall_back=True))
    assert not third.overlaps(IPv4Network("10.0.1.64/27"))


def test_prefixes_never_come_from_an_explicit_reservation() -> None:
    subnet = pool("10.0.1.0/26")
    subnet.reserve(IPv4Network("10.0.1.16/28"), "explicit")
    assert subnet.pick_prefix("packed", fall_back=True) == "10.0.1.32/28"
    with pytest.raises(Ec2Error, match="InsufficientCidrBlocks"):
        subnet.pick_prefix("packed", fall_back=True)


def test_a_deleted_reservation_is_in_general_use_again() -> None:
    subnet = pool("10.0.1.0/26")
    subnet.reserve(IPv4Network("10.0.1.16/28"), "explicit")
    subnet.unreserve(IPv4Network("10.0.1.16/28"))
    assert subnet.pick_prefix("packed", fall_back=True) == "10.0.1.16/28"


def test_all_or_nothing_gives_back_what_was_taken_before_the_error() -> None:
    subnet = pool()
    subnet.take_address("10.0.1.9")

    def take_three() -> None:
        with subnet.all_or_nothing():
            subnet.take_prefix("10.0.1.32/28")
            subnet.take_address("10.0.1.10")
            subnet.take_address("10.0.1.9")

    with pytest.raises(Ec2Error, match="is in use"):
        take_three()
    assert subnet.free == 250
    assert subnet.take_prefix("10.0.1.32/28")


def test_packed_takes_the_lowest_and_random_scatters() -> None:
    packed, scattered = pool(), pool()
    assert [packed.pick_address("packed") for _ in range(3)] == ["10.0.1.4", "10.0.1.5", "10.0.1.6"]
    hosts = sorted(int(IPv4Address(scattered.pick_address("random"))) for _ in range(20))
    assert hosts[-1] - hosts[0] > 60


def ipv6_pool() -> Ipv6SubnetPool:
    return Ipv6SubnetPool(IPv6Network("2600:1f18:1:2::/64"), random.Random(1))


def test_an_ipv6_prefix_is_an_80_of_the_subnet() -> None:
    prefix = IPv6Network(ipv6_pool().pick_prefix())
    assert prefix.prefixlen == 80
    assert prefix.subnet_of(IPv6Network("2600:1f18:1:2::/64"))


def test_ipv6_prefixes_and_addresses_do_not_overlap() -> None:
    subnet = ipv6_pool()
    subnet.take_address("2600:1f18:1:2:7::1")
    with pytest.raises(Ec2Error, match="overlaps"):
        subnet.take_prefix("2600:1f18:1:2:7::/80")
    subnet.take_prefix("2600:1f18:1:2:8::/80")
    with pytest.raises(Ec2Error, match="is in use"):
        subnet.take_address("2600:1f18:1:2:8::1")


@pytest.mark.parametrize("wanted", ["2600:1f18:1:2::3", "2600:1f18:1:3::9", "2600:1f18:1:2:ffff:ffff:ffff:ffff", "six"])
def test_a_named_ipv6_address_must_be_usable(wanted: str) -> None:
    with pytest.raises(Ec2Error, match="InvalidParameterValue"):
        ipv6_pool().take_address(wanted)


def test_ipv6_all_or_nothing_gives_back_what_was_taken_before_the_error() -> None:
    subnet = ipv6_pool()

    def take_three() -> None:
        with subnet.all_or_nothing():
            subnet.take_address("2600:1f18:1:2:7::1")
            subnet.take_prefix("2600:1f18:1:2:8::/80")
            subnet.take_address("2600:1f18:1:2:7::1")

    with pytest.raises(Ec2Error, match="is in use"):
        take_three()
    assert subnet.take_address("2600:1f18:1:2:8::1")
    assert subnet.take_prefix("2600:1f18:1:2:7::/80")


def test_a_released_ipv6_address_and_prefix_can_be_taken_again() -> None:
    subnet = ipv6_pool()
    address, prefix = subnet.take_address("2600:1f18:1:2:7::1"), subnet.take_prefix("2600:1f18:1:2:8::/80")
    subnet.release_address(address)
    subnet.release_prefix(prefix)
    assert (subnet.take_address(address), subnet.take_prefix(prefix)) == (address, prefix)
