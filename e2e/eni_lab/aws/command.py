"""``eni-lab aws``: serves the stand-in alone. Everything in it is made through the EC2 API itself.

Counterpart: ``eni_lab.cli`` registers ``add_arguments`` and ``run``.
"""

import argparse
import asyncio
import random
import signal
import sys
import time

from eni_lab.aws.engine.engine import Engine
from eni_lab.aws.engine.knobs import Knobs
from eni_lab.aws.instance_types import load_instance_types
from eni_lab.aws.server import serve

LARGEST_PORT = 65535


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of ``eni-lab aws``."""
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=_port, default=4566, help="port to listen on, 0 for any (default: %(default)s)")
    parser.add_argument("--region", default="us-east-1", help="name of the Region (default: %(default)s)")
    parser.add_argument("--seed", type=int, help="makes ids and choices repeatable")
    parser.add_argument("--no-service-times", action="store_true", help="answer at once, and attach and detach at once")
    parser.add_argument("--no-throttling", action="store_true", help="do not apply EC2's request buckets")


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > LARGEST_PORT:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 to {LARGEST_PORT}")
    return int(text)


def run(options: argparse.Namespace) -> int:
    """Serves until interrupted; returns the exit status."""
    try:
        asyncio.run(_serve_until_stopped(options))
    except OSError as error:
        print(f"eni-lab aws cannot listen on {options.host}:{options.port}: {error.strerror}", file=sys.stderr)
        return 1
    return 0


def new_engine(knobs: Knobs, seed: int | None = None) -> Engine:
    """Returns an engine on wall time with the whole table of types."""
    return Engine(time.time, random.Random(seed), load_instance_types(), knobs)


async def _serve_until_stopped(options: argparse.Namespace) -> None:
    knobs = Knobs(region=options.region, throttling=not options.no_throttling)
    if options.no_service_times:
        knobs = knobs.without_delays()
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    engine = new_engine(knobs, options.seed)
    async with serve(options.host, options.port, engine, service_times=not options.no_service_times) as server:
        where = f"{server.url} (metadata under /imds/<instance id>/latest)"
        print(f"EC2, STS and metadata of {options.region} on {where}", flush=True)
        await stopped.wait()
