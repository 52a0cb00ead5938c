"""What the kernel says of its TCP sockets, and how it is told to end one: netlink sock_diag (linux/inet_diag.h).

Theory of operation
-------------------
A request names an address family and states; the kernel answers with a message for each socket: its identity (the
four-tuple and a cookie that no other socket ever has), its owner, and attributes, ``tcp_info`` among them. Messages
come in order of the kernel's tables and are kept as bytes, so that thousands of them are read by NumPy at once. A
request to destroy names one socket by four-tuple and cookie: the kernel itself looks whether it is still that one.

What it cannot see: sockets of other network namespaces; what changes between two messages of one answer. If the kernel
says that its tables changed under the answer it is asked again, a few times.

Notes
-----
This is written on plain sockets: pyroute2 0.9.7 takes the errors of this protocol for rows, cannot destroy, and gives
the sender's window scale for the receiver's (docs/methods/sockets.md).
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
from typing import TYPE_CHECKING, NamedTuple

from tcpsight.errors import TcpsightError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

# linux/netlink.h, linux/sock_diag.h, linux/inet_diag.h
NETLINK_SOCK_DIAG = 4
SOCK_DIAG_BY_FAMILY, SOCK_DESTROY = 20, 21
NLMSG_ERROR, NLMSG_DONE = 2, 3
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP_INTERRUPTED, NLM_F_DUMP = 1, 4, 0x10, 0x300
INET_DIAG_INFO, INET_DIAG_CONG = 2, 4

IDENTITY_BYTES = 48
MESSAGE_BYTES = 72
INFO_BYTES = 240
"""As much of ``tcp_info`` as is read; older kernels give less, newer ones more."""

CONGESTION_BYTES = 16
ALL_STATES = 0xFFF << 1
"""From ESTABLISHED, 1, to NEW_SYN_RECV, 12."""

_TRIES = 5
_RECEIVE_BYTES = 1 << 18
_HEADER = struct.Struct("=IHHII")
_REQUEST = struct.Struct(f"=BBBxI{IDENTITY_BYTES}s")


class Answer(NamedTuple):
    """Messages of one family.

    Attributes
    ----------
    messages : bytes
        ``inet_diag_msg`` of every socket, `MESSAGE_BYTES` each.
    infos : bytes
        ``tcp_info`` of every socket, `INFO_BYTES` each, zeros where the kernel gave less.
    info_sizes : list of int
        How much it gave of each; 0: nothing, as for sockets that only wait to be forgotten.
    algorithms : bytes
        Name of the congestion control of each, `CONGESTION_BYTES`, filled up with zeros.
    is_torn : bool
        Whether the tables changed under the answer every time it was asked for.
    """

    messages: bytes
    infos: bytes
    info_sizes: list[int]
    algorithms: bytes
    is_torn: bool


class DiagnosticSocket:
    """A netlink socket that asks for TCP sockets; a context manager.

    Raises
    ------
    UsageError
        This is no Linux, or its kernel has no such thing.
    """

    def __init__(self) -> None:
        if sys.platform != "linux":
            raise UsageError("connections of this machine are read by sock_diag, which only Linux has")
        try:
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_SOCK_DIAG)
            self._socket.settimeout(10)
            self._socket.bind((0, 0))
        except OSError as error:
            raise UsageError(f"sock_diag (CONFIG_INET_DIAG): {error.strerror}") from None
        self._sequence = 0

    def __enter__(self) -> DiagnosticSocket:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def sockets(self, family: int, states: int = ALL_STATES) -> Answer:
        """Ask for all TCP sockets of a family that are in some states, one bit each.

        Raises
        ------
        TcpsightError
            The kernel refuses.
        """
        for _ in range(_TRIES):
            self._send(SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, family, states, bytes(IDENTITY_BYTES))
            answer = _answer(list(self._answers()))
            if not answer.is_torn:
                break
        return answer

    def one(self, family: int, identity: bytes) -> Answer | None:
        """Ask for the socket of a four-tuple and cookie; None if it is no more, even if another has the four-tuple.

        Raises
        ------
        TcpsightError
            The kernel does not tell whether it is.
        """
        self._send(SOCK_DIAG_BY_FAMILY, 0, family, ALL_STATES, identity)
        answered = list(self._answers(is_single=True))
        for kind, _, body in answered:
            if kind == NLMSG_ERROR:
                number = _errno(body)
                if number in (errno.ENOENT, errno.ESTALE):
                    return None
                raise TcpsightError(f"sock_diag: {os.strerror(number)}")
        return _answer(answered)

    def destroy(self, family: int, identity: bytes) -> int:
        """Tell the kernel to end the socket of a four-tuple and cookie, and of no other; give its errno, 0 for done."""
        self._send(SOCK_DESTROY, NLM_F_ACK, family, ALL_STATES, identity)
        for kind, _, body in self._answers(is_single=True):
            if kind == NLMSG_ERROR:
                return _errno(body)
        return 0

    def _send(self, kind: int, flags: int, family: int, states: int, identity: bytes) -> None:
        self._sequence += 1
        extensions = 1 << (INET_DIAG_INFO - 1) | 1 << (INET_DIAG_CONG - 1)
        body = _REQUEST.pack(family, socket.IPPROTO_TCP, extensions, states, identity)
        header = _HEADER.pack(_HEADER.size + len(body), kind, NLM_F_REQUEST | flags, self._sequence, 0)
        try:
            self._socket.send(header + body)
        except OSError as error:
            raise TcpsightError(f"sock_diag: {error.strerror}") from None

    def _answers(self, *, is_single: bool = False) -> Iterator[tuple[int, int, bytes]]:
        """Give kind, flags and content of messages, until the last one; for one socket that is the first."""
        while True:
            try:
                data = self._socket.recv(_RECEIVE_BYTES)
            except TimeoutError:
                raise TcpsightError("sock_diag: the kernel does not answer") from None
            except OSError as error:
                raise TcpsightError(f"sock_diag: {error.strerror}") from None
            for kind, flags, sequence, body in _messages(data):
                if sequence != self._sequence:
                    continue  # of a question that was given up
                if kind == NLMSG_DONE and not _errno(body):
                    return
                if kind == NLMSG_DONE or (kind == NLMSG_ERROR and not is_single):
                    number = _errno(body)
                    hint = " (CONFIG_INET_TCP_DIAG)" if number == errno.ENOENT else ""
                    raise TcpsightError(f"sock_diag: {os.strerror(number)}{hint}")
                yield kind, flags, body
                if is_single:
                    return


def _errno(body: bytes) -> int:
    """Give the error that a message of the end or of an error tells; 0 for none."""
    return -int(struct.unpack_from("=i", body)[0]) if len(body) >= 4 else 0


def _answer(answered: list[tuple[int, int, bytes]]) -> Answer:
    """Put together what an answer tells of sockets."""
    messages, infos, sizes, algorithms, is_torn = bytearray(), bytearray(), list[int](), bytearray(), False
    for kind, flags, body in answered:
        is_torn |= bool(flags & NLM_F_DUMP_INTERRUPTED)
        if kind != SOCK_DIAG_BY_FAMILY or len(body) < MESSAGE_BYTES:
            continue
        attributes = dict(_attributes(body[MESSAGE_BYTES:]))
        info = attributes.get(INET_DIAG_INFO, b"")[:INFO_BYTES]
        messages += body[:MESSAGE_BYTES]
        infos += info.ljust(INFO_BYTES, b"\0")
        sizes.append(len(info))
        algorithms += attributes.get(INET_DIAG_CONG, b"")[:CONGESTION_BYTES].ljust(CONGESTION_BYTES, b"\0")
    return Answer(bytes(messages), bytes(infos), sizes, bytes(algorithms), is_torn)


def _messages(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    at = 0
    while at + _HEADER.size <= len(data):
        length, kind, flags, sequence, _ = _HEADER.unpack_from(data, at)
        if length < _HEADER.size or at + length > len(data):
            return
        yield kind, flags, sequence, data[at + _HEADER.size : at + length]
        at += length + 3 & ~3


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, at)
        if length < 4 or at + length > len(data):
            return
        yield kind & 0x3FFF, data[at + 4 : at + length]
        at += length + 3 & ~3
