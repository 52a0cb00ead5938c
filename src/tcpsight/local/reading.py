"""The kernel's sockets as rows of one table, with who holds them and what a watch measured of their service."""

from __future__ import annotations

import socket
import struct
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tcpsight.local.processes import holders
from tcpsight.local.sock_diag import CONGESTION_BYTES, IDENTITY_BYTES, INFO_BYTES, MESSAGE_BYTES, DiagnosticSocket
from tcpsight.tables import IPV4_PREFIX, SOCKET_STATES, Sockets

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tcpsight.local.measured import Measured, Service
    from tcpsight.local.sock_diag import Answer

_MAPPED = np.frombuffer(IPV4_PREFIX, np.uint8)
_LISTEN = SOCKET_STATES.index("listening")
_NEW_SYN_RECEIVED = 12
_WITHOUT_SOCKET = tuple(SOCKET_STATES.index(name) for name in ("time_wait", "syn_received"))
_SETTING_UP = tuple(SOCKET_STATES.index(name) for name in ("syn_sent", "syn_received"))
_FAMILIES = (socket.AF_INET, socket.AF_INET6)
_UNLIMITED_SEGMENTS = 0x7FFFFFFF
_NO_LEAST_RTT = 0xFFFFFFFF
_MOST = np.iinfo(np.int64).max

_FIELDS: tuple[tuple[str, object, int], ...] = (
    ("family", "u1", 0),
    ("state", "u1", 1),
    ("identity", ("u1", IDENTITY_BYTES), 4),
    ("ports", (">u2", 2), 4),
    ("source", ("u1", 16), 8),
    ("destination", ("u1", 16), 24),
    ("cookie", "u8", 44),
    ("receive_queue", "u4", 56),
    ("send_queue", "u4", 60),
    ("uid", "u4", 64),
    ("inode", "u4", 68),
)
_NAMES, _FORMATS, _OFFSETS = zip(*_FIELDS, strict=True)
_MESSAGE = np.dtype({"names": _NAMES, "formats": _FORMATS, "offsets": _OFFSETS, "itemsize": MESSAGE_BYTES})

_TIMES_US, _TIMES_MS, _PLAIN, _BYTE_RATES = 1000, 1_000_000, 1, 8

# Column of ours: (offset in tcp_info, type there, factor); linux/tcp.h.
_INFO: dict[str, tuple[int, str, int]] = {
    "rto_ns": (8, "u4", _TIMES_US),
    "mss_bytes": (16, "u4", _PLAIN),
    "in_flight_segments": (24, "u4", _PLAIN),
    "sacked_segments": (28, "u4", _PLAIN),
    "lost_segments": (32, "u4", _PLAIN),
    "retransmitted_segments_out": (36, "u4", _PLAIN),
    "last_sent_ns": (44, "u4", _TIMES_MS),
    "last_received_ns": (52, "u4", _TIMES_MS),
    "last_acked_ns": (56, "u4", _TIMES_MS),
    "path_mtu_bytes": (60, "u4", _PLAIN),
    "rtt_ns": (68, "u4", _TIMES_US),
    "rtt_variation_ns": (72, "u4", _TIMES_US),
    "slow_start_threshold_segments": (76, "u4", _PLAIN),
    "congestion_window_segments": (80, "u4", _PLAIN),
    "receiver_rtt_ns": (92, "u4", _TIMES_US),
    "retransmissions": (100, "u4", _PLAIN),
    "pacing_rate_bits_per_s": (104, "u8", _BYTE_RATES),
    "bytes_acked": (120, "u8", _PLAIN),
    "bytes_received": (128, "u8", _PLAIN),
    "segments_sent": (136, "u4", _PLAIN),
    "segments_received": (140, "u4", _PLAIN),
    "not_sent_bytes": (144, "u4", _PLAIN),
    "rtt_min_ns": (148, "u4", _TIMES_US),
    "delivery_rate_bits_per_s": (160, "u8", _BYTE_RATES),
    "busy_ns": (168, "u8", _TIMES_US),
    "receiver_limited_ns": (176, "u8", _TIMES_US),
    "buffer_limited_ns": (184, "u8", _TIMES_US),
    "bytes_sent": (200, "u8", _PLAIN),
    "bytes_retransmitted": (208, "u8", _PLAIN),
    "out_of_order_received": (224, "u4", _PLAIN),
    "window_bytes": (228, "u4", _PLAIN),
}

_NEED_A_SAMPLE = ("rtt_ns", "rtt_variation_ns", "receiver_rtt_ns", "delivery_rate_bits_per_s")
"""Of these 0 means that nothing was measured yet."""


class Reading(NamedTuple):
    """The sockets of this machine at an instant.

    Attributes
    ----------
    sockets : Sockets
        One row each, by local port, then as the kernel told them.
    without_process : int
        Connections whose process this account may not see; those that no process holds any more are not among them.
    is_torn : bool
        Whether the kernel's tables changed while they were read.
    """

    sockets: Sockets
    without_process: int
    is_torn: bool


def read_sockets(measured: Mapping[Service, Measured] | None = None) -> Reading:
    """Read the TCP sockets of this machine (this network namespace), those that listen among them.

    Parameters
    ----------
    measured : mapping, optional
        What a watch told of services, from `last_slices`.

    Raises
    ------
    TcpsightError
        The kernel does not tell.
    """
    with DiagnosticSocket() as asking:
        answers = [asking.sockets(family) for family in _FAMILIES]
    now_ns = time.time_ns()
    table = Sockets.concatenate([_rows(answer) for answer in answers])
    table.read_ns[:] = now_ns
    _tell_roles(table)
    without = _name_processes(table)
    _join(table, measured or {})
    order = np.lexsort((table.remote_port, table.local_port, table.state == _LISTEN))
    return Reading(table[order], without, any(answer.is_torn for answer in answers))


def read_again(asking: DiagnosticSocket, row: np.void) -> Sockets:
    """Read one socket once more, by its four-tuple and cookie; no row if it is no more.

    Parameters
    ----------
    asking : DiagnosticSocket
        Whom to ask.
    row : void
        A row of `read_sockets`. Who holds the socket, its role and its service are told as they were.
    """
    answer = asking.one(int(row["family"]), identity_of(row))
    if answer is None or not answer.messages:
        return Sockets()
    table = _rows(answer)
    table.read_ns[:] = time.time_ns()
    for name in ("role", "process", "pid", "holders", *(c.name for c in Sockets.columns if c.name[:8] == "service_")):
        table.rows[name] = row[name]
    return table


def identity_of(row: np.void) -> bytes:
    """Give what the kernel knows a socket by: ports, addresses, interface and cookie, as it told them."""
    return bytes(row["identity"].tobytes())


def _rows(answer: Answer) -> Sockets:
    messages = np.frombuffer(answer.messages, _MESSAGE)
    table = Sockets.allocate(len(messages))
    is_new = messages["state"] == _NEW_SYN_RECEIVED
    table.state[:] = np.where(is_new, SOCKET_STATES.index("syn_received"), messages["state"])
    table.family[:] = messages["family"]
    table.rows["identity"] = messages["identity"]
    table.cookie[:] = messages["cookie"].astype(np.int64)
    table.local_port[:], table.remote_port[:] = messages["ports"][:, 0], messages["ports"][:, 1]
    for name, field in (("local_address", "source"), ("remote_address", "destination")):
        table.rows[name] = _addresses(messages[field], messages["family"])
    is_mapped = (table.local_address[:, :12] == _MAPPED).all(axis=1)
    table.ip_version[:] = np.where(is_mapped, 4, 6)
    table.is_mapped[:] = is_mapped & (messages["family"] == socket.AF_INET6)
    inode = messages["inode"].astype(np.int64)
    is_part = np.isin(table.state, _WITHOUT_SOCKET) & (inode == 0)  # what the kernel does not keep is 0
    has_no_queue = is_part | (table.state == _LISTEN)
    table.receive_queue_bytes[:] = np.where(has_no_queue, -1, messages["receive_queue"].astype(np.int64))
    table.send_queue_bytes[:] = np.where(has_no_queue, -1, messages["send_queue"].astype(np.int64))
    table.inode[:] = np.where(is_part, -1, inode)
    table.uid[:] = np.where(inode == 0, -1, messages["uid"].astype(np.int64))
    table.congestion_control[:] = np.frombuffer(answer.algorithms, f"S{CONGESTION_BYTES}")
    _fill(table, answer)
    return table


def _addresses(raw: np.ndarray[Any, Any], family: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Give addresses in 16 bytes with IPv4 in the last four, of which the kernel gives the first four."""
    mapped = np.concatenate([np.broadcast_to(_MAPPED, (len(raw), 12)), raw[:, :4]], axis=1)
    chosen: np.ndarray[Any, Any] = np.where((family == socket.AF_INET)[:, None], mapped, raw)
    return chosen


def _fill(table: Sockets, answer: Answer) -> None:
    """Fill the columns of ``tcp_info``; null where the kernel told none, or too little."""
    sizes = np.array(answer.info_sizes, np.int64)
    sizes[table.state == _LISTEN] = 0  # other numbers stand there
    raw = np.frombuffer(answer.infos, np.uint8).reshape(-1, INFO_BYTES)
    for name, (at, kind, factor) in _INFO.items():
        end = at + int(kind[1])
        values = np.ascontiguousarray(raw[:, at:end]).view(kind)[:, 0]
        is_known = (sizes >= end) & (values <= _MOST // factor)
        if name in _NEED_A_SAMPLE:
            is_known &= values > 0
        if name == "rtt_min_ns":
            is_known &= (values > 0) & (values != _NO_LEAST_RTT)
        if name == "slow_start_threshold_segments":
            is_known &= values < _UNLIMITED_SEGMENTS
        table.rows[name] = np.where(is_known, values.astype(np.int64) * factor, -1)
    table.is_application_limited[:] = np.where(sizes > 7, raw[:, 7] & 1, 255)
    never = table.bytes_received == 0
    table.rows["last_received_ns"][never] = -1  # the kernel counts from its start
    for name in ("last_sent_ns", "last_received_ns", "last_acked_ns"):
        table.rows[name][np.isin(table.state, _SETTING_UP)] = -1  # the same: nothing was sent yet
    sent, received = table.last_sent_ns, table.last_received_ns
    table.idle_ns[:] = np.where(received < 0, sent, np.where(sent < 0, received, np.minimum(sent, received)))
    table.least_age_ns[:] = np.maximum(sent, received)


def _tell_roles(table: Sockets) -> None:
    """Tell which connections came to a port that is listened on: of the others this machine is the client."""
    listening = set(table.local_port[table.state == _LISTEN].tolist())
    is_server = np.isin(table.local_port, np.fromiter(listening, np.int64))
    table.role[:] = np.where(is_server, 1, 0)


def _name_processes(table: Sockets) -> int:
    """Fill in who holds each; give how many are held by somebody who cannot be seen."""
    known = holders()
    table.pid[:], table.holders[:] = -1, -1
    for row in table.rows:
        process = known.get(int(row["inode"])) if row["inode"] > 0 else None
        if process is not None:
            row["pid"], row["holders"] = process.pid, process.holders
            row["process"] = process.name.encode()
    return int(((table.pid < 0) & (table.inode > 0) & (table.state != _LISTEN)).sum())


def _join(table: Sockets, measured: Mapping[Service, Measured]) -> None:
    names = ("service_throughput_per_s", "service_concurrency")
    for name in names:
        table.rows[name] = np.nan
    for name in ("service_slice_ns", "service_response_time_p50_ns", "service_response_time_p99_ns"):
        table.rows[name] = -1
    if not measured:
        return
    for row in table.rows:
        side = "local" if row["role"] else "remote"
        told = measured.get((row[f"{side}_address"].tobytes(), int(row[f"{side}_port"])))
        if told is not None and row["state"] != _LISTEN:
            row["service_slice_ns"] = told.start_ns
            row["service_throughput_per_s"], row["service_concurrency"] = told.throughput_per_s, told.concurrency
            row["service_response_time_p50_ns"] = told.response_time_p50_ns
            row["service_response_time_p99_ns"] = told.response_time_p99_ns


def is_connection(table: Sockets) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Tell which rows are connections: all but those that listen."""
    connections: np.ndarray[Any, np.dtype[np.bool_]] = table.state != _LISTEN
    return connections


def four_tuple(row: np.void) -> tuple[bytes, int, bytes, int]:
    """Give both endpoints of a row, the local one first."""
    return (
        row["local_address"].tobytes(),
        int(row["local_port"]),
        row["remote_address"].tobytes(),
        int(row["remote_port"]),
    )


def cookie_text(cookie: int) -> str:
    """Write a socket's cookie as ``ss -e`` does."""
    return f"{struct.unpack('<Q', struct.pack('<q', cookie))[0]:x}"
