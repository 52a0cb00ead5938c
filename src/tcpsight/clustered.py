"""One pass over a capture whose work is done elsewhere, by an engine; nobody can tell from the rows.

Theory of operation
-------------------
Map: files are read in stretches, and a stretch in pieces (`mapping.py`); several stretches are read ahead, each a few
pieces. Shuffle: of a piece each part of the connections gets its headers, and the times of all; the engine carries
them. Reduce: rooms of its own follow the connections of a part through one piece after the other (`reducing.py`). What
they made is put into order here, as that of several threads is (`parts.py`). So memory is bounded, on every machine: by
pieces that are under way, and by what a part remembers of open connections.

Steps are done by whoever has the state (`resuming.py`). Each waits for the one before it; every `BREATH` steps that is
waited for here, so that an engine has not to remember how everything came about, back to the first.

What it cannot do: give rows of segments, headers, or what is still open; whoever needs those reads by himself.
"""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from tcpsight import resuming
from tcpsight.batches import Before
from tcpsight.errors import CaptureError
from tcpsight.mapping import Facts, Job
from tcpsight.parts import Part, merged
from tcpsight.pipeline import Options, Pipeline
from tcpsight.resuming import At
from tcpsight.rooms import Made
from tcpsight.tables import Headers, UnseenCounter

if TYPE_CHECKING:
    from tcpsight.batches import Batch
    from tcpsight.capture import Capture
    from tcpsight.capture.filter import FrameFilter
    from tcpsight.capture.tags import TagSurvey

PIECES_AHEAD = 2
"""So many pieces of a stretch that is being followed are read ahead."""

UNDER_WAY = 2
"""So many pieces are followed at once, by each part one after the other."""

BREATH = 32


class Engine(Protocol):
    """What does work somewhere."""

    @property
    def places(self) -> int:
        """How many things it does at once."""

    def submit(self, function: Callable[..., Any], *arguments: Any, place: int | None = None) -> Any:
        """Have something done when the arguments that it gave before are there; give what stands for the result.

        `place` says where, so that what was done there before is at hand; it may be done elsewhere.
        """

    def result(self, promised: Any) -> Any:
        """Wait for a result."""

    def give_up(self, promised: list[Any]) -> None:
        """Do not do, or forget, what nobody waits for any more."""

    def everywhere(self, function: Callable[..., None], *arguments: Any) -> None:
        """Have something done by every process that is there."""


class Clustered(Pipeline):
    """A pass whose work an engine does.

    Parameters
    ----------
    capture : Capture
        Files by name.
    options : Options
        What is wanted.
    engine : Engine
        What does it.
    frame_filter : FrameFilter or None
        Which counts what the engine's did.
    tags : TagSurvey
        Likewise.
    link_offset : int
        See `LinkOffset`.
    """

    def __init__(
        self,
        capture: Capture,
        options: Options,
        engine: Engine,
        *,
        frame_filter: FrameFilter | None,
        tags: TagSurvey,
        link_offset: int = 0,
    ) -> None:
        super().__init__(capture, replace(options, workers=1))
        self._files = capture
        self._engine = engine
        self._frame_filter = frame_filter
        self._tags = tags
        self._link_offset = link_offset
        self._joined = 0
        self._of_parts: list[tuple[UnseenCounter, ...]] = []

    @property
    def joined_fragments(self) -> int:
        """How many frames gave no segment of their own."""
        return self._joined

    @property
    def unseen(self) -> UnseenCounter:
        """What was not understood; whole when the last batch was taken."""
        total = UnseenCounter()
        counted = (self._files.unseen, self._decoding.unseen, *(each for part in self._of_parts for each in part))
        for each in counted:
            total.merge(each)
        return total

    def __iter__(self) -> Iterator[Batch]:
        expression = None if self._frame_filter is None else self._frame_filter.expression
        name = uuid.uuid4().hex
        job = Job(name, self._files.plan(), self.options, self._engine.places, expression, self._link_offset)
        with closing(_Passing(self._engine, job)) as passing:
            yield from map(self._selected, self._made(passing))

    def _made(self, passing: _Passing) -> Iterator[Made]:
        for facts in passing.pieces():
            self._note(facts, passing.before)
            yield from passing.next_rows(UNDER_WAY)
        yield from passing.next_rows(0)
        for _ in self._captured():  # files without frames, and what broke off
            raise AssertionError("a file had no frames when it was looked at")
        if self._frame_filter is not None and self._frame_filter.matched == 0:
            self._survey()
        yield from passing.last_rows(self._of_parts)

    def _note(self, facts: Facts, before: Before) -> None:
        self.frames += facts.frames
        self.segments += facts.segments
        for instants_ns in facts.instants_ns:
            self.silences.feed(instants_ns)
            self.clock_steps.feed(instants_ns)
        for run in facts.runs:
            if not run.is_next:
                self.clock_leaps.begin_anew()
            self.clock_leaps.feed(run.instants_ns, Headers(run.rows.view(Headers.dtype)))
        self._files.bytes_read_elsewhere = facts.bytes_read
        if facts.end is not None:
            end = facts.end
            first_frame = end.unseen.counts[:, 2]
            first_frame[first_frame > 0] += before.frames
            self._decoding.unseen.merge(end.unseen)
            self._joined += end.joined_fragments
            self._tags.merge(end.tags)
            if self._frame_filter is not None:
                self._frame_filter.matched += end.matched
            self._files.learn(end.learnt)

    def _survey(self) -> None:
        """Let the filter, which no frame came through, look at frames: it will be asked why."""
        from tcpsight.capture import open_capture

        assert self._frame_filter is not None
        with suppress(CaptureError), open_capture([each.path for each in self._files.files], skips_bad=True) as again:
            for frames in again:
                self._frame_filter.apply(frames)


class _Passing:
    """What an engine was asked to do for one pass."""

    def __init__(self, engine: Engine, job: Job) -> None:
        self._engine = engine
        self._job = job
        self._shared = engine.submit(_same, job)
        self._stretches: dict[int, _Asked] = {}
        self._under_way: deque[list[Any]] = deque()
        self._steps: list[Any] = [None] * job.parts
        self._pieces = 0
        self._promised: set[Any] = {self._shared}
        self.before = Before(0, 0)

    def close(self) -> None:
        """Give up what is under way."""
        self._engine.give_up(list(self._promised))
        self._engine.everywhere(resuming.forget, self._job.name)

    def pieces(self) -> Iterator[Facts]:
        """Give the facts of each piece in order, after the rows that come of it were asked for."""
        begin, files = 0, len(self._job.plan.files)
        while begin < files:
            for other in [other for other in self._stretches if other < begin]:
                self._drop(self._stretches.pop(other).left())
            stretch = self._stretches.pop(begin, None) or _Asked(self, begin)
            ahead = range(begin + 1, min(begin + 1 + 2 * self._engine.places, files))
            end = None
            while end is None:
                stretch.ask(PIECES_AHEAD)
                for other in ahead:
                    if other not in self._stretches:
                        self._stretches[other] = _Asked(self, other)
                        self._stretches[other].ask(1)
                piece, promised = stretch.next()
                facts: Facts = self._engine.result(promised)
                self._follow(piece)
                self._drop([piece, promised])
                yield facts
                end = facts.end
            self._drop(stretch.left())
            begin = end.learnt.following
            self.before = Before(
                self.before.frames + end.learnt.frames, self.before.interfaces + len(end.learnt.interfaces)
            )

    def submit(self, function: Callable[..., Any], *arguments: Any, place: int | None = None) -> Any:
        """Have something done for this pass."""
        promised = self._engine.submit(function, *arguments, place=place)
        self._promised.add(promised)
        return promised

    def ask_for_piece(self, begin: int, number: int, after: Any) -> tuple[Any, Any]:
        """Ask for a piece of a stretch, and for its facts."""
        if number % BREATH == 0 and after is not None:
            after = self._engine.result(after)
        piece = self.submit(resuming.piece, self._shared, begin, number, after, place=begin)
        return piece, self.submit(resuming.facts_of, piece, place=begin)

    def _follow(self, piece: Any) -> None:
        times = self.submit(resuming.times_of, piece)
        asked = []
        for part in range(self._job.parts):
            block = self.submit(resuming.block_of, piece, part)
            asked.append(self._step(part, resuming.rows, At(part, self._pieces), block, times, self.before))
            self._drop([block])
        self._drop([times])
        self._under_way.append(asked)
        self._pieces += 1

    def _step(self, part: int, function: Callable[..., Any], at: At, *arguments: Any) -> Any:
        """Have the next step of a part done, after the one before it."""
        after = self._steps[part]
        if after is not None and at.step % BREATH == 0:
            self._engine.result(after)
            self._drop([after])
            after = None
        promised = self.submit(function, self._shared, at, *arguments, after, place=part)
        self._steps[part] = self.submit(resuming.done, promised)
        if after is not None:
            self._drop([after])
        return promised

    def next_rows(self, left: int) -> Iterator[Made]:
        """Give the rows of pieces, the first first, until no more than so many are under way."""
        while len(self._under_way) > left:
            asked = self._under_way.popleft()
            made: list[list[list[Part]]] = [self._engine.result(each) for each in asked]
            self._drop(asked)
            for of_batch in zip(*made, strict=True):
                yield from merged([iter(parts).__next__ for parts in of_batch])

    def last_rows(self, counts: list[tuple[UnseenCounter, ...]]) -> Iterator[Made]:
        """End the capture; give what is left, and what was not understood by each part."""
        last = [_Last(self, part, self._pieces) for part in range(self._job.parts)]
        yield from merged([each.next_part for each in last])
        counts += [each.unseen for each in last]

    def ask_for_last(self, part: int, number: int, pieces: int) -> Any:
        """Ask a part for what is left when the capture has ended."""
        return self._step(part, resuming.last_rows, At(part, number), pieces)

    def taken(self, promised: Any) -> Any:
        """Wait for a result, and forget it elsewhere."""
        result = self._engine.result(promised)
        self._drop([promised])
        return result

    def _drop(self, promised: list[Any]) -> None:
        self._promised.difference_update(promised)
        self._engine.give_up(promised)


class _Asked:
    """The pieces of a stretch that were asked for."""

    def __init__(self, passing: _Passing, begin: int) -> None:
        self._passing = passing
        self._begin = begin
        self._asked: deque[tuple[Any, Any]] = deque()
        self._number = 0
        self._after: Any = None

    def ask(self, ahead: int) -> None:
        """Let so many be under way."""
        while len(self._asked) < ahead:
            piece, facts = self._passing.ask_for_piece(self._begin, self._number, self._after)
            self._asked.append((piece, facts))
            self._number += 1
            self._after = facts

    def next(self) -> tuple[Any, Any]:
        """Give the next one, and its facts."""
        return self._asked.popleft()

    def left(self) -> list[Any]:
        """Give all that was asked for and not used."""
        return [each for pair in self._asked for each in pair]


class _Last:
    """What is left of a part when the capture has ended, some at a time."""

    def __init__(self, passing: _Passing, part: int, pieces: int) -> None:
        self._passing = passing
        self._part = part
        self._pieces = pieces
        self._asked = 0
        self._parts: deque[Part] = deque()
        self._promised = self._ask()
        self.unseen: tuple[UnseenCounter, ...] = ()

    def next_part(self) -> Part:
        """Wait for the next part."""
        if not self._parts:
            parts, self.unseen = self._passing.taken(self._promised)
            self._parts.extend(parts)
            if not parts[-1].is_whole:
                self._promised = self._ask()
        return self._parts.popleft()

    def _ask(self) -> Any:
        self._asked += 1
        return self._passing.ask_for_last(self._part, self._asked - 1, self._pieces)


def _same(job: Job) -> Job:
    return job
