"""Several files as one capture in time order.

Theory of operation
-------------------
Files are ranked by (time of the first frame, hash of the first frame, hash of the content), and frames
are merged by (time, rank); frames of one file keep their order, even where its times go backwards. A file
is opened when the time of its first frame is reached, so files that follow each other are read one at a
time and their batches are passed on as they are. Only where files overlap are rows and bytes copied into
an arena, by a kernel. None of this depends on the order in which files are named, nor on buffer sizes.

What it cannot see: pipes have no content to hash beforehand. Two pipes whose first frames are equal keep
the order in which they were named.
"""

from __future__ import annotations

from collections import deque
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from tcpsight.capture._merge import Merger
from tcpsight.errors import CaptureError, UsageError
from tcpsight.tables import Frames

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from tcpsight.capture.inputs import Input
    from tcpsight.capture.reader import CaptureInterface, ReadOptions
    from tcpsight.capture.stretches import Learnt

LONG_RUN = 256
"""Rows of one file in a row that are worth a batch of their own; fewer are copied."""

ARENA_BYTES = 512 * 1024
FOREVER_NS = 2**63 - 1


def ranked(inputs: Sequence[Input]) -> list[Input]:
    """Look at the first frame of every input, and order them.

    Raises
    ------
    CaptureError
        One cannot be opened or is no capture; if these are skipped, none is left.
    UsageError
        Two are the same file, by inode or by content.
    """
    pipes = [each for each in inputs if each.file.path == "-"]
    if len(pipes) > 1:
        raise _same(*pipes[:2])
    known: dict[tuple[int, int], Input] = {}
    for each in inputs:
        each.look()
        if each.identity is not None and known.setdefault(each.identity, each) is not each:
            raise _same(known[each.identity], each)
    failures = [each.skipped for each in inputs if each.skipped is not None]
    if len(failures) == len(inputs):
        raise failures[0]
    order = sorted(inputs, key=_rank)
    # Only files that begin alike are read to their ends to tell them apart.
    for first, second in pairwise(order):
        if _rank(first) == _rank(second):
            for each in (first, second):
                each.content = each.content or each.content_digest()
    order.sort(key=lambda each: (*_rank(each), each.content))
    for first, second in pairwise(order):
        if first.content and first.content == second.content and first.file.first_ns is not None:
            raise _same(first, second)
    return order


def _rank(each: Input) -> tuple[bool, int, bytes]:
    # Files without frames come last.
    first_ns = each.file.first_ns
    return first_ns is None, first_ns or 0, each.first_digest


def _same(first: Input, second: Input) -> UsageError:
    names = sorted((first.file.path, second.file.path))
    what = "is named twice" if names[0] == names[1] else f"and {names[1]} are the same capture"
    return UsageError(f"{names[0]} {what}; its frames would be counted twice")


class Merge:
    """Frames of several inputs in time order.

    Parameters
    ----------
    inputs : list of Input
        In the order of their rank.
    options : ReadOptions
        What the user chose.

    Attributes
    ----------
    inputs : list of Input
        The same.
    interfaces : list of CaptureInterface
        Those of which frames were given, in the order of their first frames.
    """

    def __init__(self, inputs: Sequence[Input], options: ReadOptions) -> None:
        self.inputs = inputs
        self._waiting = deque(range(len(inputs)))
        self._merger = Merger(len(inputs))
        self._batches: dict[int, Frames] = {}
        self._numbers = [np.zeros(0, np.int64) for _ in inputs]
        self._rows = Frames.allocate(options.batch_frames)
        self._arena = bytearray(ARENA_BYTES)
        self._failures: dict[int, CaptureError] = {}
        self.interfaces: list[CaptureInterface] = []

    def batches(self) -> Generator[Frames, None, None]:
        """Give every batch in order.

        Raises
        ------
        CaptureError
            A file broke off; the frames of all others were given, too.
        """
        yield from self._merging()
        self._number_rest()
        self._raise_failure()

    def numbers_of(self, slot: int) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Give the number of each interface of a file, −1 where it has none."""
        return self._numbers[slot][: len(self.inputs[slot].file.interfaces)]

    def learn(self, learnt: Learnt) -> None:
        """Take what somebody else read of the files that are next."""
        while self._waiting and self._waiting[0] < learnt.following:
            slot = self._waiting.popleft()
            numbers = learnt.numbers[slot - learnt.begin]
            self._numbers[slot] = np.where(numbers < 0, -1, numbers + len(self.interfaces))
        self.interfaces += learnt.interfaces
        self._failures.update(learnt.failures)

    def _merging(self) -> Generator[Frames, None, None]:
        merger = self._merger
        while self._open_due():
            if merger.unnumbered >= 0:
                self._number_interface(merger.unnumbered)
                continue
            run = merger.run(self._until_ns())
            if run >= LONG_RUN or merger.size == 1:
                yield self._passed(run)
            else:
                yield self._merged()
            self._refill()

    def _until_ns(self) -> int:
        """Tell when the next file begins."""
        first_ns = self.inputs[self._waiting[0]].file.first_ns if self._waiting else None
        return FOREVER_NS if first_ns is None else first_ns

    def _open_due(self) -> bool:
        """Open the files whose first frame is reached; tell whether a frame is there."""
        while self._waiting and (self._merger.size == 0 or self._until_ns() <= self._merger.top_ns):
            self._read(self._waiting.popleft())
        return self._merger.size > 0

    def _read(self, slot: int) -> None:
        """Read the next batch of a file, or close it."""
        each = self.inputs[slot]
        try:
            frames = each.read()
        except CaptureError as failure:
            self._failures[slot] = failure
            frames = None
        numbers = self._numbers[slot]
        if len(numbers) < len(each.file.interfaces) or not len(numbers):
            grown = np.full(max(2 * len(numbers), len(each.file.interfaces), 1), -1, np.int64)
            grown[: len(numbers)] = numbers
            self._numbers[slot] = grown
        if frames is None:
            each.close()
            return
        self._batches[slot] = frames
        self._merger.add(slot, frames.rows.view(np.uint8), frames.data, self._numbers[slot])

    def _refill(self) -> None:
        if self._merger.exhausted >= 0:
            self._read(self._merger.exhausted)

    def _passed(self, run: int) -> Frames:
        """Give the next `run` rows of one file as they are."""
        frames = self._batches[self._merger.top]
        start = self._merger.take(run)
        return Frames(frames.rows[start : start + run], data=frames.data, origin=frames.origin)

    def _merged(self) -> Frames:
        """Give the next rows of several files, copied."""
        merger, rows = self._merger, self._rows.rows
        until_ns = self._until_ns()
        merger.rows = merger.bytes = 0
        while True:
            if merger.rows == 0 and merger.top_bytes > len(self._arena):
                self._arena = bytearray(2 * merger.top_bytes)
            merger.merge(rows.view(np.uint8), self._arena, until_ns)
            slot = merger.exhausted
            # A pipe may have nothing more to give for a while: what is there goes first.
            if slot < 0 or merger.rows == len(rows) or not self.inputs[slot].is_reopenable:
                return Frames(rows[: merger.rows], data=self._arena)
            self._read(slot)

    def _number_interface(self, local: int) -> None:
        """Give the next free number to an interface of the top file."""
        slot = self._merger.top
        self._numbers[slot][local] = len(self.interfaces)
        self.interfaces.append(self.inputs[slot].file.interfaces[local])

    def _number_rest(self) -> None:
        """Give numbers to the interfaces on which no frame was captured."""
        for each, numbers in zip(self.inputs, self._numbers, strict=True):
            unused = np.flatnonzero(numbers[: len(each.file.interfaces)] < 0)
            self.interfaces += [each.file.interfaces[i] for i in unused.tolist()]

    def _raise_failure(self) -> None:
        if not self._failures:
            return
        first = self._failures[min(self._failures)]
        others = len(self._failures) - 1
        if others:
            more = "another file is damaged, too" if others == 1 else f"{others} other files are damaged, too"
            raise CaptureError(first.path, first.offset, f"{first.reason}; {more}", first.offset_in)
        raise first
