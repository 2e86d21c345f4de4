import argparse
import asyncio
import signal
import socket
import subprocess
import sys

import aiohttp
import pytest

from eni_lab.aws.command import add_arguments, run

MAIN = """
import argparse, sys
from eni_lab.aws.command import add_arguments, run
parser = argparse.ArgumentParser()
add_arguments(parser)
sys.exit(run(parser.parse_args()))
"""


def options(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(arguments)


async def test_it_serves_until_it_is_told_to_stop() -> None:
    command = [sys.executable, "-c", MAIN, "--port", "0", "--no-service-times", "--region", "eu-west-1"]
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        line = (await asyncio.wait_for(process.stdout.readline(), 20)).decode()
        url = next(word for word in line.split() if word.startswith("http://"))
        async with aiohttp.ClientSession() as http, http.get(f"{url}/_lab/knobs") as reply:
            knobs = await reply.json()
    finally:
        process.send_signal(signal.SIGTERM)
        status = await asyncio.wait_for(process.wait(), 20)
    assert (knobs["region"], knobs["link_seconds"], knobs["throttling"], status) == ("eu-west-1", 0.0, True, 0)


def test_a_port_in_use_is_told_in_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert run(options("--port", str(port))) == 1
    assert f"eni-lab aws cannot listen on 127.0.0.1:{port}" in capsys.readouterr().err


@pytest.mark.parametrize("port", ["65536", "-1", "http"])
def test_a_port_that_is_none_is_refused(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        options("--port", port)
    assert f"'{port}' is no number from 0 to 65535" in capsys.readouterr().err
