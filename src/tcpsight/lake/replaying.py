"""Plays back what a lake holds, as if its captures were read again."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tcpsight.capture.reader import CaptureFile, CaptureInterface
from tcpsight.errors import CaptureError, UsageError
from tcpsight.lake.manifest import Manifest, StoredCapture, StoredEnding, chains
from tcpsight.lake.places import place_of
from tcpsight.lake.stored_rows import ORDER, STORED, TABLES, restored
from tcpsight.model.clock_leaps import Leap
from tcpsight.model.silences import LEAST_NS
from tcpsight.network import fill
from tcpsight.pipeline import Options, Pipeline
from tcpsight.requests import Paired
from tcpsight.rooms import Made
from tcpsight.selection import without
from tcpsight.tables import (
    ConnectionAccounts,
    Connections,
    Network,
    Policed,
    Requests,
    Sketches,
    Table,
    Unanswered,
    UnseenCounter,
)

if TYPE_CHECKING:
    from tcpsight.batches import Batch

FOREVER = 2**63 - 1

AGAIN = "make a new lake of the captures"

BATCH_ROWS = 32_768
"""About as many rows are played back at a time."""


class StoredCaptures:
    """The captures of a lake, in the place of a capture.

    Parameters
    ----------
    folder : path
        The lake.

    Attributes
    ----------
    vlan_tags, has_others
        See `tcpsight.capture.tags.TagSurvey`.
    bytes_total, bytes_read : int
        Of the lake's files.

    Raises
    ------
    CaptureError
        The manifest is damaged, or names a file outside of the lake.
    UsageError
        It was written by a newer tcpsight.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.place = place_of(folder)
        self.folder = self.place.name
        self.captures = Manifest.read(self.place).captures
        self.vlan_tags = max((each.vlan_tags for each in self.captures), default=0)
        self.has_others = any(each.has_other_tags for each in self.captures)
        self.bytes_read = 0
        try:
            self.sizes = self.place.sizes([self.checked(part) for part, _ in self._parts()])
        except OSError as error:
            raise CaptureError(self.folder, -1, f"cannot be read: {error.strerror or error}") from error
        self.bytes_total = sum(self.sizes.values())
        self.unseen = UnseenCounter()
        before = 0
        for row in chains(self.captures):
            for each in row:
                self.unseen.merge(_unseen(each.unseen, before))
                self.unseen.furthest_back_ns = max(self.unseen.furthest_back_ns, each.furthest_back_ns)
                if each.ending is not None:
                    self.unseen.merge(_unseen(each.ending.unseen, before))
            before += sum(each.frames for each in row)

    def sketches(self) -> Iterator[Sketches]:
        """Give the counts of response times that were kept, of all services, part by part.

        Raises
        ------
        CaptureError
            A file cannot be read.
        """
        for part, first in self._parts():
            if part.startswith("sketches/"):
                for rows in _Part("sketches", self, part, first).below(FOREVER):
                    yield _as(Sketches, rows)

    def _parts(self) -> Iterator[tuple[str, int]]:
        for each in self.captures:
            yield from each.parts.items()
            if each.ending is not None:
                yield from each.ending.parts.items()

    def checked(self, part: str) -> str:
        """Give a file that the manifest names.

        Raises
        ------
        CaptureError
            It is outside of the lake.
        """
        named = Path(part)
        if named.is_absolute() or ".." in named.parts:
            raise CaptureError(self.folder, -1, f"the manifest names a file outside of the lake: {part!r}")
        return part

    @property
    def files(self) -> list[CaptureFile]:
        """The files that were ingested."""
        stored = [file for each in self.captures for file in each.files]
        return [
            CaptureFile(i, f.path, f.format, f.compression, f.bytes, None, f.frames, problem=f.problem)
            for i, f in enumerate(stored)
        ]

    @property
    def interfaces(self) -> list[CaptureInterface]:
        """Their capture interfaces."""
        return [CaptureInterface(0, **told) for each in self.captures for told in each.interfaces]

    def close(self) -> None:
        """Do nothing: files are open only while they are read."""


def _unseen(told: dict[str, list[int]], before: int) -> UnseenCounter:
    """Give what was not understood, `before` which others had so many frames."""
    counter = UnseenCounter()
    for reason, (count, byte_count, first_frame) in told.items():
        counter.add(reason, count, byte_count, before + first_frame if first_frame else 0)
    return counter


def silences(captures: list[StoredCapture]) -> list[tuple[int, int]]:
    """Give the times in which no capture has a frame, in order: those within one, and those between them.

    Parameters
    ----------
    captures : list of StoredCapture
        In order of time. Of what lies between them only segments are known, not frames, but where one went on from
        another.
    """
    found: list[tuple[int, int]] = []
    timed = [_span(row) for row in chains(captures) if any(each.first_ns is not None for each in row)]
    until_ns = None
    for i, (first_ns, last_ns, within) in enumerate(timed):
        if until_ns is not None and first_ns - until_ns >= LEAST_NS:
            found.append((until_ns, first_ns))
        until_ns = last_ns if until_ns is None else max(last_ns, until_ns)
        others = timed[:i] + timed[i + 1 :]
        for begin_ns, end_ns in within:
            if not any(a < end_ns and begin_ns < b for a, b, _ in others):
                found.append((begin_ns, end_ns))
    return sorted(found)


def _span(row: list[StoredCapture]) -> tuple[int, int, list[list[int]]]:
    """Give the first and last segment of captures that went on from each other, and their silences."""
    first_ns = min(each.first_ns for each in row if each.first_ns is not None)
    last_ns = max(each.last_ns for each in row if each.last_ns is not None)
    return first_ns, last_ns, [span for each in row for span in each.silences]


class Replay(Pipeline):
    """A pass over a lake.

    Parameters
    ----------
    stored : StoredCaptures
        The lake.
    options : Options
        What is wanted.

    Raises
    ------
    UsageError
        Something that only a capture tells is wanted.
    """

    def __init__(self, stored: StoredCaptures, options: Options) -> None:
        if options.with_segments:
            raise UsageError(f"{stored.folder}: a lake keeps no segments: read the captures that it was made from")
        super().__init__((), options)
        self._stored = stored
        self._joined = 0

    @property
    def unseen(self) -> UnseenCounter:
        """What was not understood when the captures were ingested."""
        return self._stored.unseen

    @property
    def joined_fragments(self) -> int:
        """How many frames gave no segment of their own."""
        return self._joined

    def __iter__(self) -> Iterator[Batch]:
        try:
            for row in chains(self._stored.captures):
                before = self.frames
                for capture in row:
                    yield from self._played(capture, before)
                    self.frames += capture.frames
                    self.segments += capture.segments
                    self._joined += capture.joined_fragments
                    self.clock_steps.steps += capture.steps_back
                    self.clock_steps.back_ns += capture.stepped_back_ns
                for capture in row:
                    if capture.ending is not None:
                        yield from self._played(capture.ending, before)
        except CaptureError as error:
            self.broken = error.with_traceback(None)
        self.silences.keep(silences(self._stored.captures))

    def _played(self, stored: StoredCapture | StoredEnding, before: int) -> Iterator[Batch]:
        """Play back a capture, or what one left open, `before` which others had so many frames."""
        yield from map(self._selected, self._made(stored, before))
        self.clock_leaps.keep([Leap(*each) for each in stored.leaps])

    def _made(self, capture: StoredCapture | StoredEnding, before: int) -> Iterator[Made]:
        """Give the rows of them."""
        total = sum(capture.rows.get(name, 0) for name in TABLES)
        stride = max(1, capture.batches * BATCH_ROWS // max(total, 1))
        wanted = self._wanted()
        readers = {
            name: [_Part(name, self._stored, *each) for each in capture.parts.items() if each[0].startswith(f"{name}/")]
            for name in wanted
        }
        found = dict.fromkeys(wanted, 0)
        for begin in range(0, capture.batches, stride):
            limit = (begin + stride) << 32
            tables = {name: _merged(name, [each.below(limit) for each in readers[name]]) for name in wanted}
            for name, rows in tables.items():
                found[name] += len(rows)
            yield self._put_together(tables, before)
            if all(each.is_over for parts in readers.values() for each in parts):
                break
        for name, count in found.items():
            if count != capture.rows.get(name, 0):
                reason = f"has {count:,} rows of {name}, of {capture.rows.get(name, 0):,}: {AGAIN}"
                raise CaptureError(self._stored.folder, -1, reason)

    def _wanted(self) -> list[str]:
        left_out = [("network", self.options.with_network), ("policed", self.options.with_policing)]
        return [name for name in TABLES if (name, False) not in left_out]

    def _put_together(self, tables: dict[str, Table], before: int) -> Made:
        for rows in tables.values():
            rows.rows["connection_id"] += before
        requests = _as(Requests if self.options.account != "requests" else TABLES["requests"], tables["requests"])
        unanswered = _as(Unanswered, tables["unanswered"])
        connections = _as(Connections, tables["connections"])
        self._measure(requests, unanswered)
        if self.options.account == "none":
            fill(connections, ConnectionAccounts())
        paired = Paired(requests, unanswered, None)  # type: ignore[arg-type]
        if self.options.leave_out:
            paired = without(paired, self.options.leave_out)
        network = _as(Network, tables["network"]) if "network" in tables else Network()
        policed = _as(Policed, tables["policed"]) if "policed" in tables else Policed()
        return Made(paired.requests, paired.unanswered, connections, network, policed)

    def _measure(self, requests: Any, unanswered: Any) -> None:
        """Let response time run between the instants that are wanted, as `tcpsight.requests` does."""
        for rows in (requests.rows, unanswered.rows):
            rows["arrival_ns"] = rows[f"{self.options.start}_ns"]
        rows = requests.rows
        rows["completion_ns"] = rows[f"{self.options.end}_ns"]
        rows["response_time_ns"] = np.maximum(rows["completion_ns"] - rows["arrival_ns"], 0)


class _Part:
    """One file of a capture, whose rows are in order; it is opened when the place of its first row is reached."""

    def __init__(self, name: str, stored: StoredCaptures, part: str, first: int) -> None:
        self._name = name
        self._stored = stored
        self._part = stored.checked(part)
        self._first = first
        self._batches = self._read()
        self._waiting: Table | None = None
        self.is_over = False

    def _read(self) -> Iterator[Table]:
        """Give what each row group has; the file is open only meanwhile: there may be thousands."""
        import pyarrow as pa

        try:
            with self._opened(None) as file:
                metadata = file.metadata
            size = self._stored.sizes.get(self._part, 0)
            for group in range(metadata.num_row_groups):
                with self._opened(metadata) as file:
                    table = file.read_row_group(group, use_threads=False).combine_chunks()
                    batches = [restored(self._name, batch) for batch in table.to_batches()]
                del table
                yield from batches
                self._stored.bytes_read += size // metadata.num_row_groups
        except (OSError, pa.ArrowException, ValueError, TypeError, AttributeError, KeyError, IndexError) as error:
            reason = " ".join(str(error).split())
            path = f"{self._stored.folder.rstrip('/')}/{self._part}"
            raise CaptureError(path, -1, f"cannot be read: {reason}") from error

    @contextmanager
    def _opened(self, metadata: Any) -> Iterator[Any]:
        import pyarrow.parquet as pq

        texts = [c.name for c in STORED[self._name].columns if c.is_address or c.names or c.dtype.startswith("S")]
        with (
            self._stored.place.opened(self._part) as opened,
            pq.ParquetFile(opened, metadata=metadata, read_dictionary=texts, memory_map=True) as file,
        ):
            yield file

    def below(self, limit: int) -> list[Table]:
        """Give the next rows that come before a place."""
        found: list[Table] = []
        if limit <= self._first:
            return found
        while True:
            if self._waiting is None or not len(self._waiting):
                self._waiting = next(self._batches, None)
            if self._waiting is None:
                self.is_over = True
                return found
            count = int(np.searchsorted(self._waiting.rows[ORDER], limit))
            if count:
                found.append(self._waiting[:count])
                self._waiting = self._waiting[count:]
            if len(self._waiting):
                return found


def _merged(name: str, parts: list[list[Table]]) -> Table:
    """Put rows of several files into the order of their capture."""
    tables = [table for part in parts for table in part]
    if not tables:
        return STORED[name]()
    rows = STORED[name].concatenate(tables)
    return rows if len(tables) == 1 else rows[np.argsort(rows.rows[ORDER], kind="stable")]


def _as(table_type: Any, rows: Table) -> Any:
    """Give rows without the columns that the table does not have."""
    made = table_type.allocate(len(rows))
    for c in table_type.columns:
        made.rows[c.name] = rows.rows[c.name]
    return made
