import pytest

from eni_node_agent.ledger.addresses import addresses_of, single


def test_every_address_of_a_prefix_serves_its_first_and_last_included() -> None:
    assert addresses_of("10.0.1.16/28") == tuple(f"10.0.1.{last}" for last in range(16, 32))


@pytest.mark.parametrize("cidr", ["10.0.1.7", "10.0.1.7/32"])
def test_a_secondary_address_is_a_cidr_of_one(cidr: str) -> None:
    assert addresses_of(cidr) == ("10.0.1.7",)


@pytest.mark.parametrize("cidr", ["10.0.1.7/28", "10.0.1", "", "10.0.1.0/33"])
def test_refuses_what_is_no_cidr(cidr: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        addresses_of(cidr)


def test_names_an_address_as_the_handshake_does() -> None:
    assert single("10.0.1.7") == "10.0.1.7/32"
