"""Of the instants of many frames those that tell all about silences and steps of the clock.

Theory of operation
-------------------
`model.silences` and `model.clock_steps` look at every frame, and what they make of one depends on all before it. Who
reads a part of a capture cannot ask them, but can leave out what makes no difference to them whatever came before: of a
run of frames that come in order of time, none a second after the one before it and all within half a minute, all but
the first three and the last two. The first may confirm what came before, or be behind it; once one of them was believed
the others are no further ahead than the clock moves by itself, and of them the two latest are remembered.

`model.clock_leaps` looks at segments, too, but only around silences: of those that lie farther from any, and from
either end of a piece, than it remembers, none is kept. Where some are left out the next run begins anew.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tcpsight.model.clock_leaps import REMEMBERED, silences_in
from tcpsight.tables import Frames, Headers, joined_rows

Instants = np.ndarray[Any, np.dtype[np.int64]]

STEP_NS = 1_000_000_000
"""Not longer than `LEAST_NS` of `model.clock_steps`."""

RUN_NS = 30_000_000_000
"""Half of `LEAST_NS` of `model.silences`."""

FIRST, LAST = 3, 2


def telling(instants_ns: Instants) -> Instants:
    """Leave out instants that tell nothing.

    Parameters
    ----------
    instants_ns : ndarray of int64, shape (n,)
        When frames were captured, in the order of capture.

    Returns
    -------
    ndarray of int64, shape (m,)
        Some of them, in their order.
    """
    if len(instants_ns) <= FIRST + LAST:
        return instants_ns.copy()
    # As unsigned numbers steps back are long ones.
    cuts = np.diff(instants_ns).view(np.uint64) >= STEP_NS
    cuts |= np.diff(instants_ns // RUN_NS) != 0
    begins = np.concatenate([[0], np.flatnonzero(cuts) + 1])
    ends = np.concatenate([begins[1:], [len(instants_ns)]])
    kept = np.zeros(len(instants_ns), np.bool_)
    for offset in range(FIRST):
        kept[np.minimum(begins + offset, ends - 1)] = True
    for offset in range(1, LAST + 1):
        kept[np.maximum(ends - offset, begins)] = True
    return instants_ns[kept]


class Run(NamedTuple):
    """Frames in a row, and the segments in them.

    Attributes
    ----------
    instants_ns : ndarray of int64, shape (n,)
        When the frames were captured.
    rows : ndarray of uint8
        The headers, as bytes.
    is_next : bool
        Whether it begins where the run before it ended.
    """

    instants_ns: Instants
    rows: np.ndarray[Any, np.dtype[np.uint8]]
    is_next: bool


class TellingSegments:
    """Keep what of a piece tells whether the clock was set forward.

    Attributes
    ----------
    runs : list of Run
        What is kept so far; `finish` adds the end.
    """

    def __init__(self) -> None:
        self.runs: list[Run] = []
        self._wanted = REMEMBERED  # so many more segments: the begin of the piece, or after a silence
        self._clock_ns: int | None = None
        self._tail: list[tuple[Instants, Any]] = []
        self._is_next = True

    def feed(self, whole: Frames, headers: Headers) -> None:
        """Take the next batch."""
        instants_ns = np.ascontiguousarray(whole.time_ns)
        if not len(instants_ns):
            return
        self._clock_ns, silences = silences_in(instants_ns, self._clock_ns)
        if silences:
            self._wanted = REMEMBERED + len(headers)
        if self._wanted:
            self.finish()
            self._keep(instants_ns, headers.rows)
            self._wanted = max(self._wanted - len(headers), 0)
            return
        rows = headers.rows[-REMEMBERED:]
        if len(rows) < len(headers):
            first = int(np.searchsorted(whole.frame_number, rows["frame_number"][0]))
            instants_ns, self._tail, self._is_next = instants_ns[first:], [], False
        self._tail.append((instants_ns.copy(), joined_rows([rows])))
        while sum(len(each) for _, each in self._tail[1:]) >= REMEMBERED:
            del self._tail[0]
            self._is_next = False

    def finish(self) -> None:
        """Keep the end of what was fed, too."""
        for instants_ns, rows in self._tail:
            self._keep(instants_ns, rows)
        self._tail = []

    def _keep(self, instants_ns: Instants, rows: Any) -> None:
        self.runs.append(Run(instants_ns.copy(), joined_rows([rows]).view(np.uint8), self._is_next))
        self._is_next = True
