import gc
import os
import subprocess
import sys
from collections.abc import Iterator

import certifi
import pytest

from eni_node_agent import footprint


@pytest.fixture(autouse=True)
def collector() -> Iterator[None]:
    yield
    gc.unfreeze()
    gc.enable()


def test_nothing_is_collected_while_code_is_loaded_and_loaded_code_never() -> None:
    footprint.begin({})
    assert not gc.isenabled()
    footprint.settle()
    assert gc.isenabled()
    assert gc.get_freeze_count() > 10_000


def test_what_somebody_wants_of_libraries_stays() -> None:
    environ = {"AIOHTTP_NO_EXTENSIONS": ""}
    footprint.begin(environ)
    assert environ["AIOHTTP_NO_EXTENSIONS"] == ""
    assert environ["YARL_NO_EXTENSIONS"] == "1"


def test_a_serving_agent_holds_neither_what_only_people_ask_for_nor_compiled_halves_and_models() -> None:
    """Each of these was 0.3 to 38 MB on every node."""
    loaded = after_loading("print(*sys.modules)").split()
    assert {"kubernetes_asyncio.client.rest", "eni_crds.nodeippool", "prometheus_client"} <= set(loaded)
    unneeded = {
        "aiohttp._http_parser",
        "aiohttp.web",
        "botocore",
        "eni_crds.schema",
        "eni_node_agent.commands",
        "eni_node_agent.inspection",
        "eni_node_agent.network.preparation",
        "eni_node_agent.support",
        "frozenlist._frozenlist",
        "multiprocessing",
        "pydantic",
        "pyroute2",
        "unittest",
        "urllib3",
        "yarl._quoting_c",
        "yaml",
    }
    assert unneeded & set(loaded) == set()
    assert [name for name in loaded if name.startswith("kubernetes_asyncio.client.models")] == []


def test_a_serving_agent_keeps_no_copy_of_the_worlds_authorities() -> None:
    program = "import aiohttp.connector as c; print(c._SSL_CONTEXT_VERIFIED.cert_store_stats()['x509'])"
    assert after_loading(program).strip() == "0"
    assert after_loading(program, SSL_CERT_FILE=certifi.where()).strip() != "0", "who wants them has them"


def after_loading(program: str, **variables: str) -> str:
    """Returns what a program prints in a process that has loaded all that a serving agent has."""
    whole = f"""
import sys
from eni_node_agent import __main__, footprint
footprint.begin()
from eni_node_agent import wiring
from eni_node_agent.cluster import kube
from eni_node_agent.introspection import site
from eni_node_agent.ledger import journal
kube._kubernetes()
{program}
"""
    environ = {name: value for name, value in os.environ.items() if name != "SSL_CERT_FILE"} | variables
    command = [sys.executable, "-c", whole]
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=True, timeout=30).stdout
