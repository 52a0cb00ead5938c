"""Rows that several workers made of one batch, put into the order in which one worker makes them.

Theory of operation
-------------------
A row becomes final by a segment, by a connection's end among the segments, or by the end of the capture. The order of
rows is that of what made them final: by the place among all headers of the batch, then, where time-outs pass at the
same header, by deadline and connection. Each worker's rows are in that order by themselves; so where no two workers
have rows of the same place, which is nearly always, a stable sort by place is all.

A worker in which very many connections end gives a batch in several parts. Rows up to where the slowest of them has
come can be given; the others wait for its next part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from tcpsight.connections import Tracked
from tcpsight.connections.tracking import Among
from tcpsight.rooms import Made
from tcpsight.tables import BOUNDARIES, INT64_MAX, Connections, Network, Policed, Requests, Table, Unanswered

Integers = np.ndarray[Any, np.dtype[np.int64]]

ENDED = BOUNDARIES.index("ended")


class Mark(NamedTuple):
    """Where among the events of a batch something became final: these compare as the events follow each other."""

    row: int
    due_ns: int
    connection_id: int


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of one table, in their order, and what orders them.

    Attributes
    ----------
    table : Table, shape (n,)
        Kept: a copy.
    row, due_ns : ndarray of int64, shape (n,)
        Before which header of the batch, or with which, each became final; and by which deadline.
    """

    table: Table
    row: Integers
    due_ns: Integers

    def __reduce__(self) -> tuple[Any, ...]:
        # As bytes: they are sent as they are, and the layout of rows is known.
        return _rows_of, (type(self.table), self.table.packed(), self.row, self.due_ns)

    def upto(self, mark: Mark) -> int:
        """Count the rows that are final at a mark."""
        first, last = np.searchsorted(self.row, (mark.row, mark.row + 1)).tolist()
        due_ns, number = self.due_ns[first:last], self.table.rows["connection_id"][first:last]
        is_before = (due_ns < mark.due_ns) | ((due_ns == mark.due_ns) & (number <= mark.connection_id))
        return int(first + is_before.sum())

    def cut(self, begin: int, end: int | None) -> Rows:
        """Take some of the rows."""
        return Rows(self.table[begin:end], self.row[begin:end], self.due_ns[begin:end])


def _rows_of(table_type: type[Table], packed: np.ndarray[Any, Any], row: Integers, due_ns: Integers) -> Rows:
    return Rows(table_type(packed.view(table_type.dtype)), row, due_ns)


@dataclass(frozen=True, slots=True)
class Part:
    """What one worker made of a batch, or of a part of it.

    Attributes
    ----------
    rows : tuple of Rows
        One of each table of `Made`.
    is_whole : bool
        Whether that is all of the batch.
    mark : Mark
        If it is not, up to where it is all.
    """

    rows: tuple[Rows, ...]
    is_whole: bool
    mark: Mark

    def split(self, mark: Mark) -> tuple[Part, Part]:
        """Part what is final at a mark from what is not."""
        ends = [rows.upto(mark) for rows in self.rows]
        before = tuple(rows.cut(0, end) for rows, end in zip(self.rows, ends, strict=True))
        after = tuple(rows.cut(end, None) for rows, end in zip(self.rows, ends, strict=True))
        return Part(before, False, mark), Part(after, self.is_whole, self.mark)

    def then(self, other: Part) -> Part:
        """Put the next part of the same worker behind this one."""
        pairs = zip(self.rows, other.rows, strict=True)
        return Part(tuple(_behind(mine, more) for mine, more in pairs), other.is_whole, other.mark)


def part_of(made: Made, tracked: Tracked, among: Among) -> Part:
    """Keep what a worker made, with what tells its order.

    Parameters
    ----------
    made : Made
        Valid until the worker goes on.
    tracked : Tracked
        What it was made from.
    among : Among
        Where the segments, row for row, were among all.
    """
    boundaries = tracked.boundaries
    ended = boundaries[boundaries.boundary == ENDED]
    row, due_ns = ended.row.astype(np.int64), ended.due_ns.copy()
    # What was made by a segment, and behind it by the boundaries from the last to the first: −1 is the first.
    segment_rows = among.rows[: len(tracked.segments)]
    made_at = np.concatenate([segment_rows, boundaries.row[::-1]]).astype(np.int64)
    made_due = np.concatenate([np.full(len(segment_rows), INT64_MAX), boundaries.due_ns[::-1]])

    def placed(table: Requests | Unanswered | Policed) -> Rows:
        by = table.made_by
        return Rows(table.copy(), made_at[by], made_due[by])

    rows = (
        placed(made.requests),
        placed(made.unanswered),
        Rows(made.connections.copy(), row, due_ns),
        Rows(made.network.copy(), *(np.repeat(each, 2)[: len(made.network)] for each in (row, due_ns))),
        placed(made.policed),
    )
    last = Mark(int(row[-1]), int(due_ns[-1]), int(ended.connection_id[-1])) if len(ended) else Mark(-1, 0, 0)
    return Part(rows, tracked.is_whole, last)


def joined(parts: Sequence[Part]) -> Made:
    """Put what the workers made into one order."""
    return Made(*(_ordered(rows) for rows in zip(*(part.rows for part in parts), strict=True)))  # type: ignore[arg-type]


def merged(next_parts: Sequence[Callable[[], Part]]) -> Iterator[Made]:
    """Give what was made of one batch, as far as all workers have come, until they have all of it.

    Parameters
    ----------
    next_parts : sequence of callable
        Of each worker, what gives the next part of what it made.
    """
    parts = [next_part() for next_part in next_parts]
    while not all(part.is_whole for part in parts):
        mark = min(part.mark for part in parts if not part.is_whole)
        ready, parts_left = zip(*(part.split(mark) for part in parts), strict=True)
        yield joined(ready)
        parts = [
            left.then(next_part()) if not left.is_whole and left.mark == mark else left
            for next_part, left in zip(next_parts, parts_left, strict=True)
        ]
    yield joined(parts)


def _behind(mine: Rows, more: Rows) -> Rows:
    if not len(mine.table):
        return more
    table = type(mine.table).concatenate([mine.table, more.table])
    return Rows(table, np.concatenate([mine.row, more.row]), np.concatenate([mine.due_ns, more.due_ns]))


def _ordered(several: Sequence[Rows]) -> Table:
    filled = [rows for rows in several if len(rows.table)]
    if len(filled) < 2:
        return (filled or several)[0].table
    table = type(filled[0].table).concatenate([rows.table for rows in filled])
    row = np.concatenate([rows.row for rows in filled])
    order = np.argsort(row, kind="stable")
    placed = row[order]
    is_same = placed[1:] == placed[:-1]
    if is_same.any():
        worker = np.repeat(np.arange(len(filled)), [len(rows.table) for rows in filled])[order]
        if (is_same & (worker[1:] != worker[:-1])).any():
            due_ns = np.concatenate([rows.due_ns for rows in filled])
            order = np.lexsort((table.rows["connection_id"], due_ns, row))
    return table[order]


TABLES = (Requests, Unanswered, Connections, Network, Policed)
"""What `Part.rows` are rows of, in their order."""
