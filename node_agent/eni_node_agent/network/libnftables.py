"""Runs nftables commands in this process through libnftables.so.1.

Loaded with ctypes because no kept-up Python package carries the binding: Debian's is not on PyPI, and the one there
drops stray modules into site-packages. Starting ``nft`` instead costs 16-20 ms each time, for it waits on closing its
socket until the kernel has destroyed what was replaced. API: libnftables(3).
"""

import ctypes
from typing import Final

_STATELESS: Final = 1 << 2  # NFT_CTX_OUTPUT_STATELESS: listings without counters' values


class NftablesError(Exception):
    """nftables refused the commands; the message is its own."""


class Nftables:
    """An nftables context in the network namespace of the thread that makes it. For one thread at a time.

    Raises:
        NftablesError: libnftables.so.1 is not installed.
    """

    def __init__(self) -> None:
        self._library = _load()
        self._context = self._library.nft_ctx_new(0)
        self._library.nft_ctx_buffer_output(self._context)
        self._library.nft_ctx_buffer_error(self._context)
        self._library.nft_ctx_output_set_flags(self._context, _STATELESS)

    def close(self) -> None:
        """Frees the context and its socket."""
        self._library.nft_ctx_free(self._context)

    def run(self, commands: str) -> str:
        """Returns what the commands print; they take effect all together or not at all.

        Raises:
            NftablesError: nftables or the kernel refused them; nothing was changed.
        """
        code = self._library.nft_run_cmd_from_buffer(self._context, commands.encode())
        if code:
            raise NftablesError(self._library.nft_ctx_get_error_buffer(self._context).decode().strip())
        output: bytes = self._library.nft_ctx_get_output_buffer(self._context)
        return output.decode()


def _load() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL("libnftables.so.1")
    except OSError as error:
        raise NftablesError(f"libnftables.so.1 is needed and cannot be loaded: {error}") from error
    context, string = ctypes.c_void_p, ctypes.c_char_p
    library.nft_ctx_new.restype = context
    library.nft_ctx_new.argtypes = [ctypes.c_uint32]
    library.nft_ctx_output_set_flags.argtypes = [context, ctypes.c_uint]
    library.nft_run_cmd_from_buffer.argtypes = [context, string]
    for name in ("nft_ctx_free", "nft_ctx_buffer_output", "nft_ctx_buffer_error"):
        getattr(library, name).argtypes = [context]
    for name in ("nft_ctx_get_output_buffer", "nft_ctx_get_error_buffer"):
        getattr(library, name).argtypes = [context]
        getattr(library, name).restype = string
    return library
