"""The commands for people, ``eni-agent inspect`` and ``eni-agent support-bundle``: arguments in, exit code out.

Apart from ``__main__`` so that the agent itself never loads what only they need.
"""

import argparse
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from eni_node_agent.inspection import report
from eni_node_agent.settings import Settings
from eni_node_agent.support import bundle
from eni_node_agent.wiring import network_settings


def inspect(options: argparse.Namespace) -> int:
    """Prints what differs; returns 0: nothing, 1: something, 2: a side could not be looked at."""
    settings = settings_of(os.environ)
    found = report.inspect(settings, network_settings(settings))
    sys.stdout.write(report.document(found) if options.json else report.text(found))
    return found.exit_code


def support_bundle(options: argparse.Namespace) -> int:
    """Writes the archive; returns 0. Raises OSError when it cannot be written."""
    settings = settings_of(os.environ)
    network = network_settings(settings)
    if options.output == "-":
        bundle.write(sys.stdout.buffer, settings, network, os.environ, sys.stderr)
        return 0
    moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    path = Path(options.output or f"/tmp/eni-support-{settings.node_name}-{moment}.tar.gz")  # noqa: S108  made anew below
    # Never through a link somebody else has put there, and for nobody else to read.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        bundle.write(file, settings, network, os.environ, sys.stderr)
    sys.stdout.write(f"{path}\n")
    return 0


def settings_of(environ: Mapping[str, str]) -> Settings:
    """Returns the settings of the agent on this node; outside its container the node's name may be missing."""
    return Settings.from_env({"MY_NODE_NAME": os.uname().nodename, **environ})
