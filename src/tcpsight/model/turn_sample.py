"""Which services take no turns, by their first requests: enough to warn where times are told row by row.

A report looks at all requests; who only writes rows must not pay for that. So the first `MOST_REQUESTS` of a run are
looked at, each service by its own. What it cannot see: a service that speaks later than that, or takes turns at first.
"""

from __future__ import annotations

from tcpsight.model.grouping import Endpoint, by_endpoint
from tcpsight.model.turns import Turns
from tcpsight.tables import Requests

MOST_REQUESTS = 20_000

BLOCK_ROWS = 2048
"""Requests that are looked at together: it costs much per call and little for each."""


class TurnSample:
    """Look at how sides take turns in the first requests of a run.

    Feed answered requests in the order in which they became final.
    """

    def __init__(self) -> None:
        self._turns: dict[Endpoint, Turns] = {}
        self._left = MOST_REQUESTS
        self._parts: list[Requests] = []
        self._held = 0

    def feed(self, requests: Requests) -> None:
        """Take the next ones; rows that are looked at are copied."""
        if not self._left or not len(requests):
            return
        part = requests[: self._left].copy()
        self._left -= len(part)
        self._held += len(part)
        self._parts.append(part)
        if self._held >= BLOCK_ROWS or not self._left:
            self._look()

    def _look(self) -> None:
        if not self._parts:
            return
        rows = type(self._parts[0]).concatenate(self._parts)  # they may have more columns than these
        self._parts, self._held = [], 0
        for server, own in by_endpoint(rows, "server_address", "server_port"):
            self._turns.setdefault(server, Turns()).add(own)

    def reasons(self) -> list[tuple[Endpoint, str]]:
        """Give the services whose sides take none, and why that is believed."""
        self._look()
        return [(server, turns.reason) for server, turns in self._turns.items() if turns.reason is not None]
