"""``eni-operator``: reads the command line and the environment, sets logging up, runs."""

import argparse
import asyncio
import importlib
import logging
import os
import sys
from collections.abc import Sequence

from eni_operator import footprint
from eni_operator.controllers import lazy_kubernetes
from eni_operator.settings import SCOPES, Settings, SettingsError


class KeyValueFormatter(logging.Formatter):
    """A constant message, then what was passed in ``extra`` as key=value."""

    _STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}

    def format(self, record: logging.LogRecord) -> str:
        """Returns the line."""
        line = super().format(record)
        extra = {key: value for key, value in vars(record).items() if key not in self._STANDARD and key[0] != "_"}
        return " ".join([line, *(f"{key}={value!r}" for key, value in extra.items())])


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the operator; returns 2 when the settings are wrong, each said on stderr."""
    parser = argparse.ArgumentParser(
        prog="eni-operator", description="Holds the right number of VPC addresses on every node."
    )
    parser.add_argument("--scope", choices=SCOPES, help="one node (the default), or every node; ENI_SCOPE otherwise")
    options = parser.parse_args(argv)
    try:
        settings = Settings.from_env(os.environ, scope=options.scope)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    _set_up_logging(settings)
    lazy_kubernetes.install()
    with footprint.loading(one_node=settings.scope == "node"):
        wiring = importlib.import_module("eni_operator.wiring")  # only now: it imports what must load lazily
    asyncio.run(wiring.run(settings))
    return 0


def _set_up_logging(settings: Settings) -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(KeyValueFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=settings.log_level.upper(), handlers=[handler])
    for warning in settings.warnings:
        logging.getLogger(__name__).warning("a setting is not in force", extra={"detail": warning})


if __name__ == "__main__":
    sys.exit(main())
