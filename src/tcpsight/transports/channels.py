"""Channels between two processes: TCP over loopback, Unix sockets, pipes, shared memory."""

from __future__ import annotations

import mmap
import os
import socket
from contextlib import suppress
from typing import NamedTuple

TRANSPORTS = ("tcp_nodelay", "tcp", "unix_stream", "unix_datagram", "pipe", "shared_memory")
"""TCP with and without TCP_NODELAY; shared memory is looked at again and again, without the kernel."""

WAIT_S = 5
"""A side that hears nothing for so long gives up."""


class End(NamedTuple):
    """One side of a channel.

    Attributes
    ----------
    sending, receiving : int
        Descriptors; the same one of a socket.
    sockets : tuple of socket
        What they belong to; none of pipes.
    """

    sending: int
    receiving: int
    sockets: tuple[socket.socket, ...] = ()

    def say_end(self) -> None:
        """Say that there is no more to come."""
        if not self.sockets:
            os.close(self.sending)
        elif self.sockets[0].type == socket.SOCK_DGRAM:
            self.sockets[0].send(b"")
        else:
            self.sockets[0].shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close it."""
        for each in self.sockets:
            each.close()
        if not self.sockets:
            for descriptor in (self.sending, self.receiving):
                with suppress(OSError):
                    os.close(descriptor)


def open_channel(transport: str) -> tuple[End, End]:
    """Open a channel; give both sides.

    Raises
    ------
    OSError
        The system does not have it, or refuses.
    """
    if transport == "pipe":
        there, back = os.pipe(), os.pipe()
        return End(there[1], back[0]), End(back[1], there[0])
    if transport.startswith("unix"):
        kind = socket.SOCK_DGRAM if transport == "unix_datagram" else socket.SOCK_STREAM
        pair = socket.socketpair(socket.AF_UNIX, kind)
    else:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            client = socket.create_connection(listener.getsockname(), timeout=WAIT_S)
            pair = client, listener.accept()[0]
        for each in pair:
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, transport == "tcp_nodelay")
    for each in pair:
        each.settimeout(None)  # or Python would make them non-blocking
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            each.setsockopt(socket.SOL_SOCKET, option, _timeval(WAIT_S))
    one, other = (End(each.fileno(), each.fileno(), (each,)) for each in pair)
    return one, other


def _timeval(seconds: int) -> bytes:
    import struct

    return struct.pack("@ll", seconds, 0)


def shared_memory(size: int) -> mmap.mmap:
    """Give memory that a child that is forked later shares."""
    return mmap.mmap(-1, size)
