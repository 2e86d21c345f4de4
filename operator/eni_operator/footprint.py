"""Keeps out of the process what libraries bring along and the operator does not use; decides nothing else.

All of it is settled while they are loaded, so nothing stays set: what people say in the same variables holds.
"""

import contextlib
import os
from collections.abc import Iterator, MutableMapping
from typing import Final

_AUTHORITIES: Final = {"SSL_CERT_FILE": os.devnull}
"""aiohttp reads the world's certificate authorities when it is loaded, for contexts that nobody here uses (2 MB): the
clients of EC2 and of the API server make their own, with authorities of their own choice."""
_COMPILED_PARTS: Final = {f"{library}_NO_EXTENSIONS": "1" for library in ("AIOHTTP", "FROZENLIST", "PROPCACHE", "YARL")}
"""Inner loops in C beside those in Python, and libstdc++ with them (2 MB): one node has two watches and few calls."""


@contextlib.contextmanager
def loading(*, one_node: bool, environ: MutableMapping[str, str] = os.environ) -> Iterator[None]:
    """Tells libraries what not to load while the context lasts, unless somebody has.

    Args:
        one_node: it serves one node; of a whole cluster the compiled parts are worth their memory.
        environ: the variables of this process.
    """
    wanted = _AUTHORITIES | (_COMPILED_PARTS if one_node else {})
    ours = {name: value for name, value in wanted.items() if name not in environ}
    environ.update(ours)
    try:
        yield
    finally:
        for name in ours:
            del environ[name]
