"""The request that others waited for, as far as order tells: in servers that do much at once, and in event loops.

Theory of operation
-------------------
Of requests that were held and are released, the holder of what the others wait for is answered about first, and came
first: `blocker_of` takes the one that came first of the first three, since an answer may be overtaken on its way, and
somebody who came before and waits still speaks against it.

A server that does one thing at a time (Redis, Node.js, anything with one thread) is another matter. What was in flight
when it took up the slow request waits too, though it came before. The slow one is answered before all that was taken up
after it: it is the *first answered*. `is_serial` tells such servers: where requests overlap, next to none is answered
long before the one that came right before it.

An event loop takes up all that is there in one turn, and may give its answers at the end of the turn, the last
first, as Redis does. Then those of the turn answer together and order says nothing of them. If one of them is
unlike what is usual, by its size or that of its answer, and the others are not, it was that one. If all are alike, and
the first three are answered in the opposite order of their coming, nobody is named.

What it cannot see: which of two that were answered together in the opposite order; servers with several event loops; a
holder that three others overtake once they are released. Looking at more than the first three (all within 2 % of the
wait) would accuse requests that came early and have nothing to do with it: of 113 pauses of a whole server 4, not 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Rows = np.ndarray[Any, Any]

FIRST = 3
"""So many completions after a wait may be the first: a completion may be overtaken on its way by others."""

LEAST_PAIRS = 50
"""So many requests must overlap the one before, to tell whether a server does one thing at a time."""

FAR = 0.5
FAR_NS = 150_000
"""Of the median response time, and of time: answers of one turn of an event loop come closer together."""

MOST_OVERTAKEN = 0.06
"""Of the requests that overlap: with two workers and exponential service times a third, if few wait; Redis has 3 %."""

TURN_NS = 50_000
"""So long after its last answer a loop takes up what is there: seen from outside."""

RARE = 0.01
"""Of the requests of a window: the sizes of others are usual."""


def blocker_of(released: Rows) -> Any:
    """Give the request that others probably waited for: of the first that were answered, the one that came first."""
    first = released[np.lexsort((released["arrival_ns"], released["end_ns"]))[:FIRST]]
    return first[np.argmin(first["arrival_ns"])].copy()


def is_serial(rows: Rows, median_ns: int) -> bool:
    """Tell whether a server does one thing at a time, by requests in order of arrival.

    Parameters
    ----------
    rows : ndarray, shape (n,)
        With ``arrival_ns`` and ``end_ns``.
    median_ns : int
        Their median response time.
    """
    ends = rows["end_ns"]
    overlaps = ends[:-1] > rows["arrival_ns"][1:]
    pairs = int(np.count_nonzero(overlaps))
    if pairs < LEAST_PAIRS:
        return False
    is_far = overlaps & (ends[:-1] - ends[1:] > FAR * median_ns + FAR_NS)
    return bool(np.count_nonzero(is_far) <= MOST_OVERTAKEN * pairs)


def blocker_of_turn(released: Rows, turn_ns: int, usual: Rows) -> Any:
    """Give the request that kept an event loop busy; None where order does not tell.

    Parameters
    ----------
    released : ndarray, shape (n,)
        Those that waited and were answered.
    turn_ns : int
        When the loop took up the turn, at the earliest.
    usual : ndarray
        Requests of the window, whose sizes are usual.
    """
    released = released[np.lexsort((released["arrival_ns"], released["end_ns"]))]
    # Of one turn the last that came may be answered first: all before it were there.
    turn = released[released["arrival_ns"] <= max(turn_ns, int(released["arrival_ns"][0]))]
    if len(turn) > 1:
        odd = turn[_are_rare(turn, usual)]
        if len(odd) == 1:
            return odd[0].copy()
    is_reversed = len(turn) >= FIRST and bool((np.diff(turn["arrival_ns"][:FIRST]) < 0).all())
    return None if is_reversed else turn[0].copy()


def _are_rare(turn: Rows, usual: Rows) -> Any:
    """Tell which requests are of a size, or have an answer of a size, that is rare."""
    rare = np.zeros(len(turn), bool)
    for name in ("request_bytes", "response_bytes"):
        sizes = usual[name]
        counts = np.array([np.count_nonzero(sizes == size) for size in turn[name].tolist()])
        rare |= counts <= RARE * len(sizes)
    return rare
