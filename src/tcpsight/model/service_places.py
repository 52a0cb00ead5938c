"""Which services have rows of their own while time goes on.

Theory of operation
-------------------
Services get rows of their own in the order in which they first have a request, and keep their place. Beyond
`most_services` newcomers are counted with the others, unless one has to make room: of those that never answered, else
of all, the one whose last request is longest ago; at once if it never answered and the newcomer did, so that noise
takes no place from a service, else after `IDLE_NS`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tcpsight.model._kernel import classify
from tcpsight.model.grouping import Endpoint, endpoint_groups
from tcpsight.model.keys import IntervalKey
from tcpsight.tables import Requests, Unanswered

MOST_SERVICES = 100
"""How many services have rows of their own."""

IDLE_NS = 3_600_000_000_000
"""A service without requests for so long gives up its place where another one needs it."""

Codes = np.ndarray[Any, np.dtype[np.int32]]


class ServicePlaces:
    """Which services have rows of their own, in a bounded number of places.

    Attributes
    ----------
    endpoints : list of Endpoint
        By place.
    """

    def __init__(self, most: int = MOST_SERVICES) -> None:
        self.endpoints: list[Endpoint] = []
        self._most = most
        self._places: dict[Endpoint, int] = {}
        self._last_ns = np.zeros(most, np.int64)
        self._has_answered = np.zeros(most, np.bool_)
        self._addresses = np.zeros((most, 16), np.uint8)
        self._ports = np.zeros(most, np.int32)

    def __len__(self) -> int:
        return len(self.endpoints)

    def admit(self, answered: Requests, unanswered: Unanswered) -> None:
        """Give places to the services of these requests, in the order in which they ended, while there are some.

        However requests are cut into batches, services get the same places: one after the other, where any may change.
        """
        codes = np.concatenate([self.codes(answered), self.codes(unanswered)])
        arrivals = np.concatenate([answered.arrival_ns, unanswered.arrival_ns])
        has_answered = np.arange(len(codes)) < len(answered)
        is_known = codes < len(self.endpoints)
        # Noise has as many services as requests, and gets no place.
        may_change = not is_known.all() and (
            self._place_for(int(arrivals.max()), has_answered=bool(has_answered[~is_known].any())) >= 0
        )
        if not may_change:
            np.maximum.at(self._last_ns, codes[is_known], arrivals[is_known])
            self._has_answered[codes[is_known & has_answered]] = True
            return
        endpoints: list[Endpoint] = []
        groups = np.empty(len(codes), np.int64)
        for rows, first in ((answered, 0), (unanswered, len(answered))):
            found = endpoint_groups(rows, "server_address", "server_port") if len(rows) else None
            if found is not None:
                groups[first + found.order] = np.repeat(np.arange(len(found.counts)) + len(endpoints), found.counts)
                endpoints += found.endpoints
        order = np.argsort(np.concatenate([answered.completion_ns, unanswered.end_ns]), kind="stable")
        for group, arrival_ns, is_answer in zip(
            groups[order].tolist(), arrivals[order].tolist(), has_answered[order].tolist(), strict=True
        ):
            self._admit(endpoints[group], arrival_ns, has_answered=is_answer)

    def _admit(self, endpoint: Endpoint, arrival_ns: int, *, has_answered: bool) -> None:
        """Note one request, and give its service a place if it can have one."""
        place = self._places.get(endpoint, -1)
        if place < 0:
            place = self._place_for(arrival_ns, has_answered=has_answered)
            if place < 0:
                return
            self._settle(endpoint, place)
            self._last_ns[place], self._has_answered[place] = arrival_ns, has_answered
        elif arrival_ns > self._last_ns[place]:
            self._last_ns[place] = arrival_ns
        if has_answered:
            self._has_answered[place] = True

    def codes(self, rows: Any) -> Codes:
        """Tell the place of each row's service, shape (n,); the number of places where it has none."""
        n = len(self.endpoints)
        codes = np.empty(len(rows), np.int32)
        if isinstance(rows, Requests):
            addresses, ports = self._addresses[:n], self._ports[:n]
            classify(rows.packed(), rows.dtype.itemsize, addresses, ports, codes, is_client=False)
            return codes
        codes[:] = n
        if len(rows):
            groups = endpoint_groups(rows, "server_address", "server_port")
            for endpoint, start, count in zip(groups.endpoints, groups.starts, groups.counts, strict=True):
                codes[groups.order[start : start + count]] = self._places.get(endpoint, n)
        return codes

    def keys(self) -> list[IntervalKey]:
        """Name the services as `KeyedIntervalSeries` does."""
        return [IntervalKey(address, port) for address, port, _ in self.endpoints]

    def _place_for(self, arrival_ns: int, *, has_answered: bool) -> int:
        """Find a place for a newcomer, a free one or that of who has to make room; −1 if there is none."""
        if len(self.endpoints) < self._most:
            return len(self.endpoints)
        never = np.flatnonzero(~self._has_answered)
        place = int(never[np.argmin(self._last_ns[never])] if len(never) else np.argmin(self._last_ns))
        is_free = (has_answered and len(never) > 0) or arrival_ns - int(self._last_ns[place]) > IDLE_NS
        return place if is_free else -1

    def _settle(self, endpoint: Endpoint, place: int) -> None:
        if place < len(self.endpoints):
            del self._places[self.endpoints[place]]
            self.endpoints[place] = endpoint
        else:
            self.endpoints.append(endpoint)
        self._places[endpoint] = place
        self._addresses[place] = np.frombuffer(endpoint[0], np.uint8)
        self._ports[place] = endpoint[1]
