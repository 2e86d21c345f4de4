import os
import subprocess
import sys

import pytest

from eni_operator import footprint

CONTEXTS = """
import asyncio
import aiohttp.connector
from aiobotocore.httpsession import AIOHTTPSession
print(aiohttp.connector._SSL_CONTEXT_VERIFIED.cert_store_stats()["x509"])
print(AIOHTTPSession()._build_verify_context().cert_store_stats()["x509"])
"""


def test_what_is_said_while_code_is_loaded_is_taken_back_and_nobodys_word_is_touched() -> None:
    environ = {"SSL_CERT_FILE": "/of/somebody", "PATH": "/bin"}
    before = dict(environ)
    with footprint.loading(one_node=True, environ=environ):
        assert environ["SSL_CERT_FILE"] == "/of/somebody"
        assert environ["AIOHTTP_NO_EXTENSIONS"] == "1"
    assert environ == before


@pytest.mark.parametrize(("one_node", "compiled"), [(True, False), (False, True)])
def test_one_node_goes_without_compiled_parts_a_cluster_does_not(*, one_node: bool, compiled: bool) -> None:
    loaded = after_loading("print(*sys.modules)", one_node=one_node).split()
    assert ("aiohttp._http_parser" in loaded) is compiled
    assert "pydantic" not in loaded


def test_the_worlds_authorities_are_held_by_the_client_that_asks_for_them_alone() -> None:
    unused, of_ec2 = map(int, after_loading(CONTEXTS, one_node=True).split())
    assert unused == 0
    assert of_ec2 > 50


def after_loading(program: str, *, one_node: bool) -> str:
    """Returns what a program prints in a process that has loaded the operator."""
    whole = f"""
import sys
from eni_operator import __main__, footprint
from eni_operator.controllers import lazy_kubernetes
lazy_kubernetes.install()
with footprint.loading(one_node={one_node}):
    import eni_operator.wiring
{program}
"""
    environ = {name: value for name, value in os.environ.items() if name != "SSL_CERT_FILE"}
    command = [sys.executable, "-c", whole]
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=True, timeout=30).stdout
