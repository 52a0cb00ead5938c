"""JSON lines to a socket that somebody listens at: TCP, or a Unix socket."""

from __future__ import annotations

import socket
from contextlib import suppress

from tcpsight.output.feeds.feed import DeliveryError
from tcpsight.output.feeds.lines import UpdateLines
from tcpsight.output.feeds.targets import Target
from tcpsight.output.feeds.update import Update

CONNECT_S = 5.0
"""How long each address of a host may take to accept a connection."""

SEND_S = 5.0
"""How long a receiver may take to accept the lines of one update."""

# Of what a receiver says, as much is thrown away at a time.
_READ_BYTES = 65_536
_MOST_READS = 16


class SocketLines:
    """Send lines over a connection, made anew when it breaks.

    Parameters
    ----------
    target : Target
        Where to.
    with_findings : bool
        Whether findings are told.
    """

    needs_totals = False

    def __init__(self, target: Target, *, with_findings: bool = False) -> None:
        self.name = target.name
        self._target = target
        self._lines = UpdateLines(with_findings=with_findings)
        self._socket: socket.socket | None = None
        self._is_interrupted = False

    def deliver(self, update: Update) -> None:
        """Send the lines of an update."""
        data = self._lines.encode(update)
        if not data:
            return
        try:
            self._connected().sendall(data)
        except OSError:
            self.close()
            raise

    def interrupt(self) -> None:
        """Break the connection."""
        self._is_interrupted = True
        if (connected := self._socket) is not None:
            with suppress(OSError):
                connected.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection; what was sent still arrives."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _connected(self) -> socket.socket:
        """Give the connection if it stands, or a new one."""
        if self._socket is not None and self._has_ended(self._socket):
            self.close()
        if self._socket is None:
            self._socket = self._connect()
        if self._is_interrupted:
            raise DeliveryError("interrupted")
        return self._socket

    def _connect(self) -> socket.socket:
        if self._target.scheme == "unix":
            made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                made.settimeout(CONNECT_S)
                made.connect(self._target.path)
            except BaseException:
                made.close()
                raise
        else:
            made = socket.create_connection(self._target.hosts[0], timeout=CONNECT_S)
            # A receiver whose machine vanished while nothing was sent.
            made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        made.settimeout(SEND_S)
        return made

    @staticmethod
    def _has_ended(connected: socket.socket) -> bool:
        """Tell whether the receiver has gone; what it says is thrown away.

        The first bytes sent to one that has gone would be lost without an error.
        """
        connected.setblocking(False)
        try:
            for _ in range(_MOST_READS):
                if not connected.recv(_READ_BYTES):
                    return True
        except BlockingIOError:
            pass
        except OSError:
            return True
        connected.settimeout(SEND_S)
        return False
