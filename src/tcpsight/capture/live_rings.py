"""Frames of the kernel's packet rings, of one interface as they come, of several in order of time.

Theory of operation
-------------------
Every interface has a ring of its own (`tcpsight.capture.ring`), all in one stretch of memory, so that a batch has rows
of several. Of one interface frames are given as they lie in its ring. Of several they are merged by time: an interface
has told all until its last frame, or, where it is silent, until some time before it was looked at (below); what is
younger than that of any of them waits in its ring, so that a request on one interface comes before its response on
another. Where waiting would fill half of a ring, everything is given.

The kernel hands over a block after two ticks of its clock at most, so a ring that was found empty had been given
everything before the look less two ticks; `MARGIN_NS` beyond that is for a machine that is late.

A look that found all there was is followed by a rest of up to one tick, so that many frames cost few looks: as long as
the rings filled little meanwhile (`FULL`), or else for ever shorter.

What it cannot see: which frame of several interfaces came first, where their times are equal; and frames of one
interface are not put in order, so that those of several processors may be stamped in another order than they are given.
"""

from __future__ import annotations

import select
import time
from typing import TYPE_CHECKING

import numpy as np

from tcpsight.capture._ring import RingMemory
from tcpsight.capture.live import FOREVER_NS, MARGIN_NS, MS, LiveCapture
from tcpsight.capture.reader import BATCH_FRAMES, CaptureInterface
from tcpsight.capture.ring import ANY, Ring
from tcpsight.tables import Frames

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tcpsight.capture.live_filter import LiveFilter
    from tcpsight.capture.ring import RingShape

CARE_NS = 200_000_000
"""How often interfaces that went away are looked for."""

FULL, EMPTY = 1 / 4, 1 / 16
"""Shares of a ring that fill between two looks: from the first on rests get shorter, up to the second longer."""


class RingCapture(LiveCapture):
    """Frames of packet rings."""

    def __init__(
        self, names: Sequence[str], shape: RingShape, wanted: LiveFilter, wait_ns: int, *, is_promiscuous: bool
    ) -> None:
        super().__init__(names, wait_ns)
        self._shape, self._filter = shape, wanted
        self._memory = RingMemory(len(names), shape.block_bytes * shape.blocks)
        self._rings: list[Ring] = []
        self._table = Frames.allocate(BATCH_FRAMES)
        self._waiting = np.zeros(0, Frames.dtype)
        self._frames = 0
        self._cared_ns = 0
        self._rest_ms = 1
        self._has_more = False
        try:
            for index, name in enumerate(names):
                ring = Ring(name, index, shape, self._memory)
                self._rings.append(ring)
                found = CaptureInterface(0, name, ring.link_type, 10**9, shape.snaplen, kernel_drops=0)
                self.interfaces.append(found)
                ring.set_filter(wanted)
            for ring in self._rings:
                ring.begin(is_promiscuous=is_promiscuous)
        except BaseException:
            self.close()
            raise

    @property
    def received_by_interface(self) -> list[int]:
        """Frames of each interface that the filter let through so far, the dropped ones included."""
        return [ring.received for ring in self._rings]

    @property
    def dropped(self) -> int:
        """Frames that found no room in their ring."""
        return sum(ring.dropped for ring in self._rings)

    @property
    def up_by_interface(self) -> dict[str, bool]:
        """Whether each interface is there and up at the moment; all of them together are nothing that is up."""
        return {ring.name: ring.is_up for ring in self._rings if ring.name != ANY}

    def name_of(self, number: int) -> str | None:
        """Tell what the interface is called that has this number in cooked frames; None where there is none."""
        return self._rings[0].name_of(number)

    def close(self) -> None:
        """Give up the interfaces; rows that were given point to nothing any more."""
        super().close()
        for ring in self._rings:
            ring.close()

    @property
    def _late_ns(self) -> int:
        """How long a frame may be in a ring before its block is handed over."""
        return 2 * self._shape.tick_ms * MS + MARGIN_NS

    def _shut(self) -> int:
        for ring in self._rings:
            ring.shut()
        return self._late_ns

    def _look(self, *, is_last: bool) -> Frames:
        for ring in self._rings:
            ring.count(self.interfaces[ring.index], is_last=is_last)
        if time.monotonic_ns() - self._cared_ns >= CARE_NS:
            self._care()
        self._damaged = sum(ring.walk.damaged for ring in self._rings)
        frames = self._one() if len(self._rings) == 1 else self._several(is_last=is_last)
        return self._filter.apply(frames) if len(frames) else frames

    def _one(self) -> Frames:
        """Give what the only ring holds."""
        (ring,) = self._rings
        looked_ns = time.time_ns()
        walk, rows = ring.walk, self._table.rows
        walk.release(self._memory)
        # So much may be in use that the kernel still has room.
        count = walk.walk(self._memory, rows.view(np.uint8), max(self._shape.blocks // 4, 1))
        self._has_more = count == BATCH_FRAMES
        if count:
            return Frames(rows[:count], data=self._memory)
        return Frames(until_ns=looked_ns - self._late_ns)

    def _several(self, *, is_last: bool) -> Frames:
        """Give what all rings tell until the same instant, in order of time."""
        self._release()
        fresh, complete_ns = [self._waiting], FOREVER_NS
        looked_ns = time.time_ns()
        is_full = self._has_more = False
        for ring in self._rings:
            rows = np.empty(BATCH_FRAMES, Frames.dtype)
            most = max(self._shape.blocks // 2, 1)
            count = ring.walk.walk(self._memory, rows.view(np.uint8), most)
            fresh.append(rows[:count])
            silent_ns = looked_ns - self._late_ns if count < BATCH_FRAMES else 0
            self._has_more |= count == BATCH_FRAMES
            complete_ns = min(complete_ns, told_until_ns(ring.walk.last_ns, looked_ns, silent_ns))
            is_full |= ring.walk.held >= most
        rows = np.concatenate(fresh)
        order = np.argsort(rows["time_ns"], kind="stable")
        if not is_last and not is_full:
            order = order[: int(np.searchsorted(rows["time_ns"][order], complete_ns, "right"))]
        kept = np.ones(len(rows), np.bool_)
        kept[order] = False
        given, self._waiting = rows[order], rows[kept]
        if not len(given):
            return Frames(until_ns=min(complete_ns, looked_ns - self._late_ns))
        numbers = np.arange(self._frames + 1, self._frames + len(given) + 1)
        given["frame_number"] = given["frame_in_file"] = numbers
        self._frames += len(given)
        return Frames(given, data=self._memory)

    def _release(self) -> None:
        """Give back the blocks that no waiting row points into."""
        shape = self._shape
        for index, ring in enumerate(self._rings):
            own = self._waiting["position"][self._waiting["interface_id"] == index]
            if not len(own):
                ring.walk.release(self._memory)
                continue
            blocks = (own - index * self._memory.ring_bytes) // shape.block_bytes
            first = int(((blocks - ring.walk.oldest) % shape.blocks).min())
            ring.walk.release(self._memory, (ring.walk.oldest + first) % shape.blocks)

    def _wait(self, nanoseconds: int) -> None:
        # A ring of which a block is in use is always ready to the kernel: then only time ends the wait.
        is_held = len(self._waiting) > 0
        poll = select.poll()
        poll.register(self._woken, select.POLLIN if not self._is_stopped else 0)
        for ring in self._rings if not is_held else ():
            poll.register(ring, select.POLLIN | select.POLLERR)
        most_ms = max(nanoseconds // MS, 1)
        ready = poll.poll(min(most_ms, self._shape.tick_ms) if is_held else most_ms)
        if any(event & select.POLLERR for _, event in ready):
            self._care()

    def _rest(self) -> None:
        if self._has_more:
            return
        filled = max(ring.walk.held for ring in self._rings) / self._shape.blocks
        self._rest_ms = next_rest_ms(self._rest_ms, filled, self._shape.tick_ms)
        poll = select.poll()
        poll.register(self._woken, select.POLLIN)
        poll.poll(self._rest_ms)

    def _care(self) -> None:
        """Look after interfaces that went away or came back."""
        self._cared_ns = time.monotonic_ns()
        for ring in self._rings:
            ring.look_after()


def next_rest_ms(rest_ms: int, filled: float, most_ms: int) -> int:
    """Tell how long to rest after a rest of `rest_ms`, since when this share of a ring was filled."""
    if filled >= FULL:
        return rest_ms // 2
    if filled <= EMPTY:
        return min(max(2 * rest_ms, 1), most_ms)
    return rest_ms


def told_until_ns(last_ns: int, looked_ns: int, silent_ns: int) -> int:
    """Tell until when a ring has told all: its last frame, or the time until which it is known to have been silent.

    A frame from the future tells that the clock was set back since: it says nothing of what comes now.
    """
    return max(silent_ns, last_ns) if last_ns <= looked_ns else silent_ns
