"""The journal: the ledger's memory across restarts of the agent, a SQLite file on a tmpfs.

Boot-scoped by its place: /run is empty after a reboot, and then no sandbox lives that could hold an address. Decides
nothing; ``ledger.ledger`` does. A damaged file is moved aside and an empty one begun: what live pods hold is then
adopted from the kernel's pod routes (``sandbox.gc``), which also covers a file cut to nothing.
"""

import contextlib
import dataclasses
import hashlib
import logging
import os
import sqlite3
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from eni_cni_shim.plugin.addresspool import PodLink, Sandbox, SandboxKey
from eni_node_agent.ledger.ledger import Holding

log = logging.getLogger(__name__)

SCHEMA_VERSION: Final = 2
BUSY_SECONDS: Final = 5.0
"""How long a predecessor that is still ending may keep the file."""
_TABLE: Final = """
CREATE TABLE address (
  address TEXT PRIMARY KEY, released_at REAL,
  network TEXT NOT NULL, container_id TEXT NOT NULL, ifname TEXT NOT NULL, since REAL NOT NULL,
  netns TEXT NOT NULL, pod_namespace TEXT NOT NULL, pod_name TEXT NOT NULL, pod_uid TEXT NOT NULL,
  link INTEGER NOT NULL, place INTEGER NOT NULL, is_egress INTEGER NOT NULL,
  eni_id TEXT NOT NULL, link_ifname TEXT NOT NULL, host_ifname TEXT NOT NULL
) WITHOUT ROWID;
"""
"""``released_at`` is of an address that rests, absent while a sandbox holds it, so that giving back takes no room.
``link`` numbers a sandbox's links, ``place`` the addresses on one. What is known of a sandbox stands with each of its
addresses: most have one, and one statement is all that a pod then waits for."""
_SCHEMA: Final = f"""
BEGIN EXCLUSIVE;
CREATE TABLE boot (id TEXT NOT NULL);
{_TABLE}
PRAGMA user_version = {SCHEMA_VERSION};
COMMIT;
"""
_FROM_VERSION_1: Final = (
    "BEGIN EXCLUSIVE;",
    _TABLE,
    """
INSERT INTO address SELECT address, NULL, network, container_id, ifname, since, netns, pod_namespace, pod_name, pod_uid,
  0, 0, 0, eni_id, ifname, host_ifname_1(network, container_id, ifname) FROM holding;
INSERT OR IGNORE INTO address SELECT address, released_at, '', '', '', 0, '', '', '', '', 0, 0, 0, '', '', ''
  FROM rested;
DROP TABLE holding;
DROP TABLE rested;
PRAGMA user_version = 2;
COMMIT;
""",
)
"""Version 1 held one address for each sandbox, and its link's name followed from the key."""
_RESERVE: Final = """
BEGIN EXCLUSIVE;
CREATE TABLE reserve (filler BLOB NOT NULL);
INSERT INTO reserve VALUES (zeroblob(4000)), (zeroblob(4000)), (zeroblob(4000)), (zeroblob(4000)),
  (zeroblob(4000)), (zeroblob(4000)), (zeroblob(4000)), (zeroblob(4000));
COMMIT;
BEGIN EXCLUSIVE;
UPDATE reserve SET filler = zeroblob(3999);
DROP TABLE reserve;
COMMIT;
"""
"""Grows SQLite's own rollback journal, which is kept at its size, to more pages than a release changes: on a full disk
addresses can still be given back."""

_HELD: Final = """
SELECT network, container_id, ifname, netns, pod_namespace, pod_name, pod_uid, since,
  link, is_egress, address, eni_id, link_ifname, host_ifname
  FROM address WHERE released_at IS NULL ORDER BY link, place
"""
_RESTED: Final = "SELECT address, released_at FROM address WHERE released_at IS NOT NULL"
_HOLD: Final = """
INSERT INTO address VALUES (?, NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
  ON CONFLICT DO UPDATE SET released_at = NULL, network = excluded.network, container_id = excluded.container_id,
    ifname = excluded.ifname, since = excluded.since, netns = excluded.netns, pod_namespace = excluded.pod_namespace,
    pod_name = excluded.pod_name, pod_uid = excluded.pod_uid, link = excluded.link, place = excluded.place,
    is_egress = excluded.is_egress, eni_id = excluded.eni_id, link_ifname = excluded.link_ifname,
    host_ifname = excluded.host_ifname
  WHERE released_at IS NOT NULL
"""
_RELEASE: Final = """
UPDATE address SET released_at = ?, network = '', container_id = '', ifname = '', netns = '', pod_namespace = '',
  pod_name = '', pod_uid = '', eni_id = '', link_ifname = '', host_ifname = '' WHERE address = ?
"""

_NOT_DAMAGE: Final = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_READONLY,
    }
)
"""Primary result codes (https://www.sqlite.org/rescode.html) that blame the place or another process, not the file."""


class JournalError(OSError):
    """The journal cannot be written or is in another process's hands."""


class Replay(NamedTuple):
    """What the journal remembers."""

    holdings: tuple[Holding, ...]
    released: dict[str, float]
    """By address: when it was released last, in seconds since boot."""


class Journal:
    """The open journal; implements ``ledger.Memory``. One process at a time: the file is locked."""

    def __init__(self, path: Path) -> None:
        """Opens or begins the journal; a damaged file is moved aside.

        Raises:
            JournalError: another process holds the file, or its folder cannot be written.
        """
        self._path = path
        self._connection = self._open_or_begin()
        self._file = path.stat()

    @property
    def boot_id(self) -> str:
        """Identity of this journal, and so of this boot; containers cannot tell the node's boot id from another's."""
        return str(self._connection.execute("SELECT id FROM boot").fetchone()[0])

    def replay(self) -> Replay:
        """Returns all that is remembered."""
        sandboxes: dict[SandboxKey, tuple[Sandbox, float]] = {}
        links: dict[SandboxKey, dict[int, PodLink]] = {}
        for row in self._connection.execute(_HELD):
            key, (number, is_egress, address, eni_id, ifname, host_ifname) = SandboxKey(*row[:3]), row[8:]
            sandboxes[key] = Sandbox(key, *row[3:7]), row[7]
            of_sandbox = links.setdefault(key, {})
            link = of_sandbox.get(number, PodLink(ifname, host_ifname, eni_id, ()))
            more = () if is_egress else (address,)
            egress = address if is_egress else link.egress
            of_sandbox[number] = dataclasses.replace(link, addresses=(*link.addresses, *more), egress=egress)
        holdings = (Holding(pod, tuple(links[key].values()), since) for key, (pod, since) in sandboxes.items())
        return Replay(tuple(holdings), dict(self._connection.execute(_RESTED)))

    def hold(self, holding: Holding) -> None:
        """Remembers a holding. Raises JournalError when it cannot (tmpfs full); nothing is remembered then."""
        with self._transaction() as connection:
            for row in _rows(holding):
                if connection.execute(_HOLD, row).rowcount != 1:
                    raise sqlite3.IntegrityError(f"another sandbox holds {row[0]}")

    def release(self, holding: Holding, at: float) -> None:
        """Forgets a holding, remembers since when its addresses rest. Raises JournalError when it cannot."""
        with self._transaction() as connection:
            for address in holding.all_addresses:
                connection.execute(_RELEASE, (at, address))

    def check(self) -> None:
        """Returns when the next write will do.

        Raises:
            JournalError: the file cannot be written, is not at its place any more, or has no room to grow.
        """
        with self._transaction() as connection:
            connection.execute("UPDATE boot SET id = id")
        try:
            if not os.path.samestat(self._path.stat(), self._file):
                raise JournalError(f"journal {self._path} was replaced by another file; what is written now is lost")
            if not os.statvfs(self._path).f_bavail:
                raise JournalError(f"journal {self._path} cannot grow: no room is left in {self._path.parent}")
        except FileNotFoundError:
            raise JournalError(f"journal {self._path} was removed; what is written now is lost") from None

    @property
    def size(self) -> int:
        """Bytes on the tmpfs; 0 when the file is not at its place."""
        with contextlib.suppress(OSError):
            return self._path.stat().st_size
        return 0

    def close(self) -> None:
        """Closes the file."""
        self._connection.close()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        try:
            with self._connection:
                yield self._connection
        except sqlite3.Error as error:
            raise JournalError(f"journal {self._path} cannot be written: {error}") from error

    def _open_or_begin(self) -> sqlite3.Connection:
        try:
            return _open(self._path)
        except (sqlite3.DatabaseError, ValueError) as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in _NOT_DAMAGE:
                raise JournalError(f"journal {self._path} cannot be opened: {error}") from error
            aside = _move_aside(self._path)
            log.error(  # noqa: TRY400  the reason is the message, a traceback tells no more
                "journal damaged, moved aside; addresses of live pods will be adopted from the kernel",
                extra={"path": str(self._path), "aside": str(aside), "error": str(error)},
            )
        try:
            return _open(self._path)
        except sqlite3.Error as error:
            raise JournalError(f"journal {self._path} cannot be begun: {error}") from error


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS)
    try:
        _configure(connection)
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            connection.executescript(_SCHEMA)
            with connection:
                connection.execute("INSERT INTO boot VALUES (?)", (str(uuid.uuid4()),))
            _reserve(connection)
        _check_file(connection)
        if version == 1:
            connection.create_function("host_ifname_1", 3, _host_ifname_1, deterministic=True)
            connection.executescript("".join(_FROM_VERSION_1))
            _reserve(connection)
        _check_schema(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _configure(connection: sqlite3.Connection) -> None:
    # The file lives in memory: it survives this process, not the machine, so nothing is gained by fsync.
    # The rollback journal stays (a kill between two pages must not tear the file) and is overwritten, not deleted.
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("PRAGMA journal_mode = PERSIST")


def _reserve(connection: sqlite3.Connection) -> None:
    """Sets room aside where there is any: pods are more important than what may come."""
    try:
        connection.executescript(_RESERVE)
    except sqlite3.OperationalError as error:
        connection.rollback()
        log.warning("no room for giving addresses back on a full disk", extra={"error": str(error)})


def _rows(holding: Holding) -> Iterator[tuple[object, ...]]:
    pod = holding.sandbox
    of_sandbox = (*pod.key, holding.since, pod.netns, pod.pod_namespace, pod.pod_name, pod.pod_uid)
    for number, link in enumerate(holding.links):
        for place, address in enumerate(link.all_addresses):
            names = (link.ifname, link.host_ifname)
            yield (address, *of_sandbox, number, place, address == link.egress, link.eni_id, *names)


def _host_ifname_1(network: str, container_id: str, ifname: str) -> str:
    """Returns the name version 1 gave a sandbox's link; one found again in the kernel had it for its container's id."""
    if not network:
        return container_id
    digest = hashlib.sha1(f"{container_id}{ifname}".encode(), usedforsecurity=False).hexdigest()
    return f"eni{digest[:11]}"


def _check_file(connection: sqlite3.Connection) -> None:
    problem = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if problem != "ok":
        raise ValueError(str(problem))


def _check_schema(connection: sqlite3.Connection) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version != SCHEMA_VERSION:
        raise ValueError(f"schema version is {version}, {SCHEMA_VERSION} is needed")
    if connection.execute("SELECT count(*) FROM boot").fetchone()[0] != 1:
        raise ValueError("table boot does not hold exactly one row")


def _move_aside(path: Path) -> Path:
    aside = path.with_name(f"{path.name}.damaged")
    path.replace(aside)
    path.with_name(f"{path.name}-journal").unlink(missing_ok=True)
    return aside
