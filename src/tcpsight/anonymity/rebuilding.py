"""Headers as frames: Ethernet, IP and TCP, built from what was read of them and from nothing else.

Theory of operation
-------------------
Rows that have the same version of IP and the same options have headers of the same length: they are built together,
column by column, into one array. Nothing is copied from the original frame, so nothing of it can be left by mistake.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tcpsight.anonymity.sums import OPAQUE, PARTIAL, WRONG, ZERO, folded, pseudo_sums, sum_of_columns
from tcpsight.tables import (
    OPTION_CUT,
    OPTION_MSS,
    OPTION_SACK,
    OPTION_SACK_PERMITTED,
    OPTION_TIMESTAMPS,
    OPTION_WINDOW_SCALE,
    TLS_RECORDS,
)

ETHERNET_BYTES = 14
LINK_TYPE_ETHERNET = 1
# Locally administered, of nobody.
_MACS = bytes([2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1])
_ETHER_TYPES = {4: b"\x08\x00", 6: b"\x86\xdd"}

BLANK = _MACS + b"\x88\xb5"
"""What stands for a frame without a TCP segment: an EtherType for experiments (IEEE 802), and nothing behind it."""

_TYPES = {"hello": 22, "handshake": 22, "change": 20, "alert": 21, "closing": 23, "alike": 23, "finished": 23}
"""TLS records of which the header is written anew, from what they are and how long they are."""

_FINISHED = (58, 74)

_LONGEST_OPTIONS = 40
_DO_NOT_FRAGMENT = 0x40

Rows = np.ndarray[Any, Any]
Bytes = np.ndarray[Any, np.dtype[np.uint8]]


def shapes_of(rows: Rows) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Give a number for each row that is the same for rows whose headers have the same parts, shape (n,)."""
    shapes: np.ndarray[Any, np.dtype[np.int64]] = (
        rows["options"].astype(np.int64) << 8 | rows["sack_count"].astype(np.int64) << 4 | rows["ip_version"]
    )
    # Several records of one length have as many headers, each behind the record before.
    is_behind = rows["tls"] == TLS_RECORDS.index("finished")
    is_behind &= ~np.isin(rows["tls_bytes"], _FINISHED)
    many = np.where((rows["tls_records"] > 1) | is_behind, rows["tls_bytes"], 0).astype(np.int64)
    return shapes | rows["tls"].astype(np.int64) << 16 | rows["tls_records"].astype(np.int64) << 20 | many << 28


def build(rows: Rows, kinds: Rows, damage: Rows) -> tuple[Bytes, Rows]:
    """Build the frames of rows that have one shape.

    Parameters
    ----------
    rows : ndarray, shape (n,)
        Rows of headers, with addresses, ports and timestamps as they shall be.
    kinds : ndarray, shape (n, 2)
        What the checksums of IP and of TCP were: `RIGHT` and so on.
    damage : ndarray of uint16, shape (n,)
        What makes a wrong checksum of a right one.

    Returns
    -------
    frames : ndarray of uint8, shape (n, length)
    wire_bytes : ndarray of int64, shape (n,)
        How long they were on the wire, with their payload.
    """
    first = rows[0]
    options = _options(rows)
    is_cut = bool(first["options"] & OPTION_CUT)
    # Of options that the capture cut it is not known how long they were: they may be all that fits.
    tcp_bytes = 20 + (_LONGEST_OPTIONS if is_cut else options.shape[1])
    tcp = np.zeros((len(rows), 20 + options.shape[1]), np.uint8)
    for at, width, values in (
        (0, 2, rows["source_port"]),
        (2, 2, rows["destination_port"]),
        (4, 4, rows["sequence_number"]),
        (8, 4, rows["acknowledgment_number"]),
        (12, 2, (tcp_bytes // 4 << 12) | rows["flags"].astype(np.int64)),
        (14, 2, rows["window"]),
    ):
        _put(tcp, at, width, values)
    tcp[:, 20:] = options
    lengths = rows["payload_bytes"].astype(np.int64) + tcp_bytes
    _seal(tcp, rows, lengths, (kinds[:, 1], damage))
    ip = _ip(rows, lengths, (kinds[:, 0], damage))
    link = _MACS + _ETHER_TYPES[int(first["ip_version"])]
    parts = [_constant(link, len(rows)), ip, tcp, *([] if is_cut else _records(rows))]
    return np.concatenate(parts, axis=1), ETHERNET_BYTES + ip.shape[1] + lengths


def _records(rows: Rows) -> list[Bytes]:
    """Give the headers of the TLS records that rows of one shape begin with, and nothing of what is in them.

    With the first byte of a handshake's message: whether it is a ClientHello is what it is told by.
    """
    n, tls = len(rows), TLS_RECORDS[rows[0]["tls"]]
    count, size = int(rows[0]["tls_records"]), rows["tls_bytes"].astype(np.int64)
    if tls not in _TYPES:
        return []
    if tls == "finished" and int(size[0]) not in _FINISHED:
        # Behind others, which are told as one.
        before = int(size[0]) - _FINISHED[0]
        sizes = [before, _FINISHED[0]]
    else:
        sizes = [int(size[0])] * max(count, 1)
    header = np.zeros((n, 6), np.uint8)
    header[:, 0], header[:, 1], header[:, 2] = _TYPES[tls], 3, 3
    _put(header, 3, 2, (rows["payload_bytes"].astype(np.int64) if tls == "alert" else size) - 5)
    header[:, 5] = tls in ("hello", "change")
    if len(sizes) == 1:
        return [header]
    parts = []
    for each in sizes:
        own = header.copy()
        _put(own, 3, 2, np.full(n, each - 5))
        parts += [own, np.zeros((n, each - header.shape[1]), np.uint8)]
    return parts[:-1]


def _options(rows: Rows) -> Bytes:
    """Give the options of rows that have the same ones; the padding stands before them, as Linux has it."""
    has, n, parts = int(rows[0]["options"]), len(rows), []
    if has & OPTION_MSS:
        parts.append(_option(2, [_bytes(rows["mss_bytes"], 2)], n))
    if has & OPTION_SACK_PERMITTED:
        parts.append(_option(4, [], n))
    if has & OPTION_TIMESTAMPS:
        parts.append(_option(8, [_bytes(rows["timestamp_value"], 4), _bytes(rows["timestamp_echo"], 4)], n))
    if has & OPTION_WINDOW_SCALE:
        parts.append(_option(3, [_bytes(rows["window_scale"], 1)], n))
    if has & OPTION_SACK:
        edges = [_bytes(rows["sack"][:, place], 4) for place in range(2 * int(rows[0]["sack_count"]))]
        parts.append(_option(5, edges, n))
    length = sum(part.shape[1] for part in parts)
    padding = np.ones((n, 0 if has & OPTION_CUT else -length % 4), np.uint8)
    return np.concatenate([padding, *parts], axis=1) if parts else padding


def _option(kind: int, values: list[Bytes], n: int) -> Bytes:
    length = 2 + sum(value.shape[1] for value in values)
    return np.concatenate([_constant(bytes([kind, length]), n), *values], axis=1)


def _ip(rows: Rows, lengths: Rows, checksums: tuple[Rows, Rows]) -> Bytes:
    """Give IP headers; packets longer than their length field can say have 0 there, as captures of TSO have."""
    is_v4 = int(rows[0]["ip_version"]) == 4
    header = np.zeros((len(rows), 20 if is_v4 else 40), np.uint8)
    told = lengths + 20 if is_v4 else lengths
    told = np.where(told > 0xFFFF, 0, told)
    if not is_v4:
        header[:, 0] = 0x60
        _put(header, 4, 2, told)
        header[:, 6], header[:, 7] = 6, rows["ttl"]
        header[:, 8:24], header[:, 24:40] = rows["source_address"], rows["destination_address"]
        return header
    header[:, 0], header[:, 6], header[:, 8], header[:, 9] = 0x45, _DO_NOT_FRAGMENT, rows["ttl"], 6
    _put(header, 2, 2, told)
    _put(header, 4, 2, rows["ip_id"])
    header[:, 12:16], header[:, 16:20] = rows["source_address"][:, 12:], rows["destination_address"][:, 12:]
    _put(header, 10, 2, _as_it_was(0xFFFF - folded(sum_of_columns(header)), 0, checksums))
    return header


def _seal(tcp: Bytes, rows: Rows, lengths: Rows, checksums: tuple[Rows, Rows]) -> None:
    """Write checksums of TCP."""
    pseudo = pseudo_sums(rows["source_address"], rows["destination_address"], lengths)
    padded = tcp if tcp.shape[1] % 2 == 0 else np.concatenate([tcp, np.zeros((len(tcp), 1), np.uint8)], axis=1)
    right = 0xFFFF - folded(pseudo + sum_of_columns(padded))
    _put(tcp, 16, 2, _as_it_was(right, folded(pseudo), checksums))


def _as_it_was(right: Rows, partial: Any, checksums: tuple[Rows, Rows]) -> Rows:
    """Give checksums that are as right or wrong as the old ones were."""
    kinds, damage = checksums
    result = np.where((kinds == WRONG) | (kinds == OPAQUE), right ^ damage.astype(np.int64), right)
    result = np.where(kinds == PARTIAL, partial, result)
    return np.where(kinds == ZERO, 0, result)


def _constant(data: bytes, n: int) -> Bytes:
    return np.broadcast_to(np.frombuffer(data, np.uint8), (n, len(data)))


def _bytes(values: Rows, width: int) -> Bytes:
    return np.ascontiguousarray(values.astype(f">u{width}")).view(np.uint8).reshape(-1, width)


def _put(target: Bytes, at: int, width: int, values: Rows) -> None:
    target[:, at : at + width] = _bytes(values, width)
