"""Compresses what is written piece by piece, each of which can be read without those after it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Compress = Callable[[bytes], bytes]
"""Takes some bytes, gives a whole frame or member of its format."""

SUFFIXES = {".zst": "zst", ".gz": "gz", ".lz4": "lz4"}

# Of what one core records at full speed, the fastest level takes a tenth of another.
_LEVEL = 1


def _zst() -> Compress:
    import zstandard

    compressor: Any = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True)
    compress: Compress = compressor.compress
    return compress


def _gz() -> Compress:
    import zlib

    def compress(data: bytes) -> bytes:
        member = zlib.compressobj(_LEVEL, zlib.DEFLATED, zlib.MAX_WBITS | 16)
        return member.compress(data) + member.flush()

    return compress


def _lz4() -> Compress:
    import lz4.frame

    compress: Compress = lz4.frame.compress
    return compress


_MAKERS = {"zst": _zst, "gz": _gz, "lz4": _lz4}
KINDS = tuple(_MAKERS)


def compressing(kind: str) -> Compress | None:
    """Give what compresses so: one of `KINDS`; None for ``none``."""
    return _MAKERS[kind]() if kind in _MAKERS else None
