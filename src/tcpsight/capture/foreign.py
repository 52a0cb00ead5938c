"""What a file is that is not read: other captures, which can be converted, and what is no capture at all."""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING

from tcpsight.capture.decompression import Compression, compression_of
from tcpsight.capture.reader import FRAME_LIMIT

if TYPE_CHECKING:
    from collections.abc import Mapping

CAPTURES: Mapping[bytes, str] = {
    b"XCP\0": "NetXray or Sniffer for Windows",
    b"VL\0\0": "NetXray",
    b"TRSNIFF data    \x1a": "Sniffer for DOS",
    b"ObserverPktBufferVersion=": "Observer",
    b"\x7fver\0\0\0": "OmniPeek",
    b"\x05VNF": "Visual Networks",
    b"\xaa\xaa\xaa\xaa": "InfoVista 5View",
    b"btsnoop\0": "Bluetooth (btsnoop)",
    b"iptrace ": "AIX iptrace",
    b"\x01\x10": "Novell LANalyzer",
    b"\x01\x50": "Novell LANalyzer",
    b"\x54\x52\x00\x64\x00": "HP-UX nettl",
    b"NetScaler Performance Data": "NetScaler",
    b"NetScaler V20 Performance Data": "NetScaler",
    b"NetScaler V30 Performance Data": "NetScaler",
    b"\x00\x00\x02\x00\x12\x05\x00\x10": "Tektronix K12 (rf5)",
    b"+---------+---------------+----------+": "Tektronix K12 text",
    b"Session Transcript": "Catapult DCT2000",
    b"EyeSDN": "EyeSDN",
    b"\x42\xd2\x00\x34\x12\x66\x22\x88": "RADCOM",
    b"T\0Rotat": "Toshiba router text",
    b"CCVF": "CommView (NCFX)",
    b"LOGG": "Vector BLF",
    b"\xb0\x00\x7d\x5d": "Colasoft Capsa",
    b"cpse": "Colasoft Capsa",
}
"""By how a file begins, captures that Wireshark's tools read."""

OTHERS: Mapping[bytes, str] = {
    b"PAR1": "a Parquet file, not a capture",
    b"ARROW1": "an Arrow file, not a capture",
    b"PK\x03\x04": "a zip archive; unpack it first",
    b"7z\xbc\xaf\x27\x1c": "a 7-Zip archive; unpack it first",
    b"Rar!\x1a\x07": "a RAR archive; unpack it first",
    b"\x1f\x9d": "packed with compress; unpack it first (gzip -d)",
    b"\x02\x21\x4c\x18": "lz4 data in the legacy format, which is not read; pack it again with a newer lz4",
    b"MSCF": "a Windows cabinet (of an ETL trace?); unpack it, and convert the trace with etl2pcapng",
    b"%PDF": "a PDF document, not a capture",
    b"\x7fELF": "a program, not a capture",
    b"SQLite format 3\0": "an SQLite database, not a capture",
    b"\x89PNG": "a picture, not a capture",
    b"__CURSOR=": "an export of the systemd journal, not a capture",
}

UNKNOWN_TEXT = "is text, but not the text of tcpdump (tcpdump -nn -tttt)"

SHORTEST_BYTES = 4
"""No format is known by less."""

TAR_MAGIC, TAR_MAGIC_AT = b"ustar", 257
ETL_MARK = re.compile(rb"(?:\.\0e\0t\0l\0|E\0v\0e\0n\0t\0T\0r\0a\0c\0e\0)")
"""UTF-16: a Windows event trace names its own file near the beginning."""


def describe(prefix: bytes, compression: Compression | None) -> str:
    """Say what a file is that is no capture, or one that is not read, and what to do.

    Parameters
    ----------
    prefix : bytes
        Its beginning, decompressed.
    compression : Compression or None
        How it was compressed.
    """
    inside = f" inside {compression.name}" if compression is not None else ""
    if not prefix:
        return f"nothing{inside}; it holds no frames" if inside else "is empty; it is not a capture file"
    if len(prefix) < SHORTEST_BYTES:
        return f"has {len(prefix)} byte{'s' * (len(prefix) > 1)}{inside}; no capture is so short"
    nested = compression_of(prefix)
    if nested is not None:
        return f"is {nested.name}{inside}; unpack it once first"
    known = _by_magic(prefix) or _by_content(prefix)
    return known or f"is not a capture file (it begins with {prefix[:8].hex(' ')}); does 'capinfos' know it?"


def _by_magic(prefix: bytes) -> str:
    for magic, what in CAPTURES.items():
        if prefix.startswith(magic):
            return _to_convert(what)
    return next((f"is {what}" for magic, what in OTHERS.items() if prefix.startswith(magic)), "")


def _by_content(prefix: bytes) -> str:
    if prefix[TAR_MAGIC_AT : TAR_MAGIC_AT + len(TAR_MAGIC)] == TAR_MAGIC:
        return "is a tar archive; unpack it first"
    if ETL_MARK.search(prefix):
        return "seems to be a Windows event trace (ETL); convert it with etl2pcapng"
    if _is_commview(prefix):
        return _to_convert("CommView")
    start = prefix.lstrip(b"\xef\xbb\xbf \t\r\n")[:512].lower()
    if start.startswith((b"<!doctype html", b"<html", b"<head")):
        return "is an HTML page, not a capture; was it downloaded through a page that asks for a login?"
    if _is_printable(prefix):
        return UNKNOWN_TEXT
    return ""


def _to_convert(what: str) -> str:
    return f"is a capture in the format of {what}, which is not read; convert it: editcap FILE NEW.pcapng"


def _is_commview(prefix: bytes) -> bool:
    """Tell by a plausible date where CommView writes that of the first frame."""
    if len(prefix) < 24:
        return False
    captured, packed, version = struct.unpack_from("<HHB", prefix)
    dated = struct.unpack_from("<H5B", prefix, 5)
    if version == 0 and 0 < captured <= packed and _is_date(*dated):
        return True
    (length,) = struct.unpack_from("<I", prefix)
    return 0 < length <= FRAME_LIMIT and _is_date(*struct.unpack_from("<H5B", prefix, 4))


def _is_date(year: int, month: int, day: int, hour: int, minute: int, second: int) -> bool:
    return 1990 <= year < 2100 and 1 <= month <= 12 and 1 <= day <= 31 and hour < 24 and minute < 60 and second < 61


def _is_printable(prefix: bytes) -> bool:
    control = sum(byte < 32 and byte not in b"\t\n\r\f\x1b" for byte in prefix)
    foreign = sum(byte >= 128 for byte in prefix)
    return b"\0" not in prefix and control <= len(prefix) // 100 and foreign <= len(prefix) // 2
