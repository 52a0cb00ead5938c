"""Which services take no turns, by their first requests: enough to warn where times are told row by row.

A report looks at all requests; who only writes rows must not pay for that. So the first `MOST_REQUESTS` of a run are
looked at, each service by its own. What it cannot see: a service that speaks later than that, or takes turns at first.
"""

from __future__ import annotations

from tcpsight.model.grouping import Endpoint, by_endpoint
from tcpsight.model.turns import Turns
from tcpsight.tables import Requests

MOST_REQUESTS = 20_000


class TurnSample:
    """Look at how sides take turns in the first requests of a run.

    Feed answered requests in the order in which they became final.

    Attributes
    ----------
    turns : dict of Endpoint to Turns
        By server.
    """

    def __init__(self) -> None:
        self.turns: dict[Endpoint, Turns] = {}
        self._left = MOST_REQUESTS

    def feed(self, requests: Requests) -> None:
        """Take the next ones."""
        if not self._left or not len(requests):
            return
        rows = requests[: self._left]
        self._left -= len(rows)
        for server, own in by_endpoint(rows, "server_address", "server_port"):
            self.turns.setdefault(server, Turns()).add(own)

    @property
    def reasons(self) -> list[tuple[Endpoint, str]]:
        """The services whose sides take none, and why that is believed."""
        return [(server, turns.reason) for server, turns in self.turns.items() if turns.reason is not None]
