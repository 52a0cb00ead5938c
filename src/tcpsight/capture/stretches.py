"""A capture of several files that is read in stretches, by several readers that know nothing of each other.

Theory of operation
-------------------
Files are ranked as ever (`merging`). A stretch begins with one of them and ends at the next seam: where every file that
has been opened was read to its end, and the next has not begun. Nothing of what a merge remembers goes over a seam but
numbers of frames and interfaces, to which those of the stretches in front of it are added later. So whoever reads a
stretch, when and where, the frames are the same, in the same batches.

Where the seams are is known only when a stretch has been read: files that overlap make one. A stretch that was begun
with a file that belongs to the one before it was begun in vain.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from tcpsight.capture.inputs import Input
from tcpsight.capture.merging import Merge
from tcpsight.errors import CaptureError

if TYPE_CHECKING:
    from tcpsight.capture.reader import CaptureFile, CaptureInterface, ReadOptions
    from tcpsight.tables import Frames


@dataclass(frozen=True, slots=True)
class PlannedFile:
    """A file that was looked at.

    Attributes
    ----------
    source : str
        Where it is, for whoever reads it.
    index : int
        Its place in the order given.
    first_ns : int or None
        The time of its first frame; None where that was not asked.
    """

    source: str
    index: int
    first_ns: int | None


@dataclass(frozen=True, slots=True)
class Plan:
    """What several readers need to know of a capture: its files with frames, in the order of their rank.

    Attributes
    ----------
    files : list of PlannedFile
        One or more; one is read without being looked at.
    options : ReadOptions
        What the user chose.
    """

    files: list[PlannedFile]
    options: ReadOptions


@dataclass(slots=True)
class Learnt:
    """What is known of a stretch that was read.

    Attributes
    ----------
    begin, following : int
        The rank of its first file, and of the first one behind it.
    frames : int
        How many it has.
    files : list of CaptureFile
        What was learnt of its files, by rank.
    numbers : list of ndarray
        For each, the number within the stretch of each of its interfaces, −1 for those without frames.
    interfaces : list of CaptureInterface
        Those with frames, by that number.
    failures : dict of int to CaptureError
        Which files broke off, by rank.
    bytes_read : list of int
        How much of each file was read.
    """

    begin: int
    following: int
    frames: int = 0
    files: list[CaptureFile] = field(default_factory=list)
    numbers: list[np.ndarray[Any, np.dtype[np.int64]]] = field(default_factory=list)
    interfaces: list[CaptureInterface] = field(default_factory=list)
    failures: dict[int, CaptureError] = field(default_factory=dict)
    bytes_read: list[int] = field(default_factory=list)


class Stretch:
    """The frames of a stretch, batch by batch; where files break off they end, and `learnt` says so.

    Parameters
    ----------
    plan : Plan
        The capture.
    begin : int
        The rank of the file with which it begins.
    """

    def __init__(self, plan: Plan, begin: int) -> None:
        self._begin = begin
        self._files = plan.files[begin:]
        self._inputs: list[Input] = []
        for planned in self._files:
            each = Input(planned.source, planned.index, plan.options)
            each.file.first_ns = planned.first_ns
            self._inputs.append(each)
        self._merge = None if len(plan.files) == 1 else _UpToSeam(self._inputs, plan.options)
        self._failures: dict[int, CaptureError] = {}
        self._frames = 0

    @property
    def bytes_read(self) -> int:
        """Bytes of its files, as they are stored, read so far."""
        return sum(each.bytes_read for each in self._inputs[: self._opened])

    @property
    def _opened(self) -> int:
        return 1 if self._merge is None else self._merge.opened

    def __iter__(self) -> Iterator[Frames]:
        made = self._inputs[0].batches() if self._merge is None else self._merge.batches()
        with closing(made):
            try:
                for frames in made:
                    self._frames += len(frames)
                    yield frames
            except CaptureError as failure:
                self._failures[0] = failure.with_traceback(None)
        if self._merge is not None:
            self._failures = self._merge.failures

    def learnt(self) -> Learnt:
        """Tell what is known when all of it has been read."""
        opened = self._opened
        inputs = self._inputs[:opened]
        learnt = Learnt(self._begin, self._begin + opened, self._frames)
        learnt.files = [each.file for each in inputs]
        learnt.bytes_read = [each.bytes_read for each in inputs]
        learnt.failures = {self._begin + rank: failure for rank, failure in self._failures.items()}
        if self._merge is not None:
            learnt.numbers = [self._merge.numbers_of(rank) for rank in range(opened)]
            learnt.interfaces = self._merge.interfaces
        return learnt

    def close(self) -> None:
        """Close its files."""
        for each in self._inputs:
            each.close()


class _UpToSeam(Merge):
    """A merge that ends at the first seam, and leaves what is known there to others."""

    def __init__(self, inputs: Sequence[Input], options: ReadOptions) -> None:
        super().__init__(inputs, options)
        self.opened = 0

    @property
    def failures(self) -> dict[int, CaptureError]:
        """Which files broke off."""
        return self._failures

    def batches(self) -> Generator[Frames, None, None]:
        """Give every batch up to the seam."""
        yield from self._merging()

    def _open_due(self) -> bool:
        if self._merger.size == 0 and self.opened:
            return False
        return super()._open_due()

    def _read(self, slot: int) -> None:
        self.opened = max(self.opened, slot + 1)
        super()._read(slot)
