"""Which services take no turns, by their first requests: enough to warn where times are told row by row.

A report looks at all requests; who only writes rows must not pay for that. So the first `MOST_REQUESTS` of a run are
looked at, each service by its own, and not before somebody asks. What it cannot see: a service that speaks later than
that, or takes turns at first.
"""

from __future__ import annotations

from tcpsight.model.grouping import Endpoint, by_endpoint
from tcpsight.model.turns import Turns
from tcpsight.tables import Requests

MOST_REQUESTS = 20_000


class TurnSample:
    """Look at how sides take turns in the first requests of a run.

    Feed answered requests in the order in which they became final.
    """

    def __init__(self) -> None:
        self._first: list[Requests] = []
        self._left = MOST_REQUESTS

    def feed(self, requests: Requests) -> None:
        """Take the next ones; rows that are looked at are copied."""
        if self._left and len(requests):
            self._first.append(requests[: self._left].copy())
            self._left -= len(self._first[-1])

    @property
    def reasons(self) -> list[tuple[Endpoint, str]]:
        """The services whose sides take none, and why that is believed."""
        rows, reasons = Requests.concatenate(self._first), []
        for server, own in by_endpoint(rows, "server_address", "server_port") if len(rows) else ():
            turns = Turns()
            turns.add(own)
            if turns.reason is not None:
                reasons.append((server, turns.reason))
        return reasons
