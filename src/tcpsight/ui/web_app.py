"""What the page asks for: itself, what changes, and what is behind a service.

Theory of operation
-------------------
There are four addresses, in a table; no part of one is ever a path on a disk. ``/events`` stays open: it sends what is
new on the board, and then waits until more is. A visitor is sent the state as it is by then, not every state there
was, and nothing is kept for those who are slow. So the board, and the capture behind it, waits for nobody.

What it cannot see: slices that the board has forgotten by the time a visitor looks.
"""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from dataclasses import asdict, astuple, fields
from functools import cached_property
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from tcpsight.facts import finding_facts
from tcpsight.output.page import html_page, page_policy
from tcpsight.ui.board import Board, ServiceRow, Snapshot, Told
from tcpsight.ui.details import connections_of, requests_of, requests_on

SCRIPTS = ("live_tables.js", "live_details.js", "live.js")
STYLES = ("live.css",)

MOST_VISITORS = 32
"""So many may have the page open at a time."""

REST_S = 0.2
"""Between two messages to one visitor."""

SILENCE_S = 15.0
"""After so long without news a line says that all is well, so that a visitor who has gone is noticed."""

ROW = tuple(each.name for each in fields(ServiceRow) if each.name not in ("address", "port"))


class LivePage:
    """The page of a board.

    Parameters
    ----------
    board : Board
        What is shown.
    """

    def __init__(self, board: Board) -> None:
        self._board = board
        self._loop: asyncio.AbstractEventLoop | None = None
        self._news = asyncio.Event()
        self._visitors = 0
        self._is_closing = False
        title = f"{board.snapshot().source} – tcpsight"
        self._page = html_page(title, SCRIPTS, {"row": ROW}, STYLES, connects=True).encode()
        self.policy = f"{page_policy(SCRIPTS, connects=True)}; frame-ancestors 'none'"
        self.app = Starlette(
            routes=[
                Route("/", self._itself),
                Route("/events", self._events),
                Route("/connections", self._connections),
                Route("/requests", self._requests),
            ]
        )
        self.app.router.redirect_slashes = False

    @cached_property
    def _packed(self) -> bytes:
        return gzip.compress(self._page, mtime=0)

    def begin(self) -> None:
        """Be told by the board from now on, in the loop that runs."""
        self._loop = asyncio.get_running_loop()
        self._board.on_change(self._tell)

    def close(self) -> None:
        """Let everybody go; in the loop."""
        self._board.on_change(None)
        self._is_closing = True
        self._ring()

    # -------------------------------------------------------------------------------------------------- news

    def _tell(self) -> None:
        """Wake the loop; called by the thread that captures, which waits for nothing."""
        assert self._loop is not None
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._ring)

    def _ring(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def _events(self, request: Request) -> Response:
        if self._visitors >= MOST_VISITORS:
            return PlainTextResponse("too many look at this page already", 503, {"Retry-After": "10"})
        after = request.headers.get("last-event-id", "")
        return StreamingResponse(
            self._told(int(after) if after.isascii() and after.isdigit() and len(after) < 16 else 0),
            media_type="text/event-stream",
        )

    async def _told(self, number: int) -> AsyncIterator[str]:
        """Tell one visitor what is new, again and again."""
        self._visitors += 1
        version, findings = -1, None
        try:
            while not self._is_closing:
                news = self._news
                snapshot = self._board.snapshot()
                if snapshot.version != version:
                    # A visitor who comes back after this program began anew has seen slices that are none of ours.
                    newest = snapshot.told[-1].number if snapshot.told else 0
                    number = number if number <= newest else 0
                    has_found = snapshot.findings is not findings
                    yield f"id: {newest}\ndata: {message(snapshot, number, has_found=has_found)}\n\n"
                    version, findings, number = snapshot.version, snapshot.findings, newest
                    await asyncio.sleep(REST_S)
                    continue
                try:
                    await asyncio.wait_for(news.wait(), SILENCE_S)
                except TimeoutError:
                    yield ":\n\n"
        finally:
            self._visitors -= 1

    # -------------------------------------------------------------------------------------------------- answers

    async def _itself(self, request: Request) -> Response:
        if "gzip" in request.headers.get("accept-encoding", ""):
            return Response(self._packed, media_type="text/html", headers={"Content-Encoding": "gzip"})
        return Response(self._page, media_type="text/html")

    async def _connections(self, request: Request) -> Response:
        rows, found = connections_of(self._board.snapshot(), request.query_params.get("service", ""))
        return JSONResponse({"found": found, "rows": [asdict(row) for row in rows]})

    async def _requests(self, request: Request) -> Response:
        snapshot, asked = self._board.snapshot(), request.query_params
        if "connection" in asked:
            number = asked["connection"]
            if not (number.isascii() and number.isdigit() and len(number) < 19):
                return PlainTextResponse("no such connection", 404)
            rows = requests_on(snapshot, int(number))
        else:
            rows = requests_of(snapshot, asked.get("service", ""), slowest=asked.get("by") != "latest")
        return JSONResponse({"rows": [asdict(row) for row in rows]})


def message(snapshot: Snapshot, after: int, *, has_found: bool) -> str:
    """Write what is new since a slice, as JSON in one line."""
    told: dict[str, Any] = {
        "source": snapshot.source,
        "frames": snapshot.frames,
        "drops": snapshot.drops,
        "open_connections": snapshot.open_connections,
        "is_over": snapshot.is_over,
        "trouble": snapshot.trouble,
        "notices": snapshot.notices,
        "slices": [_slice(each) for each in snapshot.told if each.number > after],
    }
    if has_found:
        told["findings"] = [finding_facts(each.rows[0]) for each in reversed(snapshot.findings)]
    return json.dumps(told, separators=(",", ":"), allow_nan=False)


def _slice(told: Told) -> dict[str, Any]:
    return {
        "number": told.number,
        "start_ns": told.start_ns,
        "end_ns": told.end_ns,
        "frames_per_s": told.frames_per_s,
        "total": _row(told.total),
        "services": [_row(each) for each in told.services],
    }


def _row(row: ServiceRow) -> list[Any]:
    """Give the values of `ROW`."""
    return [value for name, value in zip(row.__slots__, astuple(row), strict=True) if name not in ("address", "port")]
