from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eni_cni_shim import forwarder, protocol
from eni_cni_shim.protocol import ProtocolError, Reply, Request

VALUE = st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(protocol.VARIABLES), VALUE), st.binary())
def test_a_request_arrives_as_it_was_sent(environ: dict[str, str], stdin: bytes) -> None:
    data = protocol.dump_request(Request(environ, stdin))
    size = protocol.REQUEST_HEADER.size
    assert len(data) - size == protocol.parse_length(data[:size])
    assert Request(environ, stdin) == protocol.parse_body(data[size:])


@settings(deadline=None)
@given(st.integers(0, 255), st.binary())
def test_a_reply_arrives_as_it_was_sent(exit_code: int, stdout: bytes) -> None:
    assert Reply(exit_code, stdout) == protocol.parse_reply(protocol.dump_reply(Reply(exit_code, stdout)))


@settings(deadline=None)
@given(st.binary(max_size=30), st.integers(0, 40))
def test_a_reply_cut_anywhere_is_refused(stdout: bytes, at: int) -> None:
    data = protocol.dump_reply(Reply(0, stdout))
    with pytest.raises(ProtocolError):
        protocol.parse_reply(data[: min(at, len(data) - 1)])


@pytest.mark.parametrize("header", [b"GET / HT", b"ENI2\0\0\0\0", b"ENI1\x01\0\x10\0"])
def test_a_strange_or_immense_request_is_refused(header: bytes) -> None:
    with pytest.raises(ProtocolError):
        protocol.parse_length(header)


def test_a_request_that_lacks_variables_is_refused() -> None:
    with pytest.raises(ProtocolError, match="5 variables"):
        protocol.parse_body(b"ADD\0\0\0\0\0{}")


def test_the_executables_follow_the_protocol_they_cannot_import() -> None:
    source = (Path(forwarder.__file__).parent.parent / "forwarder.c").read_text()
    assert tuple(name.encode() for name in protocol.VARIABLES) == forwarder.VARIABLES
    assert (forwarder.MAGIC, forwarder.LARGEST_BODY) == (protocol.MAGIC, protocol.LARGEST_BODY)
    assert protocol.REPLY_HEADER.size == forwarder.REPLY_HEADER
    assert all(f'"{name}"' in source for name in protocol.VARIABLES)
