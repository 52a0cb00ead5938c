"""Which format a file is in, told by its content.

A new format is one `Format` in `FORMATS`: its name, the bytes it begins with, and where its reader is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tcpsight.capture.decompression import MAGIC_BYTES, Compression, DecompressedSource, compression_of
from tcpsight.capture.source import PeekableSource
from tcpsight.errors import CaptureError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tcpsight.capture.reader import ByteSource, CaptureFile, Reader, ReadOptions

SNIFF_BYTES = 16 * 1024
"""How much is looked at before a file without a magic number is given up."""


class Format(NamedTuple):
    """A capture format: its name, the beginnings by which it is known, and what imports its reader."""

    name: str
    magics: tuple[bytes, ...]
    reader: Callable[[], type[Reader]]


def _pcap() -> type[Reader]:
    from tcpsight.capture.pcap import PcapReader

    return PcapReader


def _pcapng() -> type[Reader]:
    from tcpsight.capture.pcapng import PcapngReader

    return PcapngReader


def _snoop() -> type[Reader]:
    from tcpsight.capture.snoop import SnoopReader

    return SnoopReader


def _netmon() -> type[Reader]:
    from tcpsight.capture.netmon import NetmonReader

    return NetmonReader


def _erf() -> type[Reader]:
    from tcpsight.capture.erf import ErfReader

    return ErfReader


def _text() -> type[Reader]:
    from tcpsight.capture.text import TextReader

    return TextReader


PCAP = Format(
    "pcap",
    tuple(
        magic[::step]
        for magic in (
            b"\xa1\xb2\xc3\xd4",
            b"\xa1\xb2\x3c\x4d",
            b"\xa1\xb2\xcd\x34",
            b"\x1c\x00\x01\xac",
            b"\x1c\x00\x01\xab",
        )
        for step in (1, -1)
    ),
    _pcap,
)
PCAPNG = Format("pcapng", (b"\x0a\x0d\x0d\x0a",), _pcapng)
SNOOP = Format("snoop", (b"snoop\0",), _snoop)
NETMON = Format("Network Monitor", (b"RTSS", b"GMBU"), _netmon)
# Told by more than their first bytes.
ERF = Format("ERF", (), _erf)
TEXT = Format("tcpdump text", (), _text)

FORMATS = (PCAP, PCAPNG, SNOOP, NETMON)


def open_reader(source: ByteSource, file: CaptureFile, options: ReadOptions) -> Reader:
    """Make the reader for what is in `source`; note format and compression in `file`.

    Raises
    ------
    CaptureError
        It is no capture, or of a format that is not read; the reason says what it looks like.
    """
    peekable, compression = unpacked(source)
    file.compression = compression.name if compression is not None else ""
    found = _format_of(peekable, compression)
    file.format = found.name
    return found.reader()(peekable, file, options)


def unpacked(source: ByteSource) -> tuple[PeekableSource, Compression | None]:
    """Give the decompressed bytes of `source`, and how they were compressed."""
    peekable = PeekableSource(source)
    compression = compression_of(peekable.peek(MAGIC_BYTES))
    if compression is None:
        return peekable, None
    return PeekableSource(DecompressedSource(peekable, compression)), compression


def _format_of(source: PeekableSource, compression: Compression | None) -> Format:
    prefix = source.peek(MAGIC_BYTES)
    for known in FORMATS:
        if prefix.startswith(known.magics):
            return known
    # A pipe may bring text slowly: every line is looked at as it comes.
    lines, is_whole = -1, False
    while not is_whole:
        if prefix.count(b"\n") > lines:
            lines = prefix.count(b"\n")
            if _is_text_capture(prefix[: prefix.rfind(b"\n") + 1]):
                return TEXT
        more = source.peek(min(len(prefix) + 1, SNIFF_BYTES), SNIFF_BYTES)
        is_whole = len(more) == len(prefix)
        prefix = more
        if _is_erf(prefix, is_whole=is_whole and len(prefix) < SNIFF_BYTES):
            return ERF
    if source.failure is not None:
        raise source.failure
    from tcpsight.capture.foreign import describe

    raise CaptureError(source.path, 0, describe(prefix, compression))


def _is_erf(prefix: bytes, *, is_whole: bool) -> bool:
    from tcpsight.capture.erf import looks_like_erf

    return looks_like_erf(prefix, is_whole=is_whole)


def _is_text_capture(prefix: bytes) -> bool:
    from tcpsight.capture.text import looks_like_text

    return looks_like_text(prefix)
