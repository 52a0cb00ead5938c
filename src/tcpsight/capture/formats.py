"""Which format a file is in, told by its content.

A new format is one `Format` in `FORMATS`: its name, the bytes it begins with, and where its reader is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tcpsight.capture.decompression import MAGIC_BYTES, Compression, DecompressedSource, compression_of
from tcpsight.capture.source import PeekableSource
from tcpsight.errors import CaptureError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

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
TEXT = Format("tcpdump text", (), _text)

FORMATS = (PCAP, PCAPNG)

OTHERS: Mapping[bytes, str] = {
    b"snoop\0\0\0": "a snoop capture; convert it with 'editcap -F pcap'",
    b"GMBU": "a Microsoft Network Monitor capture; convert it with 'editcap -F pcap'",
    b"RTSS": "a Microsoft Network Monitor capture; convert it with 'editcap -F pcap'",
    b"iptrace ": "an AIX iptrace capture; convert it with 'editcap -F pcap'",
    b"PAR1": "a Parquet file, not a capture",
    b"ARROW1": "an Arrow file, not a capture",
    b"PK\x03\x04": "a zip archive; unpack it first",
    b"\x02\x21\x4c\x18": "lz4 data in the legacy format, which is not read; pack it again with a newer lz4",
    b"%PDF": "a PDF document, not a capture",
    b"\x7fELF": "a program, not a capture",
    b"SQLite format 3\0": "an SQLite database, not a capture",
}


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
    lines = -1
    while True:
        if prefix.count(b"\n") > lines:
            lines = prefix.count(b"\n")
            if _is_text_capture(prefix):
                return TEXT
        more = source.peek(min(len(prefix) + 1, SNIFF_BYTES), SNIFF_BYTES)
        if len(more) == len(prefix):
            break
        prefix = more
    if source.failure is not None:
        raise source.failure
    raise CaptureError(source.path, 0, _describe(prefix, compression))


def _is_text_capture(prefix: bytes) -> bool:
    from tcpsight.capture.text import looks_like_text

    return looks_like_text(prefix)


def _describe(prefix: bytes, compression: Compression | None) -> str:
    """Say what a file is that is no capture."""
    inside = f" inside {compression.name}" if compression is not None else ""
    if not prefix:
        return f"nothing{inside}; it holds no frames" if inside else "is empty; it is not a capture file"
    nested = compression_of(prefix)
    if nested is not None:
        return f"is {nested.name}{inside}; unpack it once first"
    for magic, what in OTHERS.items():
        if prefix.startswith(magic):
            return f"is {what}"
    start = prefix.lstrip(b"\xef\xbb\xbf \t\r\n")[:512].lower()
    if start.startswith((b"<!doctype html", b"<html", b"<head")):
        return "is an HTML page, not a capture; was it downloaded through a page that asks for a login?"
    if _is_printable(prefix):
        return "is text, but not the text of tcpdump (tcpdump -nn -tttt)"
    return f"is not a capture file (it begins with {prefix[:8].hex(' ')})"


def _is_printable(prefix: bytes) -> bool:
    control = sum(byte < 32 and byte not in b"\t\n\r\f\x1b" for byte in prefix)
    foreign = sum(byte >= 128 for byte in prefix)
    return b"\0" not in prefix and control <= len(prefix) // 100 and foreign <= len(prefix) // 2
