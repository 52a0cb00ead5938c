"""The connections of one part are followed, piece after piece, on whatever machine."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np

from tcpsight.batches import Before
from tcpsight.connections.tracking import Among
from tcpsight.mapping import Block, Job, Times
from tcpsight.parts import Part, part_of
from tcpsight.rooms import Rooms
from tcpsight.tables import Headers, UnseenCounter

FINAL_ROWS = 1 << 16
"""About as many rows are given at a time when the capture has ended."""


class Reducing:
    """Rooms of its own for one part of the connections.

    Parameters
    ----------
    job : Job
        What is wanted.
    """

    def __init__(self, job: Job) -> None:
        # Nobody shall know beforehand which endpoints collide; it changes no row.
        self._rooms = Rooms(job.options, int.from_bytes(os.urandom(8)))
        self._last: Iterator[Part] | None = None

    def feed(self, block: Block, times: Times, before: Before) -> list[list[Part]]:
        """Take the next piece; give what was made of each batch, in parts.

        Parameters
        ----------
        block : Block
            The headers of these connections; left as they are.
        times : Times
            The times of all headers.
        before : Before
            What is added to the numbers of frames and interfaces.
        """
        # Copied as bytes: NumPy copies structured rows field by field.
        rows = block.headers.copy().view(Headers.dtype)
        before.add_to(rows)
        made: list[list[Part]] = []
        first = time = 0
        for count, of_all in zip(block.counts, times.counts, strict=True):
            among = Among(times.times_ns[time : time + of_all], block.rows[first : first + count])
            made.append(list(self._made(Headers(rows[first : first + count]), among)))
            first, time = first + count, time + of_all
        return made

    def finish(self) -> tuple[list[Part], tuple[UnseenCounter, ...]]:
        """End the capture; give some of what is left, of which the last part is whole when it is all; and the counts.

        To be called until it is.
        """
        if self._last is None:
            self._last = self._finished()
        parts: list[Part] = []
        count = 0
        for part in self._last:
            parts.append(part)
            count += sum(len(rows.table) for rows in part.rows)
            if count >= FINAL_ROWS:
                break
        return parts, self._rooms.unseen

    def _made(self, headers: Headers, among: Among) -> Iterator[Part]:
        times_ns, rows = among
        for some, tracked in self._rooms.feed(headers, among):
            yield part_of(self._rooms.make(some, tracked), tracked, Among(times_ns, rows))
            rows = rows[len(some) :]

    def _finished(self) -> Iterator[Part]:
        nothing = Among(np.zeros(0, np.int64), np.zeros(0, np.int32))
        for headers, tracked in self._rooms.finish():
            yield part_of(self._rooms.make(headers, tracked), tracked, nothing)
