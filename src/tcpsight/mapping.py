"""A stretch of a capture becomes headers, divided among those who follow connections; in pieces of bounded size.

Theory of operation
-------------------
What a piece holds is what one worker would read there, batch by batch, but for the numbers of frames and interfaces:
these are added when it is known how many came before (`reducing.py`). Everything else that is told of a capture as a
whole goes with the piece as `Facts`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tcpsight.batches import Options
from tcpsight.capture.stretches import Learnt, Plan, Stretch
from tcpsight.capture.tags import TagSurvey
from tcpsight.connections.dividing import Division
from tcpsight.decode import Decoding
from tcpsight.selection import of_ports
from tcpsight.tables import Frames, Headers, UnseenCounter, joined_rows
from tcpsight.telling import Instants, Run, TellingSegments, telling

if TYPE_CHECKING:
    from tcpsight.capture.filter import FrameFilter
    from tcpsight.capture.link_offset import Passing

PIECE_SEGMENTS = 1 << 18
"""A piece ends with the first batch that makes it as long: 40 MB."""

PIECE_BATCHES = 256
"""Or with so many batches, of frames without segments."""


@dataclass(frozen=True, slots=True)
class Job:
    """What is done with a capture.

    Attributes
    ----------
    name : str
        Tells it from others.
    plan : Plan
        The capture.
    options : Options
        What is wanted.
    parts : int
        Among how many connections are divided.
    frame_filter : str or None
        Frames it does not match never reach a room.
    link_offset : int
        See `LinkOffset`.
    """

    name: str
    plan: Plan
    options: Options
    parts: int
    frame_filter: str | None = None
    link_offset: int = 0

    def passing(self) -> tuple[FrameFilter | None, TagSurvey]:
        """Make what frames go through, before anything is decoded."""
        frame_filter = None
        if self.frame_filter is not None:
            from tcpsight.capture.filter import FrameFilter

            frame_filter = FrameFilter(self.frame_filter)
        passing: Passing | None = frame_filter
        if self.link_offset:
            from tcpsight.capture.link_offset import LinkOffset

            passing = LinkOffset(self.link_offset, frame_filter)
        return frame_filter, TagSurvey(passing, of_several=len(self.plan.files) > 1)


class Block(NamedTuple):
    """The headers of one part in a piece, batch behind batch.

    Attributes
    ----------
    headers : ndarray of uint8
        Rows of `Headers`, as bytes: so they are sent as they are.
    rows : ndarray of int32
        Which of all headers of their batch they are.
    counts : list of int
        How many each batch has.
    """

    headers: np.ndarray[Any, np.dtype[np.uint8]]
    rows: np.ndarray[Any, np.dtype[np.int32]]
    counts: list[int]


class Times(NamedTuple):
    """The times of all headers of a piece, batch behind batch; and how many each batch has."""

    times_ns: np.ndarray[Any, np.dtype[np.int64]]
    counts: list[int]


@dataclass(slots=True)
class End:
    """What is known of a stretch when it was read to its end."""

    learnt: Learnt
    unseen: UnseenCounter
    joined_fragments: int
    tags: TagSurvey
    examined: int
    matched: int


@dataclass(slots=True)
class Facts:
    """What is known of a piece besides its headers.

    Attributes
    ----------
    frames, segments : int
        How many it has.
    batches : int
        How many there are in it.
    instants_ns : list of ndarray of int64
        Of the frames' instants those that tell.
    runs : list of Run
        Of the segments those that tell whether the clock was set forward.
    bytes_read : int
        How much of the stretch was read so far.
    end : End or None
        If it is the last piece.
    is_over : bool
        Whether it is none, and behind the last.
    """

    frames: int = 0
    segments: int = 0
    batches: int = 0
    instants_ns: list[Instants] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    bytes_read: int = 0
    end: End | None = None
    is_over: bool = False


class Piece(NamedTuple):
    """Some batches of a stretch."""

    blocks: list[Block]
    times: Times
    facts: Facts


class Mapping:
    """The pieces of a stretch; iterate them once.

    Parameters
    ----------
    job : Job
        What is wanted.
    begin : int
        The rank of the file with which the stretch begins.
    """

    def __init__(self, job: Job, begin: int) -> None:
        self._options = job.options
        self._stretch = Stretch(job.plan, begin)
        self._filter, self._tags = job.passing()
        self._decoding = Decoding(job.options.pairs)
        self._parts = job.parts

    def __iter__(self) -> Iterator[Piece]:
        gathered = _Gathered(self._parts)
        with closing(iter(self._stretch)) as captured:  # type: ignore[type-var]
            for frames in captured:
                self._take(frames, gathered)
                facts = gathered.facts
                if facts.segments >= PIECE_SEGMENTS or facts.batches >= PIECE_BATCHES:
                    facts.bytes_read = self._stretch.bytes_read
                    yield gathered.piece()
                    gathered = _Gathered(self._parts)
        self._decoding.finish()
        frame_filter = self._filter
        gathered.facts.end = End(
            self._stretch.learnt(),
            self._decoding.unseen,
            self._decoding.joined_fragments,
            self._noticed(),
            0 if frame_filter is None else frame_filter.examined,
            0 if frame_filter is None else frame_filter.matched,
        )
        self._stretch.close()
        yield gathered.piece()

    def _take(self, captured: Frames, gathered: _Gathered) -> None:
        """Take a batch, as `Pipeline` does."""
        headers = self._decoding.feed(self._tags.apply(captured))
        if self._options.ports:
            headers = headers[of_ports(headers, self._options.ports)]
        whole = captured.whole()
        if len(whole) < len(captured):
            headers = headers[: int(np.count_nonzero(headers.frame_number < captured.frame_number[len(whole)]))]
        gathered.add(headers, whole)

    def _noticed(self) -> TagSurvey:
        noticed = TagSurvey()
        noticed.merge(self._tags)
        return noticed


class _Gathered:
    """Batches that become a piece."""

    def __init__(self, parts: int) -> None:
        self.facts = Facts()
        self._segments = TellingSegments()
        self._parts = parts
        self._headers: list[list[np.ndarray[Any, Any]]] = [[] for _ in range(parts)]
        self._rows: list[list[np.ndarray[Any, np.dtype[np.int32]]]] = [[] for _ in range(parts)]
        self._times: list[np.ndarray[Any, np.dtype[np.int64]]] = []

    def add(self, headers: Headers, whole: Frames) -> None:
        """Take a batch."""
        facts = self.facts
        facts.frames += len(whole)
        facts.segments += len(headers)
        facts.batches += 1
        facts.instants_ns.append(telling(np.ascontiguousarray(whole.time_ns)))
        self._segments.feed(whole, headers)
        # Each batch has a division of its own, whose blocks are copied once, when the piece is made.
        for part, (some, among) in enumerate(Division(self._parts).divide(headers)):
            self._headers[part].append(some.rows)
            self._rows[part].append(among.rows)
            if not part:
                self._times.append(among.times_ns)

    def piece(self) -> Piece:
        """Give what there is."""
        self._segments.finish()
        self.facts.runs = self._segments.runs
        nothing = Headers().rows
        blocks = [
            Block(
                joined_rows(headers or [nothing]).view(np.uint8), _joined(rows, np.int32), [len(each) for each in rows]
            )
            for headers, rows in zip(self._headers, self._rows, strict=True)
        ]
        times = Times(_joined(self._times, np.int64), [len(each) for each in self._times])
        return Piece(blocks, times, self.facts)


def _joined(arrays: list[Any], dtype: Any) -> Any:
    return np.concatenate(arrays) if arrays else np.zeros(0, dtype)


def every_piece(job: Job) -> Iterator[tuple[Piece, int, int]]:
    """Go through all pieces of a capture in order; give with each how many frames and interfaces came before.

    Parameters
    ----------
    job : Job
        What is wanted.
    """
    begin = frames = interfaces = 0
    while begin < len(job.plan.files):
        end = None
        for piece in Mapping(job, begin):
            yield piece, frames, interfaces
            end = piece.facts.end
        assert end is not None
        frames += end.learnt.frames
        interfaces += len(end.learnt.interfaces)
        begin = end.learnt.following
