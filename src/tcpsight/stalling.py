"""Stalls of the largest services, from requests in order of arrival to findings."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from tcpsight.facts import address_text, isolating_filter
from tcpsight.model import KeyCounter
from tcpsight.model.bands import Band, BandSearch
from tcpsight.model.findings import Finding, Key
from tcpsight.model.grouping import Endpoint
from tcpsight.model.keys import ServiceSplit
from tcpsight.model.stalls import CHANCE, Stall, StallDetection
from tcpsight.model.turns import Turns
from tcpsight.output.spill import SortedSpill
from tcpsight.tables import SEVERITIES, Connections, Requests, Unanswered

if TYPE_CHECKING:
    from tcpsight.capture.tags import TagSurvey
    from tcpsight.pipeline import Batch
    from tcpsight.run import Run

MOST_SERVICES = 20
"""Services in which stalls are looked for: those with the most requests."""

MOST_BANDS = 5

MOST_STALLS = 5
"""Stalls of a service that are told one by one, those at which most was waited; others are added up."""

LONG_NS = 5_000_000_000
"""A stall as long as this is critical, as a window that is closed so long."""

NOTABLE = 10
"""A stall of fewer median response times is no more than worth knowing."""

EXAMPLES = 5

RULE = (
    "between two completions, requests waited longer, each and together, than chance lets happen once in a million "
    "requests, by the gaps and the response times around it; or several were released together, and by chance the one "
    "after the other would have been"
)

FilterOf = Callable[[Endpoint, Endpoint], str]
"""Writes what isolates the frames between a client and a server."""


class StallSearch:
    """Look for stalls in several services at once.

    Parameters
    ----------
    services : sequence of (bytes, int)
        Address and port of each.
    """

    def __init__(self, services: Sequence[tuple[bytes, int]]) -> None:
        self._detections = [StallDetection() for _ in services]
        self._turns = [Turns() for _ in services]
        self._bands = [BandSearch() for _ in services]
        self._spans = [[2**63 - 1, -(2**63)] for _ in services]
        self._versions = [4] * len(services)
        self._services = list(services)
        self._split = ServiceSplit(services)

    def feed(self, requests: Requests) -> None:
        """Take requests, answered or not, in order of arrival; unanswered ones may run ahead."""
        for i, own in self._split.split(requests):
            self._versions[i] = int(own.ip_version[0])
            self._detections[i].feed(own)
            if not isinstance(own, Unanswered):
                self._turns[i].add(own)
                self._bands[i].add(own)
                span = self._spans[i]
                span[:] = min(span[0], int(own.arrival_ns[0])), max(span[1], int(own.completion_ns.max()))

    def findings(self, end_ns: int, filter_of: FilterOf) -> list[Finding]:
        """Give what was found, when the capture ended at `end_ns`."""
        found: list[Finding] = []
        for i, (address, port) in enumerate(self._services):
            service = (address, port, self._versions[i])
            if self._turns[i].hold is False:
                # Who waits, and for how long, is not known either.
                found.append(_no_turns(service, self._turns[i], self._spans[i]))
            else:
                found += _findings(service, self._detections[i].finish(end_ns), filter_of)
                found += [_band(service, band) for band in self._bands[i].found()[:MOST_BANDS]]
        return found


class StallCollection:
    """Collect the requests of a run, then look for stalls in the services that have the most."""

    def __init__(self) -> None:
        self._counter = KeyCounter("service")
        self._requests = SortedSpill(Requests, ("arrival_ns",))
        self._unanswered = SortedSpill(Unanswered, ("arrival_ns",))
        self._filters = Filters()

    def add(self, batch: Batch) -> None:
        """Take what became final."""
        if len(batch.residents):
            self._counter.feed(batch.residents)
            self._requests.add(batch.residents)
        if len(batch.waiting):
            self._counter.feed(batch.waiting)
            self._unanswered.add(batch.waiting)
        self._filters.add(batch.connections)

    def findings(self, run: Run) -> list[Finding]:
        """Give what was found, when the run has ended; once."""
        search = StallSearch([(key.address, key.port) for key in self._counter.largest(MOST_SERVICES)])
        for rows in by_arrival(self._requests, self._unanswered):
            search.feed(rows)
        span = run.pipeline.span
        return search.findings(span[1], self._filters.of(run.tags)) if span is not None else []


class Filters:
    """Remember which services have connections in tunnels, to write filters that find their frames."""

    def __init__(self) -> None:
        self._tunnelled: set[tuple[bytes, int]] = set()

    def add(self, connections: Connections) -> None:
        """Take connections that ended."""
        if not len(connections) or not connections.encapsulation.any():
            return
        for row in connections.rows[connections.encapsulation != 0]:
            if len(self._tunnelled) < MOST_SERVICES**2:
                self._tunnelled.add((row["server_address"].tobytes(), int(row["server_port"])))

    def of(self, tags: TagSurvey) -> FilterOf:
        """Give what writes filters for this capture."""
        return lambda client, server: isolating_filter(client, server, tags, is_tunnelled=server[:2] in self._tunnelled)


def by_arrival(requests: SortedSpill[Requests], unanswered: SortedSpill[Unanswered]) -> Iterator[Requests]:
    """Give answered and unanswered requests, each in order of arrival; unanswered ones are never behind."""
    waiting = unanswered.sorted()
    next_waiting = next(waiting, None)
    for rows in requests.sorted():
        while next_waiting is not None and next_waiting.arrival_ns[0] <= rows.arrival_ns[-1]:
            yield next_waiting
            next_waiting = next(waiting, None)
        yield rows
    while next_waiting is not None:
        yield next_waiting
        next_waiting = next(waiting, None)


def _no_turns(service: Endpoint, turns: Turns, span: list[int]) -> Finding:
    numbers = {
        "requests": turns.requests,
        "overlapped": turns.overlapped,
        "overlapped_fraction": round(turns.overlapped / turns.requests, 4),
        "overlapped_fraction_low": round(turns.overlapped_low, 4),
        "in_parts": turns.in_parts,
        "trickling": turns.trickling,
    }
    return Finding(
        Key("no_turns", -1, *service),
        "info",
        confidence=0.95,
        start_ns=span[0],
        end_ns=span[1],
        connections=len(turns.connections),
        connection_id=min(turns.connections, default=-1),
        numbers=numbers,
        rule="of the requests, 5 % or more (the lower end of the 95 % interval) were sent while an answer was going on",
        examples=sorted(turns.connections)[:EXAMPLES],
    )


def _band(service: Endpoint, band: Band) -> Finding:
    numbers = {
        "low_ns": band.low_ns,
        "high_ns": band.high_ns,
        "requests": band.requests,
        "expected": round(band.expected, 2),
        "stretches": band.stretches,
        "log10_chance": round(-min(band.surprise, 1e6) / math.log(10), 1),
    }
    return Finding(
        Key("slow_band", -1, *service),
        "info",
        confidence=0.95,
        start_ns=band.first_ns,
        end_ns=band.last_ns,
        connections=1,
        connection_id=band.connection_id,
        numbers=numbers,
        rule="eight times as many requests as next to it, and than chance lets be once in a million, in 5 stretches of "
        "256 or more took the same time within 14 %, four medians or more",
        examples=[band.connection_id],
    )


def _findings(service: Endpoint, stalls: list[Stall], filter_of: FilterOf) -> Iterable[Finding]:
    ranked = sorted(stalls, key=lambda stall: (stall.is_over, -stall.waited_ns, stall.start_ns))
    for stall in ranked[:MOST_STALLS]:
        yield _finding(service, stall, filter_of)
    rest = ranked[MOST_STALLS:]
    if rest:
        yield _others(service, rest)


def _finding(service: Endpoint, stall: Stall, filter_of: FilterOf) -> Finding:
    first = stall.blocker if stall.blocker is not None else stall.example
    numbers: dict[str, Any] = {
        "duration_ns": stall.duration_ns,
        "silent_ns": stall.silent_ns,
        "is_over": stall.is_over,
        "requests": stall.requests,
        "never_answered": stall.unanswered,
        "waited_ns": stall.waited_ns,
        "answered_meanwhile": stall.answered_meanwhile,
        "released_within_ns": max(stall.drained_ns - stall.end_ns, 0) if stall.is_over else None,
        "median_response_time_ns": stall.median_ns,
        "log10_chance": round(-min(stall.surprise, 1e6) / math.log(10), 1),
        "false_alarms_per_request": CHANCE,
        "blocker": _blocker(service, stall.blocker, filter_of) if stall.blocker is not None else None,
    }
    return Finding(
        Key(stall.kind, -1, *service),
        _severity(stall),
        confidence=0.99 if stall.surprise > 20 else 0.95,
        start_ns=stall.start_ns,
        end_ns=stall.end_ns,
        connections=stall.connections,
        connection_id=int(first["connection_id"]),
        numbers=numbers,
        rule=RULE,
        examples=stall.examples[:EXAMPLES],
    )


def _severity(stall: Stall) -> str:
    if not stall.is_over or stall.duration_ns >= LONG_NS:
        return "critical"
    return "warning" if stall.duration_ns >= NOTABLE * stall.median_ns else "info"


def _blocker(service: Endpoint, row: Any, filter_of: FilterOf) -> dict[str, Any]:
    client = (row["client_address"].tobytes(), int(row["client_port"]), service[2])
    return {
        "connection_id": int(row["connection_id"]),
        "request_index": int(row["request_index"]),
        "client_address": address_text(client[0], client[2]),
        "client_port": client[1],
        "arrival_ns": int(row["arrival_ns"]),
        "response_time_ns": int(row["end_ns"] - row["arrival_ns"]),
        "filter": filter_of(client, service),
    }


def _others(service: Endpoint, stalls: list[Stall]) -> Finding:
    """Add up the stalls that are not told one by one; the worst lends its connection."""
    numbers = {
        "stalls": len(stalls),
        "longest_ns": max(stall.duration_ns for stall in stalls),
        "requests": sum(stall.requests for stall in stalls),
        "waited_ns": sum(stall.waited_ns for stall in stalls),
        "false_alarms_per_request": CHANCE,
    }
    return Finding(
        Key("stall", -1, *service),
        max(map(_severity, stalls), key=SEVERITIES.index),
        confidence=0.95,
        start_ns=min(stall.start_ns for stall in stalls),
        end_ns=max(stall.end_ns for stall in stalls),
        connections=sum(stall.connections for stall in stalls),
        connection_id=stalls[0].examples[0],
        numbers=numbers,
        rule=RULE,
        examples=stalls[0].examples[:EXAMPLES],
    )
