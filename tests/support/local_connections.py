"""Connections of this machine to look at and to end: both sides in this process, in a network of its own."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import count

from tcpsight.local.reading import four_tuple, is_connection, read_sockets


def network_with_ipv6() -> None:
    """Let loopback of this network know IPv6."""
    from pathlib import Path

    Path("/proc/sys/net/ipv6/conf/lo/disable_ipv6").write_text("0")


_PORTS = count(20_000)


class Pair:
    """A connection: the client's socket, and the server's."""

    def __init__(self, host: str = "127.0.0.1", *, listener: str | None = None) -> None:
        self._stack = ExitStack()
        family = socket.AF_INET6 if ":" in host or listener else socket.AF_INET
        server = self._stack.enter_context(socket.socket(family))
        if listener is not None:
            server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        self.port = next(_PORTS)  # below those of clients, so that everybody takes it for the server's
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((listener or host, self.port))
        server.listen()
        self.client = self._stack.enter_context(socket.create_connection((host, self.port)))
        self.server = self._stack.enter_context(server.accept()[0])
        self._is_busy = False

    def exchange(self, size: int) -> None:
        """Send so much, and get it back."""

        def send(sender: socket.socket) -> None:
            with suppress(OSError):
                sender.sendall(bytes(size))

        for sender, receiver in ((self.client, self.server), (self.server, self.client)):
            thread = threading.Thread(target=send, args=(sender,))
            thread.start()
            assert len(receiver.recv(size, socket.MSG_WAITALL)) == size
            thread.join()

    def keep_busy(self, pause_s: float = 0.0) -> None:
        """Send without end, in threads, until it is ended; as fast as can be, or with pauses."""
        self._is_busy = True

        def send() -> None:
            with suppress(OSError):
                while self._is_busy:
                    self.client.sendall(bytes(50_000))
                    time.sleep(pause_s)

        def receive() -> None:
            with suppress(OSError):
                while self._is_busy and self.server.recv(1 << 16):
                    pass

        self._threads = [threading.Thread(target=each, daemon=True) for each in (send, receive)]
        for thread in self._threads:
            thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether bytes still come through, each way."""
        if self._is_busy:
            return all(thread.is_alive() for thread in self._threads)
        try:
            self.exchange(1)
        except (OSError, AssertionError):
            return False
        return True

    def close(self) -> None:
        """Close all of it."""
        if self._is_busy:
            self._is_busy = False
            for each in (self.client, self.server):
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
            for thread in self._threads:
                thread.join(timeout=10)
        self._stack.close()


def ports_of_connections() -> set[tuple[int, int]]:
    """Give the ports, the local one first, of all connections of this machine that are established."""
    sockets = read_sockets().sockets
    rows = sockets.rows[is_connection(sockets) & (sockets.state == 1)]
    return {(found[1], found[3]) for found in map(four_tuple, rows)}


@contextmanager
def pair_elsewhere(*, is_busy: bool = False, pause_s: float = 0.0) -> Iterator[int]:
    """Give the port of a connection that is held by a process which is neither this one nor above what it calls."""
    begins = f"pair.keep_busy({pause_s}); " if is_busy else ""
    made = (
        f"import sys; from tests.support import local_connections as made; made._PORTS = iter([{next(_PORTS)}])\n"
        f"pair = made.Pair(); {begins}print(pair.port, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", made], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()
