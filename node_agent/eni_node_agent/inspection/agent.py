"""Asks the running agent for its state over the state socket, or reads what a dead one has left.

The journal is the agent's alone while it runs; of a dead one's a copy is read, so that nothing here can harm it.
"""

import contextlib
import json
import shutil
import socket
import tempfile
import time
from pathlib import Path
from typing import Final

from eni_node_agent.cluster import conflist
from eni_node_agent.cluster.supply import SupplyFile
from eni_node_agent.inspection.views import AgentView
from eni_node_agent.introspection.state import State, held_addresses
from eni_node_agent.ledger.journal import Journal
from eni_node_agent.metrics import process
from eni_node_agent.settings import Settings

SECONDS: Final = 10.0
LARGEST_PAGE: Final = 32 << 20


class AgentUnseenError(Exception):
    """Nothing of the agent can be read; the message says why."""


def fetch(state_socket: Path, path: str) -> bytes:
    """Returns the body of a page of the running agent, whatever its status.

    Raises:
        OSError: nobody listens, the agent hangs, or the answer is too long or not HTTP.
    """
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(SECONDS)
        client.connect(str(state_socket))
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: agent\r\n\r\n".encode())
        answer = bytearray()
        while part := client.recv(1 << 16):
            answer += part
            if len(answer) > LARGEST_PAGE:
                raise OSError(f"{path} is longer than {LARGEST_PAGE} bytes")
    head, end, body = bytes(answer).partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 ") or not end:
        raise OSError(f"{path}: the agent's answer was cut short")
    return body


def look(settings: Settings) -> AgentView:
    """Returns the agent's view; raises AgentUnseenError."""
    has_conflist = (settings.cni_conf_dir / conflist.NAME).exists()
    try:
        state = State.parse(json.loads(fetch(settings.state_socket, "/state")))
    except OSError as error:
        return AgentView(_left_behind(settings, str(error)), is_running=False, has_conflist=has_conflist)
    except (ValueError, KeyError, TypeError) as error:
        raise AgentUnseenError(
            f"the agent at {settings.state_socket} tells its state in other words: {error}"
        ) from error
    return AgentView(state, is_running=True, has_conflist=has_conflist)


def _left_behind(settings: Settings, why: str) -> State:
    if not settings.journal_path.exists():
        raise AgentUnseenError(f"no agent answers at {settings.state_socket} ({why}), and no journal is there")
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / settings.journal_path.name
        try:
            for suffix in ("", "-journal"):  # with what SQLite needs to undo half a write
                with contextlib.suppress(FileNotFoundError):
                    shutil.copyfile(f"{settings.journal_path}{suffix}", f"{copy}{suffix}")
            journal = Journal(copy)
        except OSError as error:
            raise AgentUnseenError(f"the journal {settings.journal_path} cannot be read: {error}") from error
        with contextlib.closing(journal):
            return _of(settings, journal)


def _of(settings: Settings, journal: Journal) -> State:
    replay = journal.replay()
    try:
        supply = SupplyFile(settings.supply_path).load()
    except OSError:
        supply = None
    return State(
        node=settings.node_name,
        version=process.version(),
        boot_id=journal.boot_id,
        now=time.monotonic(),
        supply=supply,
        holdings=held_addresses(replay.holdings),
        cooling=replay.released,
    )
