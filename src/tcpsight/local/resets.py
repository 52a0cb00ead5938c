"""Segments that are made to end a connection or to ask for its numbers, and the sockets that send them.

A RST is accepted only where its sequence number is exactly the next one expected (RFC 5961 §3.2); any other within the
window draws an acknowledgment that tells the right one, and anything outside of the window, too, when it is no RST
(RFC 9293 §3.10.7.4): such a probe changes nothing.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Sequence
from typing import NamedTuple, Self

from tcpsight.errors import TcpsightError, UsageError
from tcpsight.tables import FLAG_ACK, FLAG_RST, IPV4_PREFIX

TTL = 64
NO_RIGHT = "sending a RST needs the capability CAP_NET_RAW, which this process does not have: run as root"

Endpoint = tuple[bytes, int]
"""Address in 16 bytes, IPv4 in the last four, and port."""


class Made(NamedTuple):
    """A segment without payload and options, to be sent in the name of its source.

    Attributes
    ----------
    source, destination : tuple of bytes and int
        Endpoints.
    sequence_number, acknowledgment_number, flags, window : int
        As in the header. The window means nothing to the receiver, which never takes it from such a segment; whoever
        captures knows by it what was made here.
    """

    source: Endpoint
    destination: Endpoint
    sequence_number: int
    acknowledgment_number: int
    flags: int
    window: int

    def packet(self) -> bytes:
        """Give the whole IP packet."""
        is_v4 = self.source[0].startswith(IPV4_PREFIX)
        begin = 12 if is_v4 else 0
        addresses = self.source[0][begin:] + self.destination[0][begin:]
        numbers = (self.sequence_number, self.acknowledgment_number)
        header = struct.pack(
            "!HHIIBBHHH", self.source[1], self.destination[1], *numbers, 5 << 4, self.flags, self.window, 0, 0
        )
        lengths = struct.pack("!BBH", 0, 6, len(header)) if is_v4 else struct.pack("!IHBB", len(header), 0, 0, 6)
        header = header[:16] + struct.pack("!H", checksum(addresses + lengths + header)) + header[18:]
        if not is_v4:
            return struct.pack("!IHBB", 6 << 28, len(header), 6, TTL) + addresses + header
        ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(header), 0, 0x4000, TTL, 6, 0) + addresses
        return ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:] + header


def reset(source: Endpoint, destination: Endpoint, expected: int, window: int = 0) -> Made:
    """Make the RST that ends what `destination` has open to `source`: with the sequence number it expects next."""
    return Made(source, destination, expected, 0, FLAG_RST, window)


def probe(source: Endpoint, destination: Endpoint, numbers: tuple[int, int], window: int = 0) -> Made:
    """Make what `destination` answers with its numbers: an old byte's number, as a keep-alive has it, but no byte.

    Where it has no such connection, it answers with a RST. `numbers` are what it expects next, and what it sent last.
    """
    expected, sent = numbers
    return Made(source, destination, (expected - 1) % 2**32, sent, FLAG_ACK, window)


def checksum(data: bytes) -> int:
    """Compute the Internet checksum (RFC 1071)."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


class RawSender:
    """Sends packets with any source; a context manager.

    Raises
    ------
    UsageError
        The right lacks.
    """

    def __init__(self) -> None:
        try:
            self._v4 = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        except PermissionError:
            raise UsageError(NO_RIGHT) from None
        except OSError as error:
            raise TcpsightError(f"a raw socket: {error.strerror}") from None
        self._v6: socket.socket | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._v4.close()
        if self._v6 is not None:
            self._v6.close()

    def send_resets(self, source: Endpoint, destination: Endpoint, expected: Sequence[int], window: int) -> None:
        """Send a RST for each of some numbers that are expected next, as fast as possible."""
        zero = reset(source, destination, 0, window)
        packet = bytearray(zero.packet())
        header = len(packet) - 20
        raw, to = self._way(destination)
        (blank,) = struct.unpack_from("!H", packet, header + 16)
        for number in expected:
            # RFC 1624: what is added to the header is taken from the complement of the sum.
            total = (~blank & 0xFFFF) + (number >> 16) + (number & 0xFFFF)
            total = (total & 0xFFFF) + (total >> 16)
            total = (total & 0xFFFF) + (total >> 16)
            struct.pack_into("!I", packet, header + 4, number)
            struct.pack_into("!H", packet, header + 16, ~total & 0xFFFF)
            self._send(raw, packet, to)

    def send(self, made: Made) -> None:
        """Send one.

        Raises
        ------
        TcpsightError
            There is no way to its destination, or the system refuses.
        """
        raw, to = self._way(made.destination)
        self._send(raw, made.packet(), to)

    def _way(self, destination: Endpoint) -> tuple[socket.socket, tuple[str, int]]:
        """Give the socket for a destination, and how it is named there."""
        address = destination[0]
        if address.startswith(IPV4_PREFIX):
            return self._v4, (socket.inet_ntoa(address[12:]), 0)
        if self._v6 is None:
            self._v6 = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW)
        return self._v6, (socket.inet_ntop(socket.AF_INET6, address), 0)

    @staticmethod
    def _send(raw: socket.socket, packet: bytes | bytearray, to: tuple[str, int]) -> None:
        try:
            raw.sendto(packet, to)
        except OSError as error:
            if error.errno not in (errno.ENOBUFS, errno.EAGAIN):  # these are tried again anyway
                raise TcpsightError(f"a RST or probe cannot be sent: {os.strerror(error.errno or 0)}") from None
