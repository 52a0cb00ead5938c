"""An endpoint that Prometheus scrapes: ``/metrics`` over HTTP, in its own text format or in OpenMetrics.

Theory of operation
-------------------
The endpoint keeps the last update, and nothing else of the watch. Each request is answered by a thread of its own, from
the update that is the last then. There are `MOST_CLIENTS` at most, beyond which connections are closed at once; one
that takes longer than `REQUEST_S` in all, whether it asks or listens slowly, is cut off. A request is one connection.

What it cannot see: who asks. It is for a trusted network, as exporters are; nothing of it can be changed from outside,
and no client's address is told.
"""

from __future__ import annotations

import gzip
import signal
import socket
import threading
from collections.abc import Iterable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer, ThreadingMixIn
from time import monotonic
from typing import TYPE_CHECKING, Any

from tcpsight.errors import TcpsightError, UsageError
from tcpsight.output.feeds.targets import host_port
from tcpsight.output.feeds.update import Update
from tcpsight.output.units import endpoint

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

MOST_CLIENTS = 8
"""Connections at a time."""

REQUEST_S = 10.0
"""How long one may take in all."""

SILENCE_S = 5.0
"""How long one may say, or take, nothing."""

POLL_S = 0.5
"""How often it is looked whose time is over."""

PATH = "/metrics"


class MetricsEndpoint:
    """Answer scrapes from the last update.

    Parameters
    ----------
    listen : str
        ``HOST:PORT``; port 0 takes one that is free.
    version : str
        Of the program.

    Attributes
    ----------
    address : str
        Where it listens.

    Raises
    ------
    UsageError
        If `listen` is no address.
    TcpsightError
        If it cannot be listened at.
    """

    def __init__(self, listen: str, *, version: str = "") -> None:
        from tcpsight.output.feeds.prometheus import UpdateCollector, own_registry

        try:
            host, port = host_port(listen)
        except ValueError:
            raise UsageError(f"cannot listen at {listen!a}: write 127.0.0.1:9470 or [::1]:9470") from None
        self._collector = UpdateCollector(version)
        try:
            self._server = _Server(host, port, own_registry(self._collector))
        except OSError as error:
            raise TcpsightError(f"cannot listen at {listen}: {error.strerror or error}") from error
        found = self._server.server_address
        self.address = endpoint(str(found[0]), int(found[1]))
        self._thread = threading.Thread(target=self._run, name=f"metrics at {self.address}", daemon=True)
        self._thread.start()

    def send(self, update: Update) -> None:
        """Tell this update from now on."""
        self._collector.update = update

    def close(self, timeout_s: float = 1.0) -> None:
        """Listen no longer, and cut off who still asks."""
        stopping = threading.Thread(target=self._server.shutdown, daemon=True)
        stopping.start()
        stopping.join(max(timeout_s, 0.1))
        self._server.server_close()
        self._server.cut_off(monotonic() + REQUEST_S)

    def _run(self) -> None:
        # Signals are for the thread that captures. Threads that answer inherit this.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        self._server.serve_forever(poll_interval=POLL_S)


class _Server(ThreadingMixIn, TCPServer):
    """A server of bounded patience."""

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 16

    def __init__(self, host: str, port: int, registry: CollectorRegistry) -> None:
        self.registry = registry
        self._deadlines: dict[socket.socket, float] = {}
        self._lock = threading.Lock()
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        self.address_family = family
        super().__init__(address[:2] if family == socket.AF_INET else address, _Handler)  # type: ignore[arg-type]

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Tell whether there is room for one more."""
        with self._lock:
            if len(self._deadlines) >= MOST_CLIENTS:
                return False
            self._deadlines[request] = monotonic() + REQUEST_S
            return True

    def shutdown_request(self, request: Any) -> None:
        """Close a connection."""
        with self._lock:
            self._deadlines.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """Cut off those whose time is over."""
        self.cut_off(monotonic())

    def cut_off(self, now: float) -> None:
        """Cut off those whose time is over at `now`."""
        with self._lock:
            late: Iterable[socket.socket] = [each for each, deadline in self._deadlines.items() if deadline <= now]
        for each in late:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that went away, or were cut off."""


class _Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    server: _Server
    timeout = SILENCE_S
    server_version = "tcpsight"
    sys_version = ""

    def do_GET(self) -> None:
        """Answer with the metrics, at their path."""
        if self.path.split("?")[0] != PATH:
            self._answer(404, "text/plain; charset=utf-8", f"Metrics are at {PATH}\n".encode())
            return
        from prometheus_client.exposition import choose_encoder, gzip_accepted

        encode, kind = choose_encoder(self.headers.get("Accept", ""))
        body = encode(self.server.registry)
        is_zipped = gzip_accepted(self.headers.get("Accept-Encoding", ""))
        self._answer(200, kind, gzip.compress(body, 1) if is_zipped else body, is_zipped=is_zipped)

    do_HEAD = do_GET

    def _answer(self, status: int, kind: str, body: bytes, *, is_zipped: bool = False) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Content-Type-Options", "nosniff")
        if is_zipped:
            self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: standard error is for the watch."""
