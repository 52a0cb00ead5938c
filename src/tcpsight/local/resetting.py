"""Ends connections that are seen on the wire: each side by a RST with exactly the sequence number that it expects.

Theory of operation
-------------------
Each side is asked for its numbers by a probe (`resets.probe`), in the name of the other: an idle side answers, too,
and what it answers is what it expects now, however old the capture is that the connection was found in. Whatever a side
says from then on tells its number again, and is followed by a RST with that number (RFC 5961 §3.2) and another
probe. A side that has ended answers the probe with a RST of its own, whose sequence number is what the probe
acknowledged (RFC 9293 §3.10.7.1): so its end is confirmed; a RST with any other number may be anybody's and means
nothing. One that lives on answers with an acknowledgment, and the RST is repeated with its number, until time is over.
Linux answers at most one such probe of a connection in half a second (``tcp_invalid_ratelimit``).

A connection is left alone when a SYN begins another one between its endpoints, when its numbers are far from those
that were seen of this side or follow from what was seen of the other, and, if idle ones were asked for, when it speaks
or its numbers are no longer those that were seen. Nothing is sent but probes before that has been compared. Where
frames were dropped a SYN may have been among them: numbers are compared again, more strictly.

Of a side that is being sent to without pause the number moves on while a RST is on its way: so RSTs for the next
numbers are sent, too, as far as they follow from the lengths of the segments before.

What it cannot see: answers that do not pass the interface; sides behind a firewall that swallows probes or RSTs: their
end is told as not confirmed. A firewall that answers in the name of a side with a RST to what it does not let through
(``reject-with tcp-reset``) cannot be told from that side: the end that it feigns is told as one. What is sent takes the
way that the routing table has, not that of the interface. Sides that answer each other within less time than a look at
what was captured takes (a millisecond) may outrun every RST: that they live on is told.
"""

from __future__ import annotations

import secrets
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from tcpsight.decode import Decoding
from tcpsight.errors import TcpsightError
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
"""The same for one that was seen here: a SYN would have been seen, too. Where frames were dropped since, only one of
the two numbers may: the initial numbers of both move on when another connection begins."""

FURTHEST_BACK = 1 << 16
"""What was said last may have been said before."""

REPLACED = "its numbers are those of another connection"

REMEMBERED = 64
"""Of so many probes it is known what they acknowledged."""

PROBE_S = 0.05
PATTERN = 32
"""From so many segments it is told how the next ones will be."""

BEHIND, VOLLEY = 4, 2000
"""RSTs are sent for so many times the numbers that went by since the last look, and for so many at most."""


@dataclass(slots=True)
class Side:
    """One side of a connection that is to be ended, and what it says.

    `live` and `before` are what it said last while the interface was looked at, and in a file.
    """

    endpoint: Endpoint
    other: Endpoint
    live: Numbers | None = None
    before: Numbers | None = None
    numbers: Numbers | None = None
    has_ended: bool = False
    lives_on: bool = False
    probed_at: float = 0.0
    resets: int = 0
    ends: list[int] = field(default_factory=list)  # of the last segments that it was sent, in order
    acknowledged: deque[int] = field(default_factory=lambda: deque(maxlen=REMEMBERED))  # by the last probes

    @property
    def seen(self) -> Numbers | None:
        """What it said last of all."""
        return self.live or self.before


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
    has_gap: bool = False  # frames were dropped, a SYN perhaps among them

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
        for target in waiting:
            target.outcome = _unfit(target)
        self._probe_all(waiting)
        for frames in capture:
            if capture.dropped:
                for target in waiting:
                    target.has_gap = True
            self._take_all(self._decoding.feed(frames).rows)
            for target in [each for each in waiting if _is_over(each)]:
                waiting.remove(target)
                yield target
            if not waiting or time.monotonic() > until:
                break
            self._probe_all(waiting)
        for target in waiting:
            target.outcome = target.outcome or _late(target)
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
        resets = spoken["sequence_number"][spoken["flags"] & FLAG_RST != 0]
        if len(resets):
            side.has_ended |= bool(np.isin(resets, _numbers_of_its_rst(side)).any())
            side.probed_at = 0.0  # if it has not, it is asked again
        if target.outcome is not None or side.has_ended:
            return
        if flags & FLAG_SYN:
            target.outcome = Outcome(SPARED, "another connection has its endpoints now")
        elif target.must_be_idle and not target.is_touched and (spoken["payload_bytes"] > 0).any():
            target.outcome = Outcome(SPARED, "it is idle no longer")

    def _answer(self, target: Target, side: Side, numbers: Numbers) -> None:
        target.outcome = _doubtful(target, side, numbers)
        if target.outcome is not None:
            return
        side.numbers = numbers
        side.lives_on = side.resets > 0
        side.resets += 1
        try:
            self._sender.send_resets(side.other, side.endpoint, [numbers.expected, *_next(side)], self._window)
        except TcpsightError as error:
            target.outcome = Outcome(FAILED, str(error))
            return
        self._probe(target, side)

    def _probe_all(self, targets: Sequence[Target]) -> None:
        now = time.monotonic()
        for target in targets:
            for side in target.sides:
                if target.outcome is None and not side.has_ended and now - side.probed_at >= PROBE_S:
                    self._probe(target, side)

    def _probe(self, target: Target, side: Side) -> None:
        numbers = side.numbers or side.seen
        if numbers is None:  # what the other side said tells it nearly
            (other,) = (each for each in target.sides if each is not side)
            numbers = other.seen.swapped if other.seen is not None else None
        if numbers is None:
            return
        side.probed_at = time.monotonic()
        side.acknowledged.append(numbers.sent)
        try:
            self._sender.send(probe(side.other, side.endpoint, numbers, self._window))
        except TcpsightError as error:  # there is a way to the others
            target.outcome = Outcome(FAILED, str(error))


def _numbers_of_its_rst(side: Side) -> list[int]:
    """Give the sequence numbers that a RST of a side itself has: what a probe acknowledged, or what it sends next."""
    return [*side.acknowledged, *(each.sent for each in (side.numbers, side.seen) if each is not None)]


def _unfit(target: Target) -> Outcome | None:
    """Tell why a connection is left alone before anything is sent to it."""
    one, other = target.sides
    if target.must_be_idle and (one.seen is None or other.seen is None):
        return Outcome(SPARED, "only one side of it was seen, so nobody knows whether it is idle")
    for side, peer in ((one, other), (other, one)):
        if side.live is not None and any(_are_far(side.live, each, FURTHEST_UNSEEN) for each in _past(side, peer)):
            return Outcome(SPARED, REPLACED)
    return None


def _past(side: Side, peer: Side) -> list[Numbers]:
    """Give what a side said before, or what it should have said by what the other said."""
    if side.before is not None:
        return [side.before]
    return [peer.before.swapped] if peer.before is not None else []


def _doubtful(target: Target, side: Side, now: Numbers) -> Outcome | None:
    """Tell why a connection is left alone by what one of its sides says now."""
    (peer,) = (each for each in target.sides if each is not side)
    past = _past(side, peer)
    live = side.numbers or side.live
    if live is None and not past:
        live = peer.live.swapped if peer.live is not None else None
    if live is not None:
        is_another = _are_far(now, live, FURTHEST_SEEN)
        if target.has_gap:
            halves = (now._replace(sent=live.sent), now._replace(expected=live.expected))
            is_another |= all(_are_far(half, live, FURTHEST_UNSEEN) for half in halves)
    else:
        is_another = not past or any(_are_far(now, each, FURTHEST_UNSEEN) for each in past)
    if is_another:
        return Outcome(SPARED, REPLACED)
    if target.must_be_idle and not target.is_touched and not _has_rested(side, peer, now):
        return Outcome(SPARED, "it is idle no longer: its numbers have moved on")
    return None


def _has_rested(side: Side, peer: Side, now: Numbers) -> bool:
    """Tell whether a side says what was seen of it; what it had received or had sent its peer may have told."""
    seen, told = side.seen, peer.seen
    assert seen is not None
    assert told is not None
    return now.expected in (seen.expected, told.sent) and now.sent in (seen.sent, told.expected)


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


def _are_far(now: Numbers, seen: Numbers, furthest: int) -> bool:
    """Tell whether what a side says now cannot follow what was seen."""
    moved = ((new - old) % 2**32 for new, old in zip(now, seen, strict=True))
    return any(furthest < each < 2**32 - FURTHEST_BACK for each in moved)


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
