"""Serves the page of a board over HTTP, within bounds.

Theory of operation
-------------------
uvicorn speaks HTTP. What it does not bound is bounded here, for each connection: there are `MOST_CONNECTIONS` at most;
one that has not asked for anything after `ASKING_S`, or takes nothing of what it is sent for `TAKING_S`, is cut off.
uvicorn stops asking for more to send while a connection takes nothing, so what waits in memory is one message each.

What it cannot see: connections that the kernel holds before they are accepted.
"""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from tcpsight.ui.board import Board
from tcpsight.ui.web_app import LivePage
from tcpsight.ui.web_guard import Guard

MOST_CONNECTIONS = 128
ASKING_S = 10.0
TAKING_S = 20.0
CLOSING_S = 1


class BoundedProtocol(H11Protocol):
    """One connection, which may not wait forever."""

    _patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin, unless there are too many."""
        super().connection_made(transport)
        if len(self.connections) > MOST_CONNECTIONS:
            transport.abort()
            return
        self.loop.call_later(ASKING_S, self._give_up_asking)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self.resume_writing()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Wait while nothing is taken, for a while."""
        super().pause_writing()
        if self._patience is None:
            self._patience = self.loop.call_later(TAKING_S, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on."""
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
        super().resume_writing()

    def _give_up_asking(self) -> None:
        if getattr(self, "cycle", None) is None:
            self.transport.abort()


class Server(uvicorn.Server):
    """uvicorn, which leaves signals to us."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Change nothing."""
        yield


class PageServer:
    """Serve the page of a board.

    Parameters
    ----------
    board : Board
        What is shown.
    listener : socket
        Bound; it is closed in the end.
    token : str or None
        What visitors must know.
    names : tuple of str
        What the page may be called, besides addresses and ``localhost``.
    """

    def __init__(
        self, board: Board, listener: socket.socket, token: str | None = None, names: tuple[str, ...] = ()
    ) -> None:
        self.page = LivePage(board)
        self._listener = listener
        self._loop: asyncio.AbstractEventLoop | None = None
        config = uvicorn.Config(
            Guard(self.page.app, token, names, self.page.policy),
            http=BoundedProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="critical",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=CLOSING_S,
        )
        self._server = Server(config)

    def run(self, begun: Callable[[], Any]) -> None:
        """Serve until somebody asks to end; tell when it can be looked at."""
        asyncio.run(self._run(begun))

    def stop(self) -> None:
        """End; from any thread."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._end)

    async def _run(self, begun: Callable[[], Any]) -> None:
        self._loop = asyncio.get_running_loop()
        with suppress(NotImplementedError, RuntimeError, ValueError):  # not in the main thread, as in tests
            for number in (signal.SIGINT, signal.SIGTERM):
                self._loop.add_signal_handler(number, self._end)
        self.page.begin()
        begun()
        try:
            await self._server.serve([self._listener])
        finally:
            self.page.close()

    def _end(self) -> None:
        self.page.close()
        self._server.should_exit = True
