"""Ends connections that are seen on the wire: each side by a RST with exactly the sequence number that it expects.

Theory of operation
-------------------
Each side is asked for its numbers by a probe (`resets.probe`), in the name of the other: an idle side answers, too,
and what it answers is what it expects now, however old the capture is that the connection was found in. Whatever a side
says from then on tells its number again, and is followed by a RST with that number (RFC 5961 §3.2) and another
probe. A side that has ended answers the probe with a RST of its own: so its end is confirmed. One that lives on
answers with an acknowledgment, and the RST is repeated with its number, until time is over. Linux answers at most one
such probe of a connection in half a second (``tcp_invalid_ratelimit``).

A connection is left alone when a SYN begins another one between its endpoints, when its numbers are far from those
that were seen, and, if idle ones were asked for, when it speaks.

Of a side that is being sent to without pause the number moves on while a RST is on its way: so RSTs for the next
numbers are sent, too, as far as they follow from the lengths of the segments before.

What it cannot see: answers that do not pass the interface; sides behind a firewall that swallows probes or RSTs: their
end is told as not confirmed. Sides that answer each other within less time than a look at what was captured takes (a
millisecond) may outrun every RST: that they live on is told.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from tcpsight.decode import Decoding
from tcpsight.local.audit import ENDED, FAILED, SPARED, UNKNOWN, Outcome
from tcpsight.local.observing import WAY_BYTES, Numbers, numbers_of, way, ways_of
from tcpsight.local.resets import probe
from tcpsight.tables import FLAG_ACK, FLAG_RST, FLAG_SYN

if TYPE_CHECKING:
    from tcpsight.capture.live import LiveCapture
    from tcpsight.local.resets import Endpoint, RawSender

FURTHEST_UNSEEN = 1 << 20
"""Numbers of a connection that was in a file only may have moved on by so much: those of another connection between the
same endpoints differ by more: initial numbers move on by 15.6 million a second (RFC 9293 §3.4.1 asks for 0.25)."""

FURTHEST_SEEN = 1 << 30
"""The same for one that was seen here: a SYN would have been seen, too."""

FURTHEST_BACK = 1 << 16
"""What was said last may have been said before."""

PROBE_S = 0.05
PATTERN = 32
"""From so many segments it is told how the next ones will be."""

BEHIND, VOLLEY = 4, 2000
"""RSTs are sent for so many times the numbers that went by since the last look, and for so many at most."""


@dataclass(slots=True)
class Side:
    """One side of a connection that is to be ended, and what it says."""

    endpoint: Endpoint
    other: Endpoint
    seen: Numbers | None
    furthest: int
    numbers: Numbers | None = None
    has_ended: bool = False
    lives_on: bool = False
    probed_at: float = 0.0
    resets: int = 0
    ends: list[int] = field(default_factory=list)  # of the last segments that it was sent, in order


@dataclass(slots=True)
class Target:
    """A connection that is to be ended.

    Attributes
    ----------
    sides : tuple of Side
        The client's, and the server's.
    must_be_idle : bool
        Whether it is left alone if it speaks.
    outcome : Outcome or None
        What came of it; None as long as nothing has.
    """

    sides: tuple[Side, Side]
    must_be_idle: bool
    outcome: Outcome | None = field(default=None)

    @property
    def is_touched(self) -> bool:
        """Whether a RST has been sent."""
        return any(side.resets for side in self.sides)


class Resetting:
    """Ends connections.

    Parameters
    ----------
    sender : RawSender
        What sends.
    targets : sequence of Target
        What is ended; nothing else is sent to.
    """

    def __init__(self, sender: RawSender, targets: Sequence[Target]) -> None:
        self._sender = sender
        self._targets = targets
        self._sides = {way(s.endpoint, s.other): (target, s) for target in targets for s in target.sides}
        self._peers = {way(s.other, s.endpoint): s for target in targets for s in target.sides}
        self._ways = np.array(list(self._sides), f"S{WAY_BYTES}").view(f"V{WAY_BYTES}")
        self._window = secrets.randbelow(0xFFFF) + 1
        self._decoding = Decoding()

    def run(self, capture: LiveCapture, seconds: float) -> Iterator[Target]:
        """Give each target when it is known what came of it; all of them when time is over."""
        waiting = list(self._targets)
        until = time.monotonic() + seconds
        self._probe_all(waiting)
        for frames in capture:
            self._take_all(self._decoding.feed(frames).rows)
            for target in [each for each in waiting if _is_over(each)]:
                waiting.remove(target)
                yield target
            if not waiting or time.monotonic() > until:
                break
            self._probe_all(waiting)
        for target in waiting:
            target.outcome = _late(target)
            yield target

    def _take_all(self, rows: np.ndarray[Any, Any]) -> None:
        """Take what went by: beginnings and ends, and of all else what each side said last."""
        rows = rows[rows["window"] != self._window]  # what was sent from here
        ways = ways_of(rows)
        is_ours = np.isin(ways, self._ways)
        rows, ways = rows[is_ours], ways[is_ours]
        found = {key.tobytes(): rows[ways == key] for key in np.unique(ways)}
        for key, spoken in found.items():
            self._peers[key].ends.extend(_ends(spoken))
            self._notice(*self._sides[key], spoken)
        for key, spoken in found.items():
            target, side = self._sides[key]
            acknowledging = spoken[spoken["flags"] & (FLAG_ACK | FLAG_RST) == FLAG_ACK]
            if target.outcome is None and not side.has_ended and len(acknowledging):
                self._answer(target, side, numbers_of(acknowledging[-1]))

    def _notice(self, target: Target, side: Side, spoken: np.ndarray[Any, Any]) -> None:
        """Notice that a side has ended, that another connection has begun, or that an idle one speaks."""
        flags = np.bitwise_or.reduce(spoken["flags"])
        side.has_ended |= bool(flags & FLAG_RST)
        if target.outcome is not None or side.has_ended:
            return
        if flags & FLAG_SYN:
            target.outcome = Outcome(SPARED, "another connection has its endpoints now")
        elif target.must_be_idle and not target.is_touched and (spoken["payload_bytes"] > 0).any():
            target.outcome = Outcome(SPARED, "it is idle no longer")

    def _answer(self, target: Target, side: Side, numbers: Numbers) -> None:
        if side.numbers is None and side.seen is not None and _are_far(numbers, side):
            target.outcome = Outcome(SPARED, "its numbers are those of another connection")
            return
        side.numbers = numbers
        side.lives_on = side.resets > 0
        side.resets += 1
        self._sender.send_resets(side.other, side.endpoint, [numbers.expected, *_next(side)], self._window)
        self._probe(side)

    def _probe_all(self, targets: Sequence[Target]) -> None:
        now = time.monotonic()
        for target in targets:
            for side in target.sides:
                if not side.has_ended and now - side.probed_at >= PROBE_S:
                    self._probe(side)

    def _probe(self, side: Side) -> None:
        numbers = side.numbers or side.seen
        if numbers is not None:
            side.probed_at = time.monotonic()
            self._sender.send(probe(side.other, side.endpoint, numbers, self._window))


def _ends(spoken: np.ndarray[Any, Any]) -> list[int]:
    """Give the numbers behind segments with payload."""
    spoken = spoken[spoken["payload_bytes"] > 0]
    ends: list[int] = ((spoken["sequence_number"].astype(np.int64) + spoken["payload_bytes"]) % 2**32).tolist()
    return ends


def _next(side: Side) -> list[int]:
    """Give the numbers that a busy side will expect next, if segments go on as the last ones did."""
    volley = min(BEHIND * len(side.ends), VOLLEY)
    ends = side.ends = side.ends[-PATTERN:]
    steps = [(after - before) % 2**32 for before, after in pairwise(ends)]
    if len(steps) < PATTERN // 4 or side.numbers is None:
        return []
    steps = [step for step in steps if 0 < step < 2**20]  # not what was sent again
    ahead = [end for end in ends if 0 < (end - side.numbers.expected) % 2**32 < 2**30]
    for step in islice(cycle(steps), volley if steps else 0):
        ahead.append(((ahead or ends)[-1] + step) % 2**32)
    return ahead


def _are_far(now: Numbers, side: Side) -> bool:
    """Tell whether what a side says now cannot follow what was seen of it."""
    assert side.seen is not None
    moved = ((new - old) % 2**32 for new, old in zip(now, side.seen, strict=True))
    return any(side.furthest < each < 2**32 - FURTHEST_BACK for each in moved)


def _is_over(target: Target) -> bool:
    if target.outcome is None and all(side.has_ended for side in target.sides):
        target.outcome = Outcome(ENDED)
    return target.outcome is not None


def _late(target: Target) -> Outcome:
    """Tell what is known when time is over."""
    names = dict(zip(("the client's side", "the server's side"), target.sides, strict=True))
    silent = [name for name, side in names.items() if not side.has_ended and not side.lives_on]
    living = [name for name, side in names.items() if not side.has_ended and side.lives_on]
    if living:
        return Outcome(FAILED, f"{' and '.join(living)} answered after the last RST")
    return Outcome(UNKNOWN, f"{' and '.join(silent)} said nothing after the RST" if target.is_touched else "no answer")
