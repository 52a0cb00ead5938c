"""Steps back of the clock that stamps frames: after one, the capture goes through times that it had before.

Theory of operation
-------------------
Frames of several queues, interfaces or files come out of order by milliseconds, and one frame may have any stamp. A
clock that was set back shows in all frames that follow: a step is `CONFIRMING` frames in a row that lie `LEAST_NS` or
more before the latest one but one (a single frame from the future is no clock). How far it goes back is told by the
first of them. From there on the clock is theirs.

What was recorded took as long as the stamps of the first and the last frame are apart, and what was stepped back: rates
of the whole capture are over that time. Slices of time hold what happened in both, and their rates are sums of both.

Frames are looked at one by one only where one was stamped so long before the one in front of it.

What it cannot see: steps of less than a second, or in the last frames; two machines' frames in one file whose clocks
differ by seconds, which take turns in long runs: each run looks like a step. Steps forward are times in which nothing
was captured: `tcpsight.model.clock_leaps` and `tcpsight.model.silences`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

LEAST_NS = 1_000_000_000
"""Out of order by less is what machines do."""

CONFIRMING = 3
"""So many frames in a row, so that one or two with a wrong stamp are no step."""

Instants = np.ndarray[Any, np.dtype[np.int64]]


class ClockSteps:
    """Collect steps back.

    Feed instants in the order of capture. How they are cut never changes the result.

    Attributes
    ----------
    steps : int
        How many there were.
    back_ns : int
        How far they went back together.
    """

    def __init__(self) -> None:
        self.steps = 0
        self.back_ns = 0
        self._first_ns: int | None = None
        # The two latest instants, the lower one first: it is the clock.
        self._latest: list[int] = []
        self._behind: list[int] = []

    def feed(self, instants_ns: Instants) -> None:
        """Take when the next frames were captured, shape (n,)."""
        if not len(instants_ns):
            return
        if self._first_ns is None:
            self._first_ns = int(instants_ns[0])
        if not self._behind and self._ascend(instants_ns):
            for instant_ns in instants_ns[-2:].tolist():
                self._remember(instant_ns)
            return
        if not self._behind and self._are_in_order(instants_ns):
            at = int(instants_ns.argmax())
            for part in (instants_ns[:at], instants_ns[at : at + 1], instants_ns[at + 1 :]):
                if len(part):
                    self._remember(int(part.max()))
            return
        for instant_ns in instants_ns.tolist():
            self._take(instant_ns)

    @property
    def passed_ns(self) -> int | None:
        """How long recording took, the steps back added; None where no frame was seen."""
        if self._first_ns is None:
            return None
        return self._latest[-1] - self._first_ns + self.back_ns

    @property
    def clock_ns(self) -> int | None:
        """What the clock showed last; None where no frame was seen."""
        return self._latest[0] if self._latest else None

    def carried(self) -> list[Any]:
        """Give what is remembered of the frames so far, without the steps that were found."""
        return [self._first_ns, self._latest, self._behind]

    def go_on(self, carried: list[Any]) -> None:
        """Go on behind the frames of which `carried` was given."""
        first_ns, latest, behind = carried
        self._first_ns = None if first_ns is None else int(first_ns)
        self._latest, self._behind = sorted(map(int, latest))[-2:], list(map(int, behind))[: CONFIRMING - 1]

    def _ascend(self, instants_ns: Instants) -> bool:
        """Tell whether none was stamped before the one in front of it, as nearly always: that is told at once."""
        is_first = len(self._latest) < 2 or bool(instants_ns[0] >= self._latest[-1])
        return is_first and bool((instants_ns[1:] >= instants_ns[:-1]).all())

    def _are_in_order(self, instants_ns: Instants) -> bool:
        """Tell whether none was stamped so long before the one in front of it."""
        is_first = len(self._latest) < 2 or bool(instants_ns[0] > self._latest[-1] - LEAST_NS)
        return is_first and bool((np.diff(instants_ns) > -LEAST_NS).all())

    def _remember(self, instant_ns: int) -> None:
        self._latest = sorted([*self._latest, instant_ns])[-2:]

    def _take(self, instant_ns: int) -> None:
        if len(self._latest) < 2 or instant_ns > self._latest[0] - LEAST_NS:
            self._remember(instant_ns)
            self._behind.clear()
            return
        self._behind.append(instant_ns)
        if len(self._behind) == CONFIRMING:
            self.steps += 1
            self.back_ns += self._latest[0] - self._behind[0]
            self._latest = sorted(self._behind)[-2:]
            self._behind.clear()
