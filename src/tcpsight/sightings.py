"""What comparing two captures needs of each: every segment, by what tells it from others, and its connections.

`SightingPipeline` is the pipeline with an ear at the segments; `sighted` runs a capture through it. Segments are kept
in memory as long as they are few, and in a temporary file without a name when they are many.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tcpsight.network.pairing import TALK
from tcpsight.pipeline import Batch, Pipeline
from tcpsight.tables import (
    BOUNDARIES,
    DIRECTIONS,
    FLAG_ACK,
    FLAG_SYN,
    INT64_MIN,
    KINDS,
    OPTION_MSS,
    OPTION_SACK,
    OPTION_SACK_PERMITTED,
    OPTION_TIMESTAMPS,
    Boundaries,
    Headers,
    Network,
    Requests,
    Segments,
    Sightings,
)

if TYPE_CHECKING:
    from tcpsight.analysis import Analysis
    from tcpsight.batches import Positions
    from tcpsight.connections import Tracked
    from tcpsight.run import Run

MEMORY_ROWS = 4_000_000
"""So many segments of a capture are kept in memory, at 72 bytes each."""

BLOCK_ROWS = 1 << 18

BOTH_SYN_ACK = FLAG_SYN | FLAG_ACK

_SHARED = ("connection_id", "frame_number", "time_ns", "offset", "acked_offset", "payload_bytes", "new_bytes", "new_at")
RECOVERY = (
    "connection_id",
    "direction",
    "retransmissions",
    "spurious_retransmissions",
    "out_of_order",
    "reordered",
    "is_approximate",
)
"""What is kept of a row of Network."""


class SightingPipeline(Pipeline):
    """A pipeline that also gives, for its last batch, all segments and openings, whatever was selected.

    Attributes
    ----------
    sightings : Sightings
        The segments that belong to a stream, capture duplicates excluded.
    openings : Boundaries
        The connections that opened.
    """

    needs_one_worker = True
    sightings = Sightings()
    openings = Boundaries()

    def _batch(self, headers: Headers, tracked: Tracked, kept: Positions) -> Batch:
        boundaries = tracked.boundaries
        self.sightings = sightings_of(headers, tracked.segments)
        self.openings = boundaries[boundaries.boundary == BOUNDARIES.index("opened")]
        return super()._batch(headers, tracked, kept)


def sightings_of(headers: Headers, segments: Segments) -> Sightings:
    """Give what is known of each segment that belongs to a stream, shape (≤ n,)."""
    rows = np.flatnonzero((segments.offset != INT64_MIN) & (segments.kind != KINDS.index("duplicate")))
    table = Sightings.allocate(len(rows))
    for name in (*_SHARED, "flags", "direction"):
        table.rows[name] = segments.rows[name][rows]
    for name in ("sequence_number", "ip_id"):
        table.rows[name] = headers.rows[name][rows]
    has_timestamps = headers.options[rows] & OPTION_TIMESTAMPS != 0
    table.timestamp_value[:] = np.where(has_timestamps, headers.timestamp_value[rows], 0)
    options, flags = headers.options[rows], segments.flags[rows]
    table.mss_bytes[:] = np.where((flags & FLAG_SYN != 0) & (options & OPTION_MSS != 0), headers.mss_bytes[rows], 0)
    is_permitted = (flags & BOTH_SYN_ACK == BOTH_SYN_ACK) & (options & OPTION_SACK_PERMITTED != 0)
    table.has_sack[:] = is_permitted | (options & OPTION_SACK != 0)
    return table


class RowStore:
    """Rows that are written once and read again and again, in blocks.

    Parameters
    ----------
    memory_rows : int
        As soon as there are more, they are kept in a temporary file.
    """

    def __init__(self, memory_rows: int = MEMORY_ROWS) -> None:
        self.count = 0
        self._memory_rows = memory_rows
        self._blocks: list[Sightings] = []
        self._held = 0
        self._file: IO[bytes] | None = None

    def add(self, rows: Sightings) -> None:
        """Keep rows; they are copied."""
        if not len(rows):
            return
        self._blocks.append(rows.copy())
        self.count += len(rows)
        self._held += len(rows)
        if self._held > (self._memory_rows if self._file is None else BLOCK_ROWS):
            self._spill()

    def _spill(self) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="tcpsight-")  # noqa: SIM115 - it lives as long as this
        self._file.seek(0, 2)
        for block in self._blocks:
            self._file.write(block.packed().tobytes())
        self._blocks, self._held = [], 0

    def __iter__(self) -> Iterator[Sightings]:
        if self._file is not None:
            self._file.seek(0)
            size = Sightings.dtype.itemsize
            while content := self._file.read(BLOCK_ROWS * size):
                yield Sightings(np.frombuffer(content, Sightings.dtype))
        yield from self._blocks


class Recovery(NamedTuple):
    """What a capture saw sent again or late, by connection and direction, shape (n,) each."""

    connection_id: np.ndarray[Any, np.dtype[np.int64]]
    direction: np.ndarray[Any, np.dtype[np.int64]]
    resent: np.ndarray[Any, np.dtype[np.int64]]
    filled: np.ndarray[Any, np.dtype[np.int64]]
    is_approximate: np.ndarray[Any, np.dtype[np.int64]]


@dataclass(slots=True)
class Sighted:
    """What one capture tells for the comparison with another.

    Attributes
    ----------
    run : Run
        The pass; ended.
    rows : RowStore
        Its segments, in capture order.
    talks : ndarray of TALK, shape (n,)
        Its connections, by `connection_id`.
    requests : Requests
        The selected ones.
    recovery : Recovery
        Of the selected connections.
    frames, times_ns : tuple of int
        First and last frame with a segment; earliest and latest time.
    """

    run: Run
    rows: RowStore
    talks: np.ndarray[Any, Any] = field(default_factory=lambda: np.zeros(0, TALK))
    requests: Requests = field(default_factory=Requests)
    recovery: Recovery = field(default_factory=lambda: recovery_of([]))
    frames: tuple[int, int] = (0, 0)
    times_ns: tuple[int, int] = (0, 0)

    @property
    def name(self) -> str:
        """Name the capture as its user did."""
        return " ".join(file.path for file in self.run.capture.files)


def sighted(analysis: Analysis, memory_rows: int = MEMORY_ROWS) -> Sighted:
    """Run a capture through, and keep what comparing needs."""
    with analysis.run(Network, through=SightingPipeline) as run:
        return collected(run, run, memory_rows)


def collected(run: Run, batches: Iterator[Batch] | Run, memory_rows: int = MEMORY_ROWS) -> Sighted:
    """Keep what comparing needs of a pass through a `SightingPipeline`, to its end."""
    pipeline = run.pipeline
    assert isinstance(pipeline, SightingPipeline)
    seen = Sighted(run, RowStore(memory_rows))
    openings: list[Boundaries] = []
    requests: list[Requests] = []
    recovery: list[Network] = []
    for batch in batches:
        seen.rows.add(pipeline.sightings)
        openings += [pipeline.openings.copy()] if len(pipeline.openings) else []
        requests += [batch.requests.copy()] if len(batch.requests) else []
        recovery += [Network(batch.network.rows[list(RECOVERY)].copy())] if len(batch.network) else []
    seen.requests = Requests.concatenate(requests)
    seen.recovery = recovery_of(recovery)
    seen.talks = talks_of(Boundaries.concatenate(openings))
    describe(seen)
    return seen


def recovery_of(parts: list[Network]) -> Recovery:
    """Count what was sent again though it had been captured, and what came late because it was sent again."""
    none = np.zeros(0, np.int64)
    column = {name: np.concatenate([none, *(part.rows[name] for part in parts)]).astype(np.int64) for name in RECOVERY}
    resent = column["retransmissions"] - column["spurious_retransmissions"]
    filled = column["out_of_order"] - column["reordered"]
    return Recovery(
        column["connection_id"],
        column["direction"],
        np.maximum(resent, 0),
        np.maximum(filled, 0),
        column["is_approximate"],
    )


def talks_of(openings: Boundaries) -> np.ndarray[Any, Any]:
    """Give one row per connection, by `connection_id`, shape (n,)."""
    openings = openings[np.argsort(openings.connection_id, kind="stable")]
    talks = np.zeros(len(openings), TALK)
    names = ("connection_id", "client_address", "client_port", "server_address", "server_port", "ip_version")
    for name in names:
        talks[name] = openings.rows[name]
    talks["zero"] = -1
    talks["least"], talks["most"] = np.iinfo(np.int64).max, np.iinfo(np.int64).min
    return talks


def describe(seen: Sighted) -> None:
    """Complete the connections of a capture by their segments: sequence numbers, and which offsets there are."""
    talks = seen.talks
    frames, times = [], []
    for rows in seen.rows:
        talk = np.searchsorted(talks["connection_id"], rows.connection_id)
        for side in range(len(DIRECTIONS)):
            mine = rows.direction == side
            at, offset = talk[mine], rows.offset[mine]
            talks["zero"][at, side] = (rows.sequence_number[mine] - offset) % 2**32
            np.minimum.at(talks["least"][:, side], at, offset)
            np.maximum.at(talks["most"][:, side], at, offset + rows.payload_bytes[mine])
            talks["has_syn"][at[rows.flags[mine] & FLAG_SYN != 0], side] = 1
        talks["has_sack"][talk[rows.has_sack != 0]] = 1
        frames += [int(rows.frame_number[0]), int(rows.frame_number[-1])]
        times += [int(rows.time_ns.min()), int(rows.time_ns.max())]
    if frames:
        seen.frames, seen.times_ns = (min(frames), max(frames)), (min(times), max(times))
