"""A pass over a capture that goes on where another one ended, and leaves what it knows to the next one.

Three workers at most take part, side by side: they have one set of rooms, which is what is carried (`carrying.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from typing import Any

from tcpsight import carrying
from tcpsight.batches import NOWHERE, Batch, Before, Positions
from tcpsight.carrying import Memory, Out, Source
from tcpsight.connections import Tracked
from tcpsight.model.clock_leaps import ClockLeaps
from tcpsight.model.clock_steps import ClockSteps
from tcpsight.model.silences import Silences
from tcpsight.pipeline import BLOCKS_OF_THREADS, Pipeline, seed
from tcpsight.rooms import Rooms
from tcpsight.tables import Frames, Headers, UnseenCounter


class Continuing(Pipeline):
    """Everything that one pass over a capture gives, whose connections may have begun before it, and go on after it.

    Attributes
    ----------
    at_begin : callable, optional
        Called with the instant of the first frame, before anything is done with it: the time to `go_on`.
    at_end : callable, optional
        Called when all frames have been taken, and all batches that they made: the time to `carry`. The batches that
        come after it are those of connections that are still open. It is not called for a capture that broke off.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.at_begin: Callable[[int], None] | None = None
        self.at_end: Callable[[], object] | None = None
        self._before = Before(0, 0)
        self._known = UnseenCounter()
        self._frames: Iterator[Frames] = iter(())
        self._first: Frames | None = None

    def go_on(self, source: Source) -> None:
        """Go on where another capture ended.

        Parameters
        ----------
        source : Source
            What `carry` wrote.

        Raises
        ------
        ValueError
            Something is wrong with it: nothing was changed.
        """
        blocks = 1 if self.options.workers == 1 else BLOCKS_OF_THREADS
        rooms = Rooms(self.options, seed(), blocks=blocks)
        memory = Memory(Silences(), ClockSteps(), ClockLeaps())
        self._before = carrying.read(source, rooms, memory)
        self._counted = self._rooms = rooms
        self.silences, self.clock_steps, self.clock_leaps = memory

    def carry(self, out: Out) -> int:
        """Write what is known of open connections, for another pass to go on with; give how many they are."""
        memory = Memory(self.silences, self.clock_steps, self.clock_leaps)
        interfaces = len(self._capture.interfaces)  # type: ignore[attr-defined]
        before = Before(self._before.frames + self.frames, self._before.interfaces + interfaces)
        return carrying.write(out, self._rooms, memory, before)

    @property
    def unseen(self) -> UnseenCounter:
        """What was not understood so far, by all rooms."""
        total = self.unseen_before_end
        total.merge(self.unseen_at_end)
        return total

    @property
    def unseen_before_end(self) -> UnseenCounter:
        """What of that was not told by the end of connections that were still open."""
        total = UnseenCounter()
        for counted in (self._capture.unseen, self._decoding.unseen):  # type: ignore[attr-defined]
            total.merge(counted)
        first_frame = total.counts[:, 2]
        first_frame[first_frame > 0] += self._before.frames
        total.merge(self._known)
        return total

    @property
    def unseen_at_end(self) -> UnseenCounter:
        """The rest."""
        total = UnseenCounter()
        for counted in self._counted.unseen:
            total.merge(counted)
        return total

    def __iter__(self) -> Iterator[Batch]:
        self._frames = super()._captured()
        self._first = next((frames for frames in self._frames if len(frames)), None)
        if self._first is not None and self.at_begin is not None:
            self.at_begin(int(self._first.time_ns[0]))
        yield from self._through(self._tracked_frames())
        self._decoding.finish()
        if self.broken is None and self.at_end is not None:
            for counted in self._counted.unseen:
                self._known.merge(counted)
                counted.counts[:] = 0
            self.at_end()
        yield from self._through(self._rooms.finish())

    def _through(self, parts: Iterable[tuple[Headers, Tracked]]) -> Iterator[Batch]:
        """Push tracked parts through the other rooms."""
        if self.options.workers == 1:
            yield from self._batches(parts, NOWHERE)
            return
        from tcpsight.side_by_side import SideBySide

        with closing(SideBySide(parts, self._rooms)) as made:
            yield from map(self._selected, made)

    def _tracked_frames(self) -> Iterator[tuple[Headers, Tracked]]:
        for captured in self._captured():
            yield from self._rooms.feed(self._decoded(captured)[0])

    def _captured(self) -> Iterator[Frames]:
        first, self._first = self._first, None
        if first is not None:
            yield first
        del first
        yield from self._frames

    def _decoded(self, captured: Frames) -> tuple[Headers, Positions]:
        headers, kept = super()._decoded(captured)
        self._before.add_to(headers.rows)
        return headers, kept
