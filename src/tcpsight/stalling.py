"""Stalls of the largest services, from requests in order of arrival to findings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from tcpsight.facts import isolating_filter
from tcpsight.model import KeyCounter
from tcpsight.model.bands import BandSearch
from tcpsight.model.clock_leaps import ClockLeaps
from tcpsight.model.count_scales import CountScales
from tcpsight.model.findings import Finding
from tcpsight.model.keys import ServiceSplit
from tcpsight.model.lasting import Lasting, lasting_slowdown
from tcpsight.model.muteness import Muteness
from tcpsight.model.silences import Silences
from tcpsight.model.slowdowns import Slowdown, slowdowns_in
from tcpsight.model.stall_list import Stall, StallLists
from tcpsight.model.stalls import StallDetection
from tcpsight.model.turns import Turns
from tcpsight.output.spill import SortedSpill
from tcpsight.stall_findings import (
    FilterOf,
    Usual,
    band_finding,
    lasting_finding,
    no_answers_finding,
    no_turns_finding,
    slowdown_findings,
    stall_findings,
    unheard_ns,
)
from tcpsight.tables import Connections, Requests, Unanswered

if TYPE_CHECKING:
    from tcpsight.capture.tags import TagSurvey
    from tcpsight.pipeline import Batch
    from tcpsight.run import Run
    from tcpsight.selection import Selection

Rows = TypeVar("Rows", bound=Requests)

MOST_SERVICES = 20
"""Services in which stalls are looked for: those with the most requests."""

MOST_BANDS = 5

MOST_LEAPT = 0.9
"""A stall of which the clock leapt over so much is none."""

LEAST_DOUBTED = 3
"""Of fewer requests a doubt is told with their numbers, but is nothing to look for."""


class StallSearch:
    """Look for stalls in several services at once.

    Parameters
    ----------
    services : sequence of (bytes, int)
        Address and port of each.
    selection : Selection, optional
        Of a part of the time: what is usual, what is a stall, and whether sides take turns is told by all requests;
        findings are those that overlap it, and all numbers but theirs are of the requests that were there in it.
    silences : Silences, optional
        Times of the whole capture in which nothing was captured: stalls in these are doubted.
    leaps : ClockLeaps, optional
        Times over which its clock was set forward: what seems to wait for one of them did not.
    """

    def __init__(
        self,
        services: Sequence[tuple[bytes, int]],
        selection: Selection | None = None,
        silences: Silences | None = None,
        leaps: ClockLeaps | None = None,
    ) -> None:
        self._part = selection if selection is not None and selection.is_part else None
        # Nothing here is part of a cycle: what is searched again and again must be let go of at once.
        self._overlaps = partial(_overlaps, self._part)
        unheard = partial(unheard_ns, silences or Silences())
        self._leaps = leaps or ClockLeaps()
        is_wanted = partial(_is_wanted, self._part, self._leaps)
        self._detections = [StallDetection(StallLists(is_wanted, unheard)) for _ in services]
        self._turns = [Turns() for _ in services]
        self._bands = [BandSearch() for _ in services]
        self._mute = [Muteness() for _ in services]
        self._counts = [CountScales() for _ in services]
        self._own_counts = [CountScales() for _ in services] if self._part else self._counts
        self._usual = [Usual((*service, 4)) for service in services]
        self._services = list(services)
        self._split = ServiceSplit(services)

    def feed(self, requests: Requests) -> None:
        """Take requests, answered or not, in order of arrival; unanswered ones may run ahead."""
        for i, every in self._split.split(requests):
            self._detections[i].feed(every)
            self._mute[i].add(every)
            if not isinstance(every, Unanswered):
                self._counts[i].add(every)
                self._turns[i].add(every)
            own = every if self._part is None else residents(every, self._part)
            if not len(own):
                continue
            self._usual[i].add(own)
            if not isinstance(own, Unanswered):
                self._bands[i].add(own)
                if self._part is not None:
                    self._own_counts[i].add(own)

    def counts_of(self, service: tuple[bytes, int]) -> CountScales | None:
        """Give the requests of a service by slices of time, if it is one of those that are searched."""
        return self._own_counts[self._services.index(service)] if service in self._services else None

    def findings(self, end_ns: int, filter_of: FilterOf) -> list[Finding]:
        """Give what was found, when the capture ended at `end_ns`."""
        found: list[Finding] = []
        for i, usual in enumerate(self._usual):
            turns, detection = self._turns[i], self._detections[i]
            if turns.hold is False:
                # Who waits, and for how long, is not known either.
                found += [no_turns_finding(usual, turns)] if usual.requests else []
                continue
            if turns.doubt is not None and turns.requests >= LEAST_DOUBTED and usual.requests:
                found.append(no_turns_finding(usual, turns))
            if self._mute[i].is_mute and usual.requests:
                found.append(no_answers_finding(usual, self._mute[i]))
            detection.finish(end_ns)
            lists = detection.lists
            every = sorted((stall.start_ns, stall.drained_ns) for stall in lists)
            slowdowns = [each for each in slowdowns_in(self._counts[i], every) if self._overlaps(each)]
            found += stall_findings(usual, lists, detection.left_out, filter_of)
            found += slowdown_findings(usual, slowdowns)
            lasting = lasting_slowdown(self._counts[i], self._leaps.within)
            told = [*every, *((each.start_ns, each.end_ns) for each in slowdowns)]
            if lasting is not None and self._overlaps(lasting) and not lasting.is_told_by(told):
                found.append(lasting_finding(usual, lasting))
            found += [band_finding(usual.service, band) for band in self._bands[i].found()[:MOST_BANDS]]
        return found


def _overlaps(part: Selection | None, each: Stall | Slowdown | Lasting) -> bool:
    """Tell whether one was in the part of the time that is asked for."""
    instants = (np.array([instant], np.int64) for instant in (each.start_ns, each.end_ns))
    return part is None or bool(part.of_time(*instants)[0])


def _is_wanted(part: Selection | None, leaps: ClockLeaps, stall: Stall) -> bool:
    """Tell whether one is a stall of the part of the time that is asked for, and not of the clock."""
    leapt_ns = leaps.within(stall.start_ns, stall.end_ns)
    return leapt_ns < MOST_LEAPT * stall.duration_ns and _overlaps(part, stall)


def residents(rows: Rows, selection: Selection) -> Rows:
    """Give those of requests, answered or not, that were there in the part of the time that is asked for."""
    ends = rows.rows["end_ns"] if isinstance(rows, Unanswered) else rows.completion_ns
    return rows[selection.of_time(rows.arrival_ns, np.maximum(rows.arrival_ns, ends))]


class SearchedServices:
    """Choose the services in which stalls are looked for, whoever looks: those with the most requests.

    Requests that were never answered count, and so do those that began before what was selected, if they were there.
    """

    def __init__(self) -> None:
        self._counter = KeyCounter("service")

    def add(self, batch: Batch) -> None:
        """Take what became final."""
        for rows in (batch.residents, batch.waiting):
            if len(rows):
                self._counter.feed(rows)

    def search(self, selection: Selection | None, silences: Silences, leaps: ClockLeaps) -> StallSearch:
        """Give what looks for them, when the run has ended."""
        services = [(key.address, key.port) for key in self._counter.largest(MOST_SERVICES)]
        return StallSearch(services, selection, silences, leaps)


class StallCollection:
    """Collect the requests of a run, then look for stalls in the services that have the most."""

    def __init__(self) -> None:
        self._services = SearchedServices()
        self._requests = SortedSpill(Requests, ("arrival_ns",))
        self._unanswered = SortedSpill(Unanswered, ("arrival_ns",))
        self._filters = Filters()

    def add(self, batch: Batch) -> None:
        """Take what became final."""
        self._services.add(batch)
        if len(batch.served):
            self._requests.add(batch.served)
        if len(batch.unserved):
            self._unanswered.add(batch.unserved)
        self._filters.add(batch.connections)

    def findings(self, run: Run) -> list[Finding]:
        """Give what was found, when the run has ended; once."""
        pipeline = run.pipeline
        search = self._services.search(pipeline.options.selection, pipeline.silences, pipeline.clock_leaps)
        for rows in by_arrival(self._requests, self._unanswered):
            search.feed(rows)
        # What waits at the end of a part may be answered after it.
        end_ns = pipeline.last_ns
        return search.findings(end_ns, self._filters.of(run.tags)) if end_ns is not None else []


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
