"""Steps forward of the clock that stamps frames: time that the capture says passed, and that nobody lived.

Theory of operation
-------------------
Where the clock is set forward no frame has a stamp between, so it looks as if everybody had waited. But hosts stamp
their segments, too, with a clock that nobody sets (RFC 7323: the TSval option). Of two segments in a row of one sender
and connection, one on either side of a time without a frame, the stamps say how long it was for that host. How many
ticks a second its clock has is told by pairs of the connection that lie closer together. If for all who are heard less
than half of the silence passed, and both sides were heard, the clock leapt. A host that is paused, as phones are that
sleep, stops its own clock, but not that of the other.

Pairs are looked at among `NEAR` segments with stamps that follow each other, and only where somebody was silent for
`LEAST_NS`: it costs next to nothing where there is traffic. Memory: `REMEMBERED` segments, and `MOST_LEAPS`.

What it cannot see: steps of less than `LEAST_NS`; a step where so many connections are busy that none is heard twice
among `NEAR` segments; hosts without timestamps, or whose stamps have an offset for each
segment. A host that speaks to itself and was paused: for it no time passed, which is the same.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tcpsight.tables import OPTION_TIMESTAMPS, Headers, joined_rows

LEAST_NS = 500_000_000
"""Shorter silences are what traffic has."""

NEAR = 2048
"""Segments among which pairs are looked for."""

REMEMBERED = 2 * NEAR
"""Segments by which clocks are known, and in which all who were heard since a silence are judged again."""

LEAST_RATE_NS = 20_000_000
"""Over so much time together a clock's ticks are counted."""

LEAST_TICKS = 5
LEAST_MOVES = 2

SHORTEST_TICK_NS, LONGEST_TICK_NS = 500, 1_000_000_000
"""What clocks of stamps do: from Linux' microseconds (RFC 7323 wants a millisecond) to a second."""

MOST_SILENCES = 4096
"""Silences that are remembered until enough segments came after them."""

MOST_LEAPS = 1000

Integers = np.ndarray[Any, np.dtype[np.int64]]
Rows = np.ndarray[Any, Any]


def _seen() -> np.dtype[Any]:
    """Give how to look at rows of Headers: a flow is both addresses and both ports, which lie together."""
    fields = {
        "time_ns": ("time_ns", np.int64),
        "ends": ("source_address", "V32"),
        "flow": ("source_address", "V36"),
        "stamp": ("timestamp_value", np.uint32),
        "options": ("options", np.uint8),
    }
    known: Any = Headers.dtype.fields
    return np.dtype(
        {
            "names": list(fields),
            "formats": [kind for _, kind in fields.values()],
            "offsets": [known[name][1] for name, _ in fields.values()],
            "itemsize": Headers.dtype.itemsize,
        }
    )


_SEEN = _seen()


class Leap(NamedTuple):
    """From when to when there was no frame, and how much of that did not pass, in nanoseconds."""

    start_ns: int
    end_ns: int
    leapt_ns: int


class _Pairs(NamedTuple):
    """Segments in a row of one sender and connection, shape (pairs,): by frames, by its clock, and both addresses."""

    start_ns: Integers
    end_ns: Integers
    passed_ns: np.ndarray[Any, np.dtype[np.float64]]
    ends: Rows


def silences_in(instants_ns: Integers, clock_ns: int | None) -> tuple[int, list[tuple[int, int]]]:
    """Find times of `LEAST_NS` or more without a frame.

    Parameters
    ----------
    instants_ns : ndarray of int64, shape (n,)
        When the next frames were captured, one at least.
    clock_ns : int or None
        The latest instant before them; None if they are the first.

    Returns
    -------
    tuple of (int, list of (int, int))
        The latest instant now, and when each silence began and ended.
    """
    latest_ns = int(instants_ns.max())
    clock_ns = int(instants_ns[0]) if clock_ns is None else clock_ns
    if latest_ns - clock_ns < LEAST_NS:
        return max(clock_ns, latest_ns), []
    clock = np.maximum.accumulate(np.concatenate([[clock_ns], instants_ns]))
    at = np.flatnonzero(np.diff(clock) >= LEAST_NS)
    return latest_ns, list(zip(clock[at].tolist(), clock[at + 1].tolist(), strict=True))


class ClockLeaps:
    """Collect steps forward.

    Feed frames in the order of capture.
    """

    def __init__(self) -> None:
        self._clock_ns: int | None = None
        # The last rows lie at the end of what is filled. One block for all time: new ones were fresh pages each time.
        self._room: Rows = np.empty(2 * REMEMBERED, Headers.dtype)
        self._filled = 0
        self._silences: list[tuple[int, int]] = []
        self._stood: dict[tuple[int, int], dict[bytes, float]] = {}
        self._moved: set[tuple[int, int]] = set()
        self._kept: list[Leap] = []

    def feed(self, instants_ns: Integers, headers: Headers) -> None:
        """Take when the next frames were captured, shape (n,), and the segments in them."""
        if not len(instants_ns):
            return
        self._clock_ns, silences = silences_in(instants_ns, self._clock_ns)
        self._silences += silences
        if self._silences:
            self._judge(joined_rows([self._recent, headers.rows]))
        self._remember(headers.rows)
        if self._silences:
            self._forget()

    def begin_anew(self) -> None:
        """Go on behind segments that were left out because nobody was silent near them."""
        self._clock_ns = None
        self._filled = 0
        self._finish([])

    @property
    def leaps(self) -> list[Leap]:
        """When the clock was set, and by how much; in order of time."""
        return sorted([*self._kept, *(self._leap(span) for span in self._stood if self._has_leapt(span))])

    def keep(self, leaps: list[Leap]) -> None:
        """Take leaps that are known already."""
        self._kept += leaps

    @property
    def certain(self) -> list[Leap]:
        """Those of `leaps` of which nothing that follows can tell otherwise."""
        return sorted(self._kept)

    def carried(self) -> tuple[list[Any], bytes]:
        """Give what is remembered of the frames so far, without the leaps that are certain; and of segments."""
        stood = [[*span, [[who.hex(), by_ns] for who, by_ns in heard.items()]] for span, heard in self._stood.items()]
        return [self._clock_ns, self._silences, stood, sorted(self._moved)], self._recent.tobytes()

    def go_on(self, carried: list[Any], recent: bytes) -> None:
        """Go on behind the frames of which `carried` gave these."""
        clock_ns, silences, stood, moved = carried
        self._clock_ns = None if clock_ns is None else int(clock_ns)
        self._silences = [(int(start), int(end)) for start, end in silences][-MOST_SILENCES:]
        known = set(self._silences)
        self._stood = {
            (start, end): {bytes.fromhex(who): float(by_ns) for who, by_ns in heard}
            for start, end, heard in stood
            if (start, end) in known and heard
        }
        if not all(abs(by_ns) < 2.0**63 for heard in self._stood.values() for by_ns in heard.values()):
            raise ValueError("a clock that stood still for ever")
        self._moved = {(start, end) for start, end in moved} & self._stood.keys()
        self._filled = 0
        self._remember(np.frombuffer(recent, Headers.dtype))

    def within(self, start_ns: int, end_ns: int) -> int:
        """Tell by how much the clock was set in a time, in nanoseconds: at most what of the silence lies in it."""
        return sum(
            max(min(min(end, end_ns) - max(start, start_ns), leapt_ns), 0) for start, end, leapt_ns in self.leaps
        )

    def _leap(self, span: tuple[int, int]) -> Leap:
        return Leap(*span, round(float(np.median(list(self._stood[span].values())))))

    def _has_leapt(self, span: tuple[int, int]) -> bool:
        """Tell whether no time passed for both sides at least, and for nobody else."""
        return len(self._stood[span]) > 1 and span not in self._moved

    @property
    def _recent(self) -> Rows:
        """Give the last rows, `REMEMBERED` at most: whoever is judged again has had its votes among these."""
        return self._room[max(self._filled - REMEMBERED, 0) : self._filled]

    def _remember(self, rows: Rows) -> None:
        """Copy the last rows."""
        rows = np.ascontiguousarray(rows[-REMEMBERED:])
        # As bytes: field by field it takes twenty times as long.
        room, width = self._room.view(np.uint8), Headers.dtype.itemsize
        if self._filled + len(rows) > len(self._room):
            kept = REMEMBERED - len(rows)
            room[: kept * width] = room[(self._filled - kept) * width : self._filled * width]
            self._filled = kept
        begin, self._filled = self._filled, self._filled + len(rows)
        room[begin * width : self._filled * width] = rows.view(np.uint8)

    def _judge(self, rows: Rows) -> None:
        """Ask those who are heard after silences whether time passed."""
        pairs = _pairs_of(rows)
        starts, ends = np.array(self._silences, np.int64).T
        first = np.searchsorted(starts, pairs.start_ns, "left")
        # A pair over several silences tells of none.
        is_of_one = np.searchsorted(ends, pairs.end_ns, "right") - first == 1
        of, length_ns = first[is_of_one], (ends - starts)[first[is_of_one]]
        lacking = (pairs.end_ns - pairs.start_ns - pairs.passed_ns)[is_of_one]
        has_stood = lacking >= length_ns / 2
        told = pairs.ends[is_of_one][has_stood].tolist()
        for i, both, by_ns in zip(of[has_stood].tolist(), told, lacking[has_stood].tolist(), strict=True):
            heard = self._stood.setdefault(self._silences[i], {})
            heard.setdefault(both[:16], by_ns)
            if both[:16] == both[16:]:
                # Of a host that speaks to itself nobody else can be heard.
                heard.setdefault(b"itself", by_ns)
        if self._stood:
            moved = {self._silences[i] for i in np.unique(of[~has_stood]).tolist()}
            self._moved |= moved & self._stood.keys()

    def _forget(self) -> None:
        """Let go of silences that lie before all segments that are remembered."""
        recent = self._recent
        oldest_ns = int(recent["time_ns"].min()) if len(recent) == REMEMBERED else -(2**63)
        self._finish([span for span in self._silences if span[1] >= oldest_ns][-MOST_SILENCES:])

    def _finish(self, kept: list[tuple[int, int]]) -> None:
        """Keep what was told of all silences but these."""
        for span in self._stood.keys() - set(kept):
            if self._has_leapt(span):
                self._kept.append(self._leap(span))
            del self._stood[span]
            self._moved.discard(span)
        self._silences = kept
        if len(self._kept) > MOST_LEAPS:
            self._kept = sorted(self._kept, key=lambda leap: -leap.leapt_ns)[:MOST_LEAPS]


def _pairs_of(rows: Rows) -> _Pairs:
    """Give the pairs over which somebody was silent, of senders whose clock is known."""
    seen = np.ascontiguousarray(rows).view(_SEEN)
    place = np.flatnonzero(seen["options"] & OPTION_TIMESTAMPS)
    flows = np.unique(seen["flow"][place].view(np.dtype((np.void, 36))), return_inverse=True)[1]
    order = np.lexsort((place, flows))
    place, flows = place[order], flows[order]
    earlier, later = place[:-1], place[1:]
    is_pair = (flows[1:] == flows[:-1]) & (later - earlier <= NEAR)
    earlier, later, flows = earlier[is_pair], later[is_pair], flows[1:][is_pair]
    start_ns, end_ns = seen["time_ns"][earlier], seen["time_ns"][later]
    ticks = (seen["stamp"][later] - seen["stamp"][earlier]).view(np.int32).astype(np.float64)
    # Middle boxes stamp some connections with one number, and not others of that sender.
    is_near = (end_ns - start_ns < LEAST_NS) & (end_ns >= start_ns) & (ticks >= 0)
    near_ns, near_ticks, moving, standing = np.zeros((4, len(place) + 1))
    np.add.at(near_ns, flows[is_near], (end_ns - start_ns)[is_near])
    np.add.at(near_ticks, flows[is_near], ticks[is_near])
    np.add.at(moving, flows[is_near & (ticks > 0)], 1)
    np.add.at(standing, flows[is_near & (ticks == 0) & (end_ns - start_ns >= LEAST_RATE_NS)], 1)
    is_known = (near_ns >= LEAST_RATE_NS) & (near_ticks >= LEAST_TICKS) & (moving >= LEAST_MOVES) & (moving > standing)
    tick_ns = np.divide(near_ns, near_ticks, out=np.zeros_like(near_ns), where=is_known)
    tick_ns = np.where((tick_ns >= SHORTEST_TICK_NS) & (tick_ns <= LONGEST_TICK_NS), tick_ns, 0)[flows]
    told = np.flatnonzero((end_ns - start_ns >= LEAST_NS) & (tick_ns > 0) & (ticks >= 0))
    return _Pairs(start_ns[told], end_ns[told], (ticks * tick_ns)[told], seen["ends"][later][told])
