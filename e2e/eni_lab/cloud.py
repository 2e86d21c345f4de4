"""The laboratory's AWS in one process: EC2 and STS, instance metadata, and the VPC fabric.

Run as ``python -m eni_lab.cloud`` inside the laboratory's namespaces; its network namespace becomes the VPC's router.
EC2, STS and the control endpoints below ``/_lab/`` answer on 10.0.255.10:8000 and 127.0.0.1:8000, metadata on
169.254.169.254:80. Nothing is kept: a new process is a new, empty account. Links outlive the process, so nodes keep
their network while EC2 is away. It ends with status 0 on SIGTERM and SIGINT.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import web

from eni_lab.aws.command import new_engine
from eni_lab.aws.engine.knobs import Knobs
from eni_lab.aws.server import endpoint_app, metadata_app, new_endpoint
from eni_lab.fabric import control, metadata
from eni_lab.fabric.fabric import Fabric
from eni_lab.fabric.service import FabricService
from eni_lab.kube.addresses import API_ADDRESS, CLOUD_PORT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from eni_lab.aws.engine.engine import Engine

SHUTDOWN_SECONDS = 1.0
"""How long an open connection may finish its request at the end."""

logger = logging.getLogger(__name__)
requests_logger = logging.getLogger("eni_lab.requests")


class KeyValueFormatter(logging.Formatter):
    """Writes what a record carries in ``extra`` behind its message, as ``key=value``."""

    _own = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime"}

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802, logging calls it by this name
        """The line, such as ``… link created eni=eni-0123456789abcdef0``."""
        extra = (f" {key}={value}" for key, value in record.__dict__.items() if key not in self._own)
        return super().formatMessage(record) + "".join(extra)


def main(arguments: list[str] | None = None) -> int:
    """Serves until told to stop; returns the exit status."""
    options = _parser().parse_args(arguments)
    _configure_logging(options.state)
    asyncio.run(_serve(service_times=options.service_times))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="eni_lab.cloud", description="The laboratory's EC2, STS, metadata and VPC.")
    parser.add_argument("--state", type=Path, metavar="DIR", help="folder for logs/requests.log, one line a request")
    parser.add_argument(
        "--service-times",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="take as long as EC2 for calls, attachments and metadata (default: %(default)s)",
    )
    return parser


def _configure_logging(state: Path | None) -> None:
    """Our own lines go to stderr, requests to a file of their own or nowhere."""
    to_stderr = logging.StreamHandler()
    to_stderr.setFormatter(KeyValueFormatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[to_stderr])
    requests_logger.propagate = False
    if state is None:
        requests_logger.addHandler(logging.NullHandler())
        return
    (state / "logs").mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(state / "logs" / "requests.log")
    requests_logger.addHandler(handler)


async def _serve(*, service_times: bool) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    engine = new_engine(Knobs() if service_times else Knobs().without_delays())
    async with _following_fabric(engine) as service, _serving(engine, service, service_times=service_times):
        logger.info("ready")
        await stopped.wait()


@contextlib.asynccontextmanager
async def _following_fabric(engine: Engine) -> AsyncIterator[FabricService]:
    """The fabric, on its thread, in step with the engine."""
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(1, "fabric") as thread:
        fabric = await loop.run_in_executor(thread, Fabric)
        service = FabricService(fabric, thread, engine.ports)
        following = asyncio.create_task(service.run())
        try:
            yield service
        finally:
            following.cancel()
            await asyncio.wait([following])
            await loop.run_in_executor(thread, fabric.close)


@contextlib.asynccontextmanager
async def _serving(engine: Engine, service: FabricService, *, service_times: bool) -> AsyncIterator[None]:
    """Both web applications on their addresses, which the fabric has given the router by now."""
    endpoint = new_endpoint(engine, service_times=service_times)
    ec2 = endpoint_app(endpoint)
    control.add_routes(ec2, service)
    async with contextlib.AsyncExitStack() as stack:
        for_ec2 = await _run(stack, ec2)
        for host in (API_ADDRESS, "127.0.0.1"):
            await web.TCPSite(for_ec2, host, CLOUD_PORT).start()
        for_metadata = await _run(stack, metadata_app(endpoint, metadata.asking_instance(engine.ports)))
        await web.SockSite(for_metadata, metadata.listen()).start()
        yield


async def _run(stack: contextlib.AsyncExitStack, app: web.Application) -> web.AppRunner:
    runner = web.AppRunner(app, access_log=requests_logger, shutdown_timeout=SHUTDOWN_SECONDS)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    return runner


if __name__ == "__main__":
    sys.exit(main())
