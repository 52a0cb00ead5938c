"""The requests of two compared captures: their instants at the server-side point, and the parts of their time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tcpsight.network.passing import SAME_PLACE_NS, FirstSeen
from tcpsight.tables import INT64_MIN, SPLITS, Requests, SplitRequests

if TYPE_CHECKING:
    from tcpsight.network.matching import Side
    from tcpsight.splitting import Comparison

Integers = np.ndarray[Any, np.dtype[np.int64]]

SPLIT, UNPAIRED, UNSEEN, CROSSED, CLOCK_STEP, REVERSED = range(len(SPLITS))

_COPIED = ("connection_id", "request_index", "client_address", "client_port", "server_address", "server_port")
_ALSO_COPIED = ("ip_version", "arrival_ns", "completion_ns", "response_time_ns", "request_bytes", "response_bytes")


@dataclass(slots=True)
class Instants:
    """When requests passed the server-side point, by its clock; INT64_MIN where that is not known. Shape (n,) each.

    Attributes
    ----------
    first_ns : ndarray of int64
        The first byte of the request.
    last_ns : ndarray of int64
        The last of its bytes to come.
    end_ns : ndarray of int64
        The byte of the response with which the response time ended at the client-side point.
    orders : ndarray of int64, shape (n, 2)
        Where in the client-side capture its request, and its response time, ended.
    server_orders : ndarray of int64, shape (n, 2)
        Where they did in the server-side capture.
    """

    first_ns: Integers
    last_ns: Integers
    end_ns: Integers
    orders: Integers
    server_orders: Integers

    @classmethod
    def unknown(cls, count: int) -> Instants:
        """Make instants of which nothing is known."""
        return cls(
            *(np.full(count, INT64_MIN) for _ in range(3)), *(np.full((count, 2), -1, np.int64) for _ in range(2))
        )


class _Moments:
    """The segments with new bytes of the client-side point, by stream and time."""

    def __init__(self, side: Side) -> None:
        table = side.sightings
        rows = np.flatnonzero(table.new_bytes > 0)
        self._times = np.unique(table.time_ns[rows])
        places = side.stream[rows] * (len(self._times) + 1) + np.searchsorted(self._times, table.time_ns[rows])
        order = np.argsort(places, kind="stable")
        self._places, self._rows = places[order], rows[order]
        self.begin = table.offset + table.new_at
        self.end = self.begin + table.new_bytes

    def row(self, stream: Integers, time_ns: Integers, *, is_last: bool) -> Integers:
        """Give the first, or the last, of the segments of streams at instants, shape (n,); −1 if there is none."""
        rank = np.searchsorted(self._times, time_ns)
        is_there = rank < len(self._times)
        is_there[is_there] = self._times[rank[is_there]] == time_ns[is_there]
        place = stream * (len(self._times) + 1) + rank
        low, high = (np.searchsorted(self._places, place, side) for side in ("left", "right"))
        is_there &= high > low
        at = np.where(is_there, high - 1 if is_last else low, 0)
        rows: Integers = np.where(is_there, self._rows[at] if len(self._rows) else -1, -1)
        return rows


def instants_of(
    instants: Instants,
    requests: Requests,
    chosen: tuple[Integers, Integers],
    sides: tuple[Side, Side],
    *,
    end: str,
) -> None:
    """Find when some requests passed the server-side point.

    Parameters
    ----------
    instants : Instants
        Of all requests; those of the chosen ones are set.
    requests : Requests
        All of the client-side capture.
    chosen : tuple of ndarray of int64, shape (n,) each
        Rows of `requests`, and the number of the connection of each.
    sides : tuple of Side
        The segments of these connections.
    end : str
        ``response_first`` or ``response_last``.
    """
    rows, talk = chosen
    if not len(rows):
        return
    moments, mine = _Moments(sides[0]), requests[rows]
    first = moments.row(2 * talk, mine.request_first_ns, is_last=False)
    last = moments.row(2 * talk, mine.request_last_ns, is_last=True)
    is_last = end == "response_last"
    answer = moments.row(2 * talk + 1, mine.response_last_ns if is_last else mine.response_first_ns, is_last=is_last)
    known = np.flatnonzero((first >= 0) & (last >= 0) & (answer >= 0))
    first, last, answer, talk, rows = first[known], last[known], answer[known], talk[known], rows[known]
    begin = np.minimum(moments.begin[first], moments.begin[last])
    finish = np.maximum(np.maximum(moments.end[first], moments.end[last]), begin + mine.request_bytes[known])
    at = moments.end[answer] - 1 if is_last else moments.begin[answer]
    seen = FirstSeen(
        sides[1],
        np.concatenate([2 * talk, 2 * talk + 1]),
        np.concatenate([begin, at]),
        np.concatenate([finish, at + 1]),
    )
    came = (
        seen.row(2 * talk, begin),
        seen.last_row(2 * talk, begin, finish),
        seen.row(2 * talk + 1, at),
    )
    table = sides[1].sightings
    for target, row in zip((instants.first_ns, instants.last_ns, instants.end_ns), came, strict=True):
        target[rows[row >= 0]] = table.time_ns[row[row >= 0]]
    instants.orders[rows] = sides[0].sightings.frame_number[np.stack([last, answer], axis=1)]
    instants.server_orders[rows] = table.frame_number[np.stack(came[1:], axis=1)]


def split_requests(comparison: Comparison, *, start: str = "request_last") -> SplitRequests:
    """Give one row per request of the client-side capture, in its order.

    Parameters
    ----------
    comparison : Comparison
        Two captures, compared.
    start : str
        Where the response time starts: ``request_first`` or ``request_last``.
    """
    requests, instants = comparison.client_side.requests, comparison.instants
    table = SplitRequests.allocate(len(requests))
    for name in (*_COPIED, *_ALSO_COPIED):
        table.rows[name] = requests.rows[name]
    table.client_ns[:] = np.maximum(requests.request_last_ns - requests.request_first_ns, 0)
    for name in ("request_path_ns", "server_ns", "response_path_ns", "path_error_ns", "server_side_response_time_ns"):
        table.rows[name] = -1
    _paired(comparison, table)
    known = np.flatnonzero(table.outcome == SPLIT)
    is_known = (instants.last_ns[known] != INT64_MIN) & (instants.end_ns[known] != INT64_MIN)
    is_known &= instants.first_ns[known] != INT64_MIN
    table.outcome[known[~is_known]] = UNSEEN
    known = known[is_known]
    begun = instants.first_ns if start == "request_first" else instants.last_ns
    table.server_side_response_time_ns[known] = np.maximum(instants.end_ns[known] - begun[known], 0)
    orders = (each[known].reshape(-1) for each in (instants.orders, instants.server_orders))
    places = comparison.piece_of(*orders).reshape(-1, 2)
    is_fit = np.array([*(piece.is_consistent for piece in comparison.clock), False])
    is_steady = (places[:, 0] == places[:, 1]) & is_fit[places[:, 0]]  # the last is for −1: none
    table.outcome[known[~is_steady]] = CLOCK_STEP
    for number in range(len(comparison.clock)):
        _divide(comparison, table, known[is_steady & (places[:, 0] == number)], number)
    return table


def _paired(comparison: Comparison, table: SplitRequests) -> None:
    """Set which connection of the server side is the same, and what that rules out."""
    pairs, ours, theirs = comparison.pairs, comparison.client_side.talks, comparison.server_side.talks
    number = np.full(len(ours), -1, np.int64)
    number[pairs.rows[0]] = np.arange(len(pairs))
    talk = np.searchsorted(ours["connection_id"], table.connection_id)
    pair = number[talk] if len(ours) else np.full(len(table), -1, np.int64)
    is_paired = pair >= 0
    table.rows["server_side_connection_id"] = -1
    table.server_side_connection_id[is_paired] = theirs["connection_id"][pairs.rows[1][pair[is_paired]]]
    table.outcome[:] = np.where(is_paired, SPLIT, UNPAIRED)
    is_reversed = np.array([*comparison.is_reversed, False])  # the last is for −1: none
    table.outcome[is_reversed[pair]] = REVERSED


def _divide(comparison: Comparison, table: SplitRequests, rows: Integers, number: int) -> None:
    """Divide the time of requests that lie in one piece of the clock."""
    piece, requests, instants = comparison.clock[number], comparison.client_side.requests, comparison.instants
    sent, done = requests.request_last_ns[rows], requests.completion_ns[rows]
    came, gone = piece.at_client_side(instants.last_ns[rows]), piece.at_client_side(instants.end_ns[rows])
    error = piece.error_ns(sent)
    # Where both points are at one place, stamps may be a little the wrong way round; the parts add up nevertheless.
    slack = error + SAME_PLACE_NS
    is_fine = (came >= sent - slack) & (gone >= came) & (done >= gone - slack) & (done >= sent)
    came = np.clip(came, sent, np.maximum(done, sent))
    gone = np.clip(gone, came, np.maximum(done, came))
    table.outcome[rows[~is_fine]] = CROSSED
    fine, chosen = rows[is_fine], is_fine
    table.request_path_ns[fine] = (came - sent)[chosen]
    table.server_ns[fine] = (gone - came)[chosen]
    table.response_path_ns[fine] = (done - gone)[chosen]
    table.path_error_ns[fine] = error[chosen]
