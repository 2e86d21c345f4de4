"""Writes the archive one attaches to a bug report: what the node says of itself, bounded in size, without secrets.

Decides what goes in and how much of it. Nothing is collected that is made to hold secrets (no kubeconfig, no service
account, no environment beyond the agent's own variables), and all text passes ``redaction`` on its way. A part that
cannot be had is named in ``left-out.txt`` and stops nothing. Names of pods and addresses are in it: that is the point.
"""

import http.client
import io
import json
import platform
import sqlite3
import sys
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any, Final

from eni_node_agent.cluster import conflist
from eni_node_agent.inspection import agent, report, runtime
from eni_node_agent.inspection.views import Attachment
from eni_node_agent.introspection import vpc_cni
from eni_node_agent.metrics import process
from eni_node_agent.network.desired import NetworkSettings
from eni_node_agent.network.libnftables import Nftables
from eni_node_agent.settings import Settings
from eni_node_agent.support import redaction, tables

LARGEST_PART: Final = 4 << 20
LARGEST_BUNDLE: Final = 32 << 20
"""Bytes of text, before compression."""
LARGEST_LOG: Final = 2 << 20
MOST_FILES: Final = 20
_MARGIN: Final = 1 << 16
OPERATOR: Final = ("127.0.0.1", 61681)
POD_LOGS: Final = Path("/var/log/pods")
_CONFLISTS: Final = frozenset({".conf", ".conflist", ".json"})
"""What libcni reads as network configuration; a kubeconfig of another plugin in the same folder is not."""

Part = Callable[[], str | bytes]


@dataclass(slots=True)
class _Bundle:
    """An archive that is being written."""

    archive: tarfile.TarFile
    folder: str
    secrets: tuple[str, ...]
    progress: IO[str]
    room: int
    """Bytes that may still be added."""
    left_out: list[str] = field(default_factory=list)

    def add(self, name: str, part: Part) -> None:
        """Adds what the part makes, or says why it could not be had."""
        self.progress.write(f"collecting {name}\n")
        try:
            made = part()
        except Exception as error:  # noqa: BLE001  whatever fails, the rest is worth having
            self.left_out.append(f"{name}: {type(error).__name__}: {error}")
            return
        text = made.decode(errors="replace") if isinstance(made, bytes) else made
        most = min(LARGEST_PART, self.room)
        if len(text) > most:
            self.left_out.append(f"{name}: {len(text) - most} of {len(text)} characters, for the size of it")
        # What is read beyond the cut keeps a secret that lies across it whole, and so recognisable.
        data = redaction.redacted(text[: most + _MARGIN], self.secrets).encode(errors="replace")
        self._write(name, data[:most])

    def finish(self) -> None:
        """Adds what was left out."""
        text = redaction.redacted("".join(f"{line}\n" for line in self.left_out), self.secrets)
        self._write("left-out.txt", text.encode(errors="replace")[:LARGEST_PART])

    def _write(self, name: str, data: bytes) -> None:
        self.room -= min(len(data), self.room)
        member = tarfile.TarInfo(f"{self.folder}/{name}")
        member.size, member.mode, member.mtime = len(data), 0o600, int(time.time())
        self.archive.addfile(member, io.BytesIO(data))


def write(
    output: IO[bytes], settings: Settings, network: NetworkSettings, environ: Mapping[str, str], progress: IO[str]
) -> None:
    """Writes the archive.

    Args:
        output: where to; a gzipped tar.
        settings: of the agent whose node this is.
        network: likewise.
        environ: this process's environment; only the agent's own variables are taken over.
        progress: is told what is being collected.
    """
    secrets = (*redaction.secrets_in(environ), *_service_account(settings))
    with tarfile.open(fileobj=output, mode="w|gz") as archive:
        bundle = _Bundle(archive, f"eni-support-{settings.node_name}", secrets, progress, LARGEST_BUNDLE)
        for name, part in _parts(settings, network, environ):
            bundle.add(name, part)
        bundle.finish()


def _parts(settings: Settings, network: NetworkSettings, environ: Mapping[str, str]) -> Iterator[tuple[str, Part]]:
    yield "versions.json", _versions
    yield "settings.json", lambda: _json(_own_variables(environ))
    found: list[report.Report] = []

    def inspect() -> str:
        found.append(report.inspect(settings, network))
        return report.text(found[0])

    yield "inspect.txt", inspect
    yield "inspect.json", lambda: report.document(found[0])
    yield "state.json", lambda: _json(agent.look(settings).state.dump())
    yield "supply.json", settings.supply_path.read_bytes
    yield "runtime.json", lambda: _json([each._asdict() for each in _attachments(settings)])
    yield "operator/metrics.txt", _operator_metrics
    for page in ("/metrics", "/healthz", "/readyz", "/log", *vpc_cni.PATHS):
        name = f"agent/{page.strip('/').replace('/', '-')}.txt"
        yield name, lambda page=page: agent.fetch(settings.state_socket, page)  # type: ignore[misc]
    yield "kernel/tables.txt", tables.text
    yield "kernel/nftables.txt", _nftables
    yield "kernel/sysctls.txt", lambda: _sysctls(settings.proc_sys)
    yield "files.txt", lambda: _listing(settings)
    yield from _files(settings)


def _files(settings: Settings) -> Iterator[tuple[str, Part]]:
    for path in _some(settings.cni_conf_dir, lambda path: path.suffix in _CONFLISTS):
        yield f"cni/{path.name}", path.read_bytes
    named = {Path(file) for file in (settings.log_file, settings.plugin_log_file) if file.startswith("/")}
    for path in sorted(named):
        yield f"logs/{path.name}", lambda path=path: _tail(path)  # type: ignore[misc]
    for folder in _some(POD_LOGS, lambda path: "_eni-agent-" in path.name or "_eni-operator-" in path.name):
        for path in _newest(folder):
            name = "-".join(path.relative_to(POD_LOGS).parts)
            yield f"logs/{name}", lambda path=path: _tail(path)  # type: ignore[misc]


def _versions() -> str:
    return _json(
        {
            "agent": process.version(),
            "python": sys.version,
            "kernel": platform.uname()._asdict(),
            "sqlite": sqlite3.sqlite_version,
            "collectedAt": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }
    )


class _Asked(dict[str, str]):
    """An environment that remembers what was asked of it: the agent's own variables, and no others."""

    def __init__(self) -> None:
        super().__init__({"MY_NODE_NAME": "any"})
        self.asked: set[str] = set()

    def get(self, key: str, default: Any = None) -> Any:
        self.asked.add(key)
        return super().get(key, default)


def _own_variables(environ: Mapping[str, str]) -> dict[str, str]:
    asked = _Asked()
    Settings.from_env(asked)
    return {name: environ[name] for name in sorted(asked.asked) if name in environ}


def _attachments(settings: Settings) -> tuple[Attachment, ...]:
    return runtime.look(settings.cni_cache_dir, conflist.NETWORK).attachments


def _operator_metrics() -> bytes:
    """Returns what an operator of scope ``node`` serves on this node, at its default address."""
    connection = http.client.HTTPConnection(*OPERATOR, timeout=5)
    try:
        connection.request("GET", "/metrics")
        return connection.getresponse().read(LARGEST_PART)
    finally:
        connection.close()


def _nftables() -> str:
    nftables = Nftables()
    try:
        return nftables.run("list ruleset")
    finally:
        nftables.close()


def _sysctls(proc_sys: Path) -> str:
    ipv4, ipv6 = proc_sys / "net/ipv4", proc_sys / "net/ipv6"
    paths = [ipv4 / "ip_forward", ipv4 / "tcp_early_demux", *sorted(ipv4.glob("conf/*/rp_filter"))]
    paths += [ipv6 / "conf/all/forwarding", *sorted(ipv6.glob("conf/*/accept_ra"))]
    return "".join(f"{path.relative_to(proc_sys)} = {path.read_text().strip()}\n" for path in paths if path.exists())


def _listing(settings: Settings) -> str:
    folders = (settings.run_dir, settings.state_dir, settings.cni_conf_dir, settings.cni_bin_dir)
    lines = []
    for folder in folders:
        lines.append(f"{folder}:")
        for path in _some(folder, lambda _: True, most=200):
            facts = path.lstat()
            lines.append(f"  {facts.st_mode:o} {facts.st_uid} {facts.st_size} {path.name}")
    return "\n".join(lines) + "\n"


def _some(folder: Path, wanted: Callable[[Path], bool], most: int = MOST_FILES) -> list[Path]:
    try:
        return sorted(filter(wanted, folder.iterdir()))[:most]
    except OSError:
        return []


def _newest(folder: Path) -> list[Path]:
    """Returns the current log of each container of a pod."""
    return [max(found) for container in _some(folder, Path.is_dir) if (found := list(container.glob("*.log")))]


def _tail(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(0, io.SEEK_END)
        file.seek(max(file.tell() - LARGEST_LOG, 0))
        return file.read(LARGEST_LOG)


def _service_account(settings: Settings) -> tuple[str, ...]:
    try:
        return ((settings.service_account_dir / "token").read_text().strip(),)
    except OSError:
        return ()


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, default=asdict) + "\n"
