"""Makes the process small and its pauses short, once all code is loaded.

Decides nothing about which modules are loaded. Before: loading makes no garbage worth looking for, and each full
collection looks at all of it. After: code is for ever, so the collector never looks at it again (a full collection of
it takes 30 ms), and what loading needed of the C heap goes back to the kernel.
"""

import ctypes
import gc
import os
from collections.abc import MutableMapping
from typing import Final

_WITHOUT_COMPILED_PARTS: Final = ("AIOHTTP", "FROZENLIST", "PROPCACHE", "YARL")
"""Libraries that bring their inner loops in C and in Python. The agent has one watch and a write now and then: it does
with the latter, which are loaded anyhow, and has 1.8 MB less resident (libstdc++ is half of that)."""

_CERTIFICATES: Final = "SSL_CERT_FILE"
"""Where OpenSSL finds the world's authorities, which aiohttp reads when it is loaded (1 MB). The agent trusts one
authority, its cluster's, and names that one wherever it connects."""


def begin(environ: MutableMapping[str, str] = os.environ) -> None:
    """Stops the garbage collector while code is loaded; tells libraries what not to load, unless somebody has."""
    gc.disable()
    for library in _WITHOUT_COMPILED_PARTS:
        environ.setdefault(f"{library}_NO_EXTENSIONS", "1")
    environ.setdefault(_CERTIFICATES, os.devnull)


def settle() -> None:
    """Starts the garbage collector for what comes from now on; returns unused memory to the kernel."""
    gc.freeze()
    gc.enable()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's; musl keeps little
    if trim is not None:
        trim(0)
