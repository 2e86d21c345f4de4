import gc
import subprocess
import sys
from collections.abc import Iterator

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


def test_the_api_servers_client_brings_neither_models_nor_compiled_parts() -> None:
    program = """
import sys
from eni_node_agent import footprint
footprint.begin()
from eni_node_agent.cluster import kube
kube._kubernetes()
print(*sys.modules)
"""
    command = [sys.executable, "-c", program]
    loaded = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout.split()
    assert "kubernetes_asyncio.client.rest" in loaded
    unneeded = {"urllib3", "aiohttp._http_parser", "frozenlist._frozenlist", "yarl._quoting_c", "aiohttp.web"}
    assert unneeded & set(loaded) == set()
    assert [name for name in loaded if name.startswith("kubernetes_asyncio.client.models")] == []
