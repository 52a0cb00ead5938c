"""A MySQL client just large enough to time statements: one socket, one statement at a time.

It speaks protocol 4.1 without TLS, for users without a password, and reads results only
as far as needed to know where they end. The clock is read right before the statement is
handed to the kernel and right after its last byte came back, so what is measured is the
round trip and not the client.
"""

from __future__ import annotations

import socket
import struct
import time
from typing import NamedTuple

LONG_PASSWORD, PROTOCOL_41, TRANSACTIONS, SECURE_CONNECTION = 0x1, 0x200, 0x2000, 0x8000
PLUGIN_AUTH, CONNECT_WITH_DB = 0x80000, 0x8
COM_QUIT, COM_QUERY = 1, 3
OK, EOF_MARK, ERROR = 0x00, 0xFE, 0xFF
UTF8MB4 = 45


class Answer(NamedTuple):
    """When one statement was sent, when its answer was complete, and the rows it gave."""

    start_ns: int  # since the Unix epoch
    end_ns: int
    rows: list[list[str | None]]


class Connection:
    """One connection to a MariaDB or MySQL server."""

    def __init__(self, host: str, port: int, user: str, database: str = "") -> None:
        self._socket = socket.create_connection((host, port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.port: int = self._socket.getsockname()[1]
        self._buffer = b""
        self._read_packet()  # the server's greeting
        flags = LONG_PASSWORD | PROTOCOL_41 | TRANSACTIONS | SECURE_CONNECTION | PLUGIN_AUTH
        if database:
            flags |= CONNECT_WITH_DB
        login = struct.pack("<IIB23x", flags, 1 << 24, UTF8MB4)
        login += user.encode() + b"\0" + b"\0"  # an empty password has an empty answer
        if database:
            login += database.encode() + b"\0"
        self._send(1, login + b"mysql_native_password\0")
        self._raise_if_error(self._read_packet())

    def execute(self, statement: str) -> Answer:
        """Run one statement and time it."""
        packet = bytes([COM_QUERY]) + statement.encode()
        wire = struct.pack("<I", len(packet))[:3] + b"\0" + packet
        tick, start = time.perf_counter_ns(), time.time_ns()  # what passes between makes the end later, not earlier
        self._socket.sendall(wire)
        packets = self._read_answer()
        end = start + time.perf_counter_ns() - tick
        return Answer(start, end, [_row(packet) for packet in packets])

    def close(self) -> None:
        """Say goodbye and close."""
        self._send(0, bytes([COM_QUIT]))
        self._socket.close()

    def _read_answer(self) -> list[bytes]:
        first = self._read_packet()
        self._raise_if_error(first)
        if first[0] == OK:
            return []
        for _ in range(first[0] + 1):  # the columns and the mark after them
            self._read_packet()
        rows = []
        while not _is_end(packet := self._read_packet()):
            self._raise_if_error(packet)
            rows.append(packet)
        return rows

    def _read_packet(self) -> bytes:
        while True:
            if len(self._buffer) >= 4:
                end = 4 + int.from_bytes(self._buffer[:3], "little")
                if len(self._buffer) >= end:
                    packet, self._buffer = self._buffer[4:end], self._buffer[end:]
                    return packet
            more = self._socket.recv(65536)
            if not more:
                raise ConnectionError("the server closed the connection")
            self._buffer += more

    def _send(self, sequence: int, packet: bytes) -> None:
        header = struct.pack("<I", len(packet))[:3] + bytes([sequence])
        self._socket.sendall(header + packet)

    @staticmethod
    def _raise_if_error(packet: bytes) -> None:
        if packet[0] == ERROR:
            raise RuntimeError(packet[9:].decode(errors="replace"))


def _is_end(packet: bytes) -> bool:
    return packet[0] == EOF_MARK and len(packet) < 9


def _row(packet: bytes) -> list[str | None]:
    values: list[str | None] = []
    at = 0
    while at < len(packet):
        size, at = packet[at], at + 1
        if size == 0xFB:
            values.append(None)
            continue
        if size in (0xFC, 0xFD, 0xFE):
            width = {0xFC: 2, 0xFD: 3, 0xFE: 8}[size]
            size, at = int.from_bytes(packet[at : at + width], "little"), at + width
        values.append(packet[at : at + size].decode(errors="replace"))
        at += size
    return values
