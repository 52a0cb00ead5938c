"""What the page of a report is drawn from beside its facts: series, cells of density, single requests, connections.

Theory of operation
-------------------
A page must open at once, however long the capture, so everything in it has a budget. Time is cut into slices twice: few
for the whole, many for a look into it. Requests are counted in cells of slice and response time, by completion and by
arrival (`tcpsight.model.density`); the slowest of each slice are given one by one, all of them where they are few. Of
connections the worst are listed (`tcpsight.model.worst`).

All times are nanoseconds after the first instant of the span; columns of integers are packed (`output.web_data`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tcpsight.facts import isolating_filter
from tcpsight.model.density import (
    BUCKET_EDGES_NS,
    PER_OCTAVE,
    Cells,
    Grid,
    ResponseTimeDensity,
    SlowestRequests,
    buckets_of,
)
from tcpsight.model.grouping import Endpoint
from tcpsight.model.in_flight import in_flight
from tcpsight.model.intervals import Codes
from tcpsight.model.keys import IntervalKey, KeyedIntervalSeries
from tcpsight.model.services import Service
from tcpsight.output.addresses import address_text, endpoint_text
from tcpsight.output.scalability_words import model_words
from tcpsight.output.web_data import packed, steps
from tcpsight.reporting import series_interval_ns
from tcpsight.scalability import ScalabilitySweeps
from tcpsight.tables import ENCAPSULATIONS, STATES, TIME_PARTS, Connections, KeyedIntervals, Requests, Unanswered

if TYPE_CHECKING:
    from tcpsight.capture.tags import TagSurvey

Facts = dict[str, Any]
Span = tuple[int, int]

COARSE_SLICES = 240
FINE_SLICES = 3000
"""Slices of a service at most, for the whole and for a look into it."""
ALL_FINE_SLICES = 6000
"""Fine slices of all services together at most."""
POINTS = 12_000
"""Requests that are given one by one, of all services together."""
UNANSWERED_POINTS = 1000
KEPT_PER_SLICE = 32
FITTED_SERVICES = 1
"""How many services get a scalability model here, those with the most requests: fitting one takes most of a second."""

MODEL_POINTS = 2000
"""Slices that the plot of a scalability model shows at most."""

_COUNTS = ("arrivals", "completions", "backlog", "unanswered", "unanswered_backlog")
_TIMES = ("response_time_p50_ns", "response_time_p95_ns", "response_time_p99_ns", "response_time_max_ns")
_NUMBERS = (
    "requests", "unanswered", "client_bytes", "server_bytes", "client_retransmissions", "server_retransmissions",
)  # fmt: skip
_PARTS = tuple(f"{part}_ns" for part in TIME_PARTS)


class Ends:
    """Give each pair of endpoints a number, and what finds its frames."""

    def __init__(self, tags: TagSurvey) -> None:
        self._tags = tags
        self._numbers: dict[tuple[Endpoint, Endpoint], int] = {}
        self.rows: list[tuple[str, str]] = []

    def number(self, client: Endpoint, server: Endpoint, *, is_tunnelled: bool) -> int:
        """Give the number of a pair: its place in `rows`, which hold the client and the filter."""
        pair = (client, server)
        if pair not in self._numbers:
            self._numbers[pair] = len(self.rows)
            found = isolating_filter(client, server, self._tags, is_tunnelled=is_tunnelled)
            self.rows.append((endpoint_text(*client), found))
        return self._numbers[pair]


class ServicePlots:
    """Collect, from requests in order of arrival, what the plots of services are drawn from.

    Parameters
    ----------
    services : sequence of (Endpoint, Service)
        The services, largest first.
    span : tuple of int
        First and last instant, in ns since the epoch.
    passed_ns : int
        How long the capture took, whatever its clock says.
    """

    def __init__(self, services: Sequence[tuple[Endpoint, Service]], span: Span, passed_ns: int) -> None:
        self._services = services
        self._span = span
        duration_ns = span[1] - span[0]
        fine_slices = max(min(FINE_SLICES, ALL_FINE_SLICES // max(len(services), 1)), COARSE_SLICES)
        keys = [IntervalKey(endpoint[0], endpoint[1]) for endpoint, _ in services]
        lengths = [series_interval_ns(duration_ns, most) for most in (COARSE_SLICES, fine_slices)]
        self._levels = [_Level(keys, length_ns, span) for length_ns in lengths]
        grid = Grid(lengths[-1], *span)
        self._completed = ResponseTimeDensity(grid, len(services))
        self._arrived = ResponseTimeDensity(grid, len(services))
        requests = sum(service.requests for _, service in services)
        self._slowest = SlowestRequests(grid, POINTS if requests <= POINTS else KEPT_PER_SLICE)
        self._waiting, self._in_flight = (
            SlowestRequests(Grid(max(duration_ns, 1), *span), UNANSWERED_POINTS) for _ in range(2)
        )
        self._grid = grid
        self._sweeps = ScalabilitySweeps(services[:FITTED_SERVICES], span, passed_ns)

    def feed(self, requests: Requests) -> None:
        """Take requests in order of arrival, answered ones or those that never were."""
        if isinstance(requests, Unanswered):
            self._feed_unanswered(requests)
        else:
            self._feed_answered(requests)

    def _feed_unanswered(self, unanswered: Unanswered) -> None:
        for level in self._levels:
            level.feed(Requests(), unanswered)
        series = self._services_of(self._levels[0].series.series_of(unanswered))
        longest_ns = np.array([*(service.response_times.max for _, service in self._services), -1], np.int64)
        is_in_flight = in_flight(unanswered, longest_ns[series])
        for points, own in ((self._waiting, ~is_in_flight), (self._in_flight, is_in_flight)):
            rows = unanswered[own]
            points.feed(series[own], rows.end_ns, rows.end_ns - rows.arrival_ns, _with_end(rows))

    def _feed_answered(self, requests: Requests) -> None:
        codes = self._levels[0].series.series_of(requests)
        for level in self._levels:
            level.feed(requests, codes=codes)
        series = self._services_of(codes)
        times_ns = requests.response_time_ns
        buckets = buckets_of(times_ns)
        self._completed.feed(series, requests.completion_ns, buckets)
        self._arrived.feed(series, requests.arrival_ns, buckets)
        self._slowest.feed(series, requests.completion_ns, times_ns, requests)
        self._sweeps.feed(requests)

    def _services_of(self, codes: Codes) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Tell the service of each request; −1: none of these."""
        return np.where(codes < len(self._services), codes, -1).astype(np.int64)

    def facts(self, ends: Ends) -> list[Facts]:
        """Give the plots of each service."""
        models = self._sweeps.facts()
        points_of, points = self._slowest.best(POINTS)
        waiting_of, waiting = self._waiting.best(UNANSWERED_POINTS)
        flying_of, flying = self._in_flight.best(UNANSWERED_POINTS)
        told = []
        for i, (endpoint, service) in enumerate(self._services):
            is_tunnelled = service.tunnelled_connections > 0
            own, never, flights = points[points_of == i], waiting[waiting_of == i], flying[flying_of == i]
            model = [each for each in models if _is_of(each, endpoint)]
            told.append(
                {
                    "levels": [level.facts(i, len(self._services), self._span[0]) for level in self._levels],
                    "completed": _cells(self._completed.cells(i)),
                    "arrived": _cells(self._arrived.cells(i)),
                    "grid": {
                        "origin_ns": self._grid.origin_ns - self._span[0],
                        "interval_ns": self._grid.interval_ns,
                        "slices": self._grid.slices,
                    },
                    "points": _points(own, endpoint, ends, self._span[0], is_tunnelled=is_tunnelled),
                    "never": _points(never, endpoint, ends, self._span[0], is_tunnelled=is_tunnelled),
                    "in_flight": _points(flights, endpoint, ends, self._span[0], is_tunnelled=is_tunnelled),
                    "scalability": _model(model[0], self._span[0]) if model else None,
                }
            )
        return told


class _Level:
    """The interval series of all services at one length of slice."""

    def __init__(self, keys: Sequence[IntervalKey], length_ns: int, span: Span) -> None:
        self.series = KeyedIntervalSeries("service", keys, length_ns, first_ns=span[0], last_ns=span[1])
        self._blocks: list[KeyedIntervals] = []
        self._rows: KeyedIntervals | None = None

    def feed(self, requests: Requests, unanswered: Unanswered | None = None, codes: Codes | None = None) -> None:
        self._blocks += [block.copy() for block in self.series.blocks(requests, unanswered, codes)]

    def facts(self, service: int, services: int, first_ns: int) -> Facts:
        if self._rows is None:
            self._blocks += [block.copy() for block in self.series.last_blocks()]
            self._rows = KeyedIntervals.concatenate(self._blocks)
        rows = self._rows[service :: services + 1]
        dispersion = rows.response_time_dispersion_ns
        return {
            "interval_ns": self.series.interval_ns,
            "start_ns": steps(rows.start_ns - first_ns),
            "length_ns": packed(rows.length_ns),
            "cut_short": np.flatnonzero(rows.stumps()).tolist(),
            **{name: packed(rows.rows[name]) for name in _COUNTS},
            # In thousandths: nobody sees more of a plot.
            "concurrency": packed(np.rint(1000 * np.nan_to_num(rows.concurrency))),
            "unanswered_concurrency": packed(np.rint(1000 * rows.unanswered_weighted_ns / rows.length_ns)),
            "utilization": packed(np.rint(1000 * np.nan_to_num(rows.utilization_fraction))),
            # One more than the value: 0 is unknown.
            **{name.removeprefix("response_time_"): packed(rows.rows[name] + 1) for name in _TIMES},
            "dispersion_ns": packed(np.rint(np.where(dispersion >= 0, dispersion, -1)) + 1),
        }


def _model(model: Facts, first_ns: int) -> Facts:
    """Give a model as the page takes it: what it says in words, and not too many points, by time after the first."""
    told = thinned(model)
    starts = told["data"]["start_ns"]
    relative = [start - first_ns for start in starts] if starts is not None else None
    return told | {"data": told["data"] | {"start_ns": relative}, "words": model_words(model)}


def thinned(model: Facts, most: int = MODEL_POINTS) -> Facts:
    """Give a model with no more than so many of its points, evenly through time, and those at the ends of both axes."""
    data = model["data"]
    count = len(data["concurrency"])
    if count <= most:
        return model
    every = -(-count // (most - 4))
    ends = [f(data[axis]) for axis in ("concurrency", "throughput_per_s") for f in (np.argmin, np.argmax)]
    kept = sorted({*range(0, count, every), *(int(end) for end in ends)})
    columns = {name: [values[i] for i in kept] if values is not None else None for name, values in data.items()}
    return model | {"data": columns | {"of": count}}


def _is_of(model: Facts, endpoint: Endpoint) -> bool:
    return (model["server_address"], model["server_port"]) == (address_text(endpoint[0], endpoint[2]), endpoint[1])


def _with_end(unanswered: Unanswered) -> Requests:
    """Give rows of never-answered requests as requests that completed when they stopped waiting."""
    requests = Requests.allocate(len(unanswered))
    for name in Requests.dtype.names or ():
        requests.rows[name] = unanswered.rows[name]
    requests.completion_ns[:] = unanswered.end_ns
    requests.response_time_ns[:] = unanswered.end_ns - unanswered.arrival_ns
    requests.response_bytes[:] = 0
    return requests


def _cells(cells: Cells) -> Facts:
    return {
        "cells": steps(cells.slice * len(BUCKET_EDGES_NS) + cells.bucket),
        "counts": packed(cells.count),
    }


def _points(requests: Requests, server: Endpoint, ends: Ends, first_ns: int, *, is_tunnelled: bool) -> Facts:
    """Give requests in order of completion."""
    rows = requests.rows[np.lexsort((requests.request_index, requests.connection_id, requests.completion_ns))]
    clients = ((row["client_address"].tobytes(), int(row["client_port"]), server[2]) for row in rows)
    return {
        "completion_ns": steps(rows["completion_ns"] - first_ns),
        "response_time_ns": packed(rows["response_time_ns"]),
        "end": [ends.number(client, server, is_tunnelled=is_tunnelled) for client in clients],
        **{name: packed(rows[name]) for name in ("connection_id", "request_index", "request_bytes", "response_bytes")},
    }


def grid_facts() -> Facts:
    """Give what cells mean: where buckets of response time begin."""
    return {"edges_ns": BUCKET_EDGES_NS.tolist(), "per_octave": PER_OCTAVE}


def connection_facts(rows: np.ndarray[Any, Any], seen: int, ends: Ends, first_ns: int) -> Facts:
    """Give connections for a table.

    Parameters
    ----------
    rows : ndarray
        What `WorstConnections.rows` gives.
    seen : int
        How many connections there were.
    ends : Ends
        Takes their endpoints.
    first_ns : int
        What instants are told after.
    """
    return {"seen": seen, "rows": [_connection(row, ends, first_ns) for row in rows]}


def _connection(row: Any, ends: Ends, first_ns: int) -> Facts:
    each = row["connection"]
    version = int(each["ip_version"])
    client, server = (
        (each[f"{side}_address"].tobytes(), int(each[f"{side}_port"]), version) for side in ("client", "server")
    )
    end = ends.number(client, server, is_tunnelled=ENCAPSULATIONS[each["encapsulation"]] != "none")
    return {
        "connection_id": int(each["connection_id"]),
        "end": end,
        "server": endpoint_text(*server),
        "state": STATES[each["state"]] if each["state"] < len(STATES) else None,
        "start_ns": int(each["start_ns"]) - first_ns,
        "duration_ns": int(each["duration_ns"]),
        **{name: _known(each[name]) for name in _NUMBERS},
        "rtt_p50_ns": _known(row["rtt_p50_ns"]),
        "zero_window_ns": _known(row["zero_window_ns"]),
        "limited_by": TIME_PARTS[each["limited_by"]] if each["limited_by"] < len(TIME_PARTS) else None,
        "parts_ns": [_known(each[name]) for name in _PARTS] if each["unknown_ns"] >= 0 else None,
    }


def _known(value: Any) -> int | None:
    return int(value) if value >= 0 else None


def connections_of(rows: np.ndarray[Any, Any]) -> Connections:
    """Give the connections among what `WorstConnections.rows` gives."""
    return Connections(rows["connection"])
