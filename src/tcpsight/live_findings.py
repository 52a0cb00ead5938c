"""Findings while time goes on: the conditions that a whole capture is searched for, looked for again and again.

Theory of operation
-------------------
Again and again (`LOOK_NS`), when a slice is told, what is known is searched by the rules of `findings`: the
requests of the last `WINDOW_NS`, with those that wait now, for stalls and their like; connections that ended since the
look before, and all that are open, by what the network did to them so far. Each look begins anew, so memory is bounded
by the window and by `MOST_REQUESTS`, and a finding is what a capture that ended now would give.

What was told is not told again: a stall when it is seen first and once more when it is over, other conditions once in
`SILENCE_NS` for a service and direction, or when they get worse.

What it cannot see: what takes longer than the window to show, and connections that opened and ended between two looks
while more than `MOST_CONNECTIONS` others did.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tcpsight.findings import FindingTable, written
from tcpsight.model.findings import Finding, Key
from tcpsight.model.silences import Silences
from tcpsight.stalling import Filters, StallSearch
from tcpsight.tables import (
    MOMENTARY_FINDINGS,
    SEVERITIES,
    Connections,
    Findings,
    Network,
    Requests,
    Unanswered,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tcpsight.capture.tags import TagSurvey
    from tcpsight.model.service_places import ServicePlaces
    from tcpsight.pipeline import Batch, Pipeline

LOOK_NS = 1_000_000_000
SERVICE_REST_NS = 1_500_000_000
REQUEST_REST_NS = 400_000
CONNECTION_REST_NS = 1_100_000
"""How often is looked: not sooner than this after the last look, and this much later for each service, request and
connection that was looked at. A look takes 5 to 20 ms for a service, 1 to 2 µs for a request and 5 to 8 µs for a
connection, so looking takes 1 % of a core at most, and half of that where most is requests."""

MOST_REST_NS = 30_000_000_000
"""But sooner than this: in a flood of connections, or of random frames, that takes up to 2 % of a core."""

SAME_NS = 5_000_000_000
"""Stalls of a service that begin no further apart than this may be one, of which more is known by now."""

WINDOW_NS = 120_000_000_000
"""How far back requests are looked at: their habits are the baseline."""

MOST_REQUESTS = 50_000
"""Requests that are looked at; with more, the window is shorter."""

BLOCK_ROWS = 1024
"""Connections are judged in blocks of so many: memory for them stays."""

FED_ROWS = 16_384
"""Requests are searched in parts, so that no more is copied at a time."""

MOST_CONNECTIONS = 20_000
"""Ended connections that are looked at at a time, and open ones."""

SILENCE_NS = 600_000_000_000
"""What goes on is told again after so long."""

MOST_SEARCHED = 20
"""Services in which stalls are looked for, those with the most requests."""

MOST_TOLD = 10_000
"""Findings that are remembered as told."""


class Told(NamedTuple):
    """What has to be known of a finding that was told; the finding itself may hold on to requests."""

    rank: int
    was_going_on: bool
    at_ns: int


class LiveFindings:
    """Look for findings in what happened lately.

    Parameters
    ----------
    pipeline : Pipeline
        What batches come from; where it measures the network, that is looked at, too.
    places : ServicePlaces
        The services that have rows of their own.
    tags : TagSurvey
        What was seen between link headers and IP, for filters.
    """

    def __init__(self, pipeline: Pipeline, places: ServicePlaces, tags: TagSurvey) -> None:
        self._pipeline = pipeline
        self._places = places
        self._tags = tags
        self._filters = Filters()
        self._answered: deque[Requests] = deque()
        self._answered_count = 0
        self._unanswered: deque[Unanswered] = deque()
        # What ended since the last look is judged block by block: few rows are kept.
        self._conditions = FindingTable(block_rows=BLOCK_ROWS)
        self._ended_count = self._policed_count = 0
        self._due_ns: int | None = None
        self._told: dict[tuple[Key, int], Told] = {}

    def add(self, batch: Batch) -> None:
        """Keep what became final; requests are kept as they are, all other rows copied."""
        if len(batch.requests):
            self._answered.append(batch.requests)
            self._answered_count += len(batch.requests)
            self._drop_oldest()
        if len(batch.unanswered):
            self._unanswered.append(batch.unanswered)
            while sum(map(len, self._unanswered)) > MOST_REQUESTS:
                self._unanswered.popleft()
        if len(batch.connections):
            self._filters.add(batch.connections)
            rows = batch.connections[: MOST_CONNECTIONS - self._ended_count]
            self._conditions.add_ended(rows, batch.network[: 2 * len(rows)])
            self._ended_count += len(rows)
        if self._policed_count < MOST_CONNECTIONS:
            self._conditions.add_policed(batch.policed)
            self._policed_count += len(batch.policed)

    def begin_anew(self) -> None:
        """Forget what was before: the clock was set back."""
        self._answered.clear()
        self._answered_count = 0
        self._unanswered.clear()
        self._told.clear()
        self._due_ns = None

    def look(self, now_ns: int, *, is_last: bool = False, unheard: tuple[int, int] | None = None) -> Findings:
        """Give what is new, the worst first; nothing between looks.

        Stalls in the time `unheard`, in which nothing was captured and perhaps nobody captured any more, are doubted.
        """
        if self._due_ns is None:
            self._due_ns = now_ns + LOOK_NS
        if now_ns < self._due_ns and not is_last:
            return Findings()
        self._forget(now_ns - WINDOW_NS)
        looked_at = self._ended_count + min(self._pipeline.open_count, MOST_CONNECTIONS)
        rest_ns = REQUEST_REST_NS * self._answered_count + CONNECTION_REST_NS * looked_at
        rest_ns += SERVICE_REST_NS * min(len(self._places), MOST_SEARCHED)
        self._due_ns = now_ns + min(LOOK_NS + rest_ns, MOST_REST_NS)
        conditions = self._conditions
        self._ended_count = self._policed_count = 0
        for connections, network in self._open(now_ns):
            conditions.add_ended(connections, network)
        found = conditions.found(self._stalls(now_ns, unheard), now_ns=now_ns)
        self._conditions = FindingTable(block_rows=BLOCK_ROWS, has_data=conditions.has_data)
        return written([finding for finding in found if self._is_news(finding, now_ns)])

    # -------------------------------------------------------------------------------------------------- parts

    def _open(self, now_ns: int) -> Iterator[tuple[Connections, Network]]:
        """Give the open connections that spoke last, with their two rows of Network each, part by part."""
        open_now = self._pipeline.open_connections(now_ns)
        if len(open_now) > MOST_CONNECTIONS:
            open_now = open_now[np.argsort(-open_now.end_ns, kind="stable")[:MOST_CONNECTIONS]]
        return self._pipeline.open_network(open_now)

    def _stalls(self, now_ns: int, unheard: tuple[int, int] | None) -> list[Finding]:
        silences = Silences()
        silences.keep([] if unheard is None else [unheard])
        waiting = self._pipeline.waiting(now_ns)
        answered = Requests.concatenate(list(self._answered))
        unanswered = Unanswered.concatenate([*self._unanswered, waiting])
        search = StallSearch(self._searched(answered, unanswered), None, silences, self._pipeline.clock_leaps)
        for table in (unanswered, answered):
            order = np.argsort(table.arrival_ns, kind="stable")
            for at in range(0, len(order), FED_ROWS):
                search.feed(table[order[at : at + FED_ROWS]])
        return search.findings(now_ns, self._filters.of(self._tags))

    def _searched(self, *tables: Requests) -> Sequence[tuple[bytes, int]]:
        """Choose the services with the most requests in the window."""
        counts = sum(np.bincount(self._places.codes(rows), minlength=len(self._places) + 1)[:-1] for rows in tables)
        largest = np.argsort(-np.asarray(counts), kind="stable")[:MOST_SEARCHED]
        return [self._places.endpoints[i][:2] for i in largest.tolist()]

    def _forget(self, since_ns: int) -> None:
        """Let go of requests that ended before the window."""
        answered, unanswered = self._answered, self._unanswered
        while answered and int(answered[0].completion_ns.max()) < since_ns:
            self._answered_count -= len(answered.popleft())
        while unanswered and int(unanswered[0].end_ns.max()) < since_ns:
            unanswered.popleft()

    def _drop_oldest(self) -> None:
        """Let go of the oldest requests where there are too many."""
        while self._answered_count > MOST_REQUESTS:
            self._answered_count -= len(self._answered.popleft())

    def _is_news(self, finding: Finding, now_ns: int) -> bool:
        """Tell whether a finding was not told yet, or is no longer what was told."""
        for mark in self._marks(finding):
            told = self._told.get(mark)
            if told is not None:
                is_over_now = told.was_going_on and finding.numbers.get("is_over") is not False
                if _rank(finding) <= told.rank and not is_over_now and now_ns - told.at_ns < SILENCE_NS:
                    return False
                break
        for mark in self._marks(finding):
            self._told[mark] = Told(_rank(finding), finding.numbers.get("is_over") is False, now_ns)
        while len(self._told) > MOST_TOLD:
            del self._told[next(iter(self._told))]
        return True

    def _marks(self, finding: Finding) -> list[tuple[Key, int]]:
        """Name what it is about: a stall by when it was, to a few seconds, because its edges move as more is known."""
        if finding.key.kind not in MOMENTARY_FINDINGS:
            return [(finding.key, 0)]
        key = finding.key._replace(kind=MOMENTARY_FINDINGS[0])
        second = finding.start_ns // SAME_NS
        return [(key, at) for at in (second, second - 1, second + 1)]


def _rank(finding: Finding) -> int:
    return SEVERITIES.index(finding.severity)
