"""The law of sharding: connections split over several pipelines by their endpoints give the rows of one pipeline.

Each shard gets the frames of its connections, under their numbers, and is told how far the time of the whole capture
has come: at every batch, or only at the end. The generated traffic uses few endpoints again and again, within and
beyond short time-outs, so that connections are reused, expire and interrupt each other.
"""

from __future__ import annotations

import io
import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tcpsight.capture import open_capture
from tcpsight.connections import Timeouts
from tcpsight.decode import Decoding
from tcpsight.pipeline import Options, Pipeline
from tcpsight.tables import Connections, Frames, Headers, Requests, SegmentDetails, Table, Unanswered, UnseenCounter
from tests.support.pcap import Frame, pcap_bytes
from tests.support.thorough import up_to
from tests.support.traffic import MS, START_NS, Exchange, Talk, udp_frame

SECOND = 1000 * MS
TIMEOUTS = Timeouts(handshake_ns=SECOND, ended_ns=SECOND, established_ns=4 * SECOND)

ORDER: dict[type[Table], tuple[str, ...]] = {
    Requests: ("connection_id", "request_index"),
    Unanswered: ("connection_id", "request_index"),
    Connections: ("connection_id",),
    SegmentDetails: ("frame_number",),
}

PLACES = {"slot", "request_number", "made_by"}
"""Columns that say where a shard keeps a connection, how many requests it had seen before, and where in its batch."""

TALKS = st.builds(
    Talk,
    exchanges=st.lists(
        st.builds(
            Exchange,
            after_ns=st.sampled_from([0, MS, 900 * MS, 3 * SECOND]),
            response_time_ns=st.sampled_from([None, 0, MS, 2 * SECOND]),
        ),
        max_size=4,
    ),
    client=st.sampled_from(["10.0.0.1", "10.0.0.9", "2001:db8::1"]),
    client_port=st.sampled_from([40_000, 40_001, 3306]),
    start_ns=st.integers(0, 20).map(lambda step: START_NS + step * 700 * MS),
    is_closed=st.booleans(),
)


@st.composite
def captures(draw: st.DrawFn) -> list[Frame]:
    """Draw connections between few endpoints, lose some frames, and add some that are not TCP."""
    frames = [udp_frame(START_NS + second * SECOND) for second in draw(st.sets(st.integers(0, 30), max_size=3))]
    for talk in draw(st.lists(TALKS, min_size=1, max_size=7)):
        server = "2001:db8::9" if ":" in talk.client else "10.0.0.9"
        made = Talk(talk.exchanges, talk.client, talk.client_port, server, 3306, talk.start_ns, talk.is_closed)
        frames += [frame for frame in made.frames() if draw(st.integers(0, 9))]
    return sorted(frames, key=lambda frame: frame.time_ns) or [udp_frame()]


class Shard:
    """The frames of some connections, as a capture."""

    def __init__(self, batches: Sequence[Frames]) -> None:
        self.unseen = UnseenCounter()
        self._batches = batches

    def __iter__(self) -> Iterator[Frames]:
        return iter(self._batches)


def read(frames: list[Frame], batch_frames: int) -> list[Frames]:
    """Give the batches of a capture, with bytes that stay."""
    with open_capture([io.BytesIO(pcap_bytes(frames, nanoseconds=True))], batch_frames=batch_frames) as opened:
        return [Frames(batch.rows.copy(), batch.until_ns, bytes(batch.data)) for batch in opened]


def shards_of(batches: list[Frames], count: int, *, is_time_told: bool) -> list[Shard]:
    """Split a capture; every shard learns its last instant, `is_time_told` also that of each batch.

    Time comes as far as there are TCP segments: in one pipeline other frames do not move it either.
    """
    split: list[list[Frames]] = [[] for _ in range(count)]
    now_ns = None
    for i, batch in enumerate(batches):
        headers = Decoding().feed(batch)
        if len(headers):
            now_ns = int(headers.time_ns.max())
        until_ns = now_ns if is_time_told or i == len(batches) - 1 else None
        owner = owners(batch, headers, count)
        for shard, parts in enumerate(split):
            parts.append(Frames(batch.rows[owner == shard], until_ns, batch.data))
    return [Shard(parts) for parts in split]


def owners(batch: Frames, headers: Headers, count: int) -> np.ndarray[Any, Any]:
    """Say to which shard each frame belongs: by its endpoints, whoever sent it; to the first if it is not TCP."""
    owner = np.zeros(len(batch), np.int64)
    first_number = int(batch.frame_number[0])
    for row in headers.rows:
        ends = sorted(
            (row[f"{side}_address"].tobytes(), int(row[f"{side}_port"])) for side in ("source", "destination")
        )
        owner[int(row["frame_number"]) - first_number] = zlib.crc32(repr(ends).encode()) % count
    return owner


def rows_of(shards: Sequence[Shard]) -> dict[str, Any]:
    """Run a pipeline over each; give the rows of all of them, in order of their keys, and what was not understood."""
    parts: dict[type[Table], list[Table]] = defaultdict(list)
    unseen = UnseenCounter()
    for shard in shards:
        pipeline = Pipeline(shard, Options(timeouts=TIMEOUTS, with_segments=True))
        for batch in pipeline:
            for table_type, table in zip((Requests, Unanswered, Connections, SegmentDetails), batch[:4], strict=True):
                parts[table_type].append(table.copy())
        unseen.merge(pipeline.unseen)
    merged: dict[str, Any] = {"unseen": unseen.table().rows.tolist()}
    for table_type, names in ORDER.items():
        rows = table_type.concatenate(parts[table_type]).rows
        rows = rows[np.lexsort([rows[name] for name in reversed(names)])]
        for column in table_type.columns:
            if column.name not in PLACES:
                merged[f"{table_type.__name__}.{column.name}"] = rows[column.name].tolist()
    return merged


@settings(deadline=None, max_examples=up_to(100))
@given(captures(), st.integers(2, 5), st.sampled_from([1, 3, 10, 1000]), st.booleans())
def test_connections_split_over_shards_give_the_rows_of_one_pipeline(frames, count, batch_frames, is_time_told):
    batches = read(frames, batch_frames)
    whole = rows_of([Shard(batches)])
    split = rows_of(shards_of(batches, count, is_time_told=is_time_told))
    for name, values in whole.items():
        assert repr(split[name]) == repr(values), name


def test_the_shards_share_the_work():
    talks = [Talk([Exchange(MS, MS)], client_port=40_000 + i) for i in range(20)]
    batches = read([frame for talk in talks for frame in talk.frames()], 1000)
    counts = [sum(len(batch) for batch in shard) for shard in shards_of(batches, 3, is_time_told=True)]
    assert sum(counts) == sum(len(talk.frames()) for talk in talks)
    assert min(counts) > 0


def in_order(batches: Sequence[Frames], workers: int) -> dict[str, Any]:
    """Run a pipeline; give all rows in the order in which they come, and what was not understood."""
    options = Options(timeouts=TIMEOUTS, with_network=True, with_policing=True, account="requests", workers=workers)
    pipeline = Pipeline(Shard(batches), options)
    parts: dict[str, list[Table]] = defaultdict(list)
    for batch in pipeline:
        for name in ("requests", "unanswered", "connections", "network", "policed"):
            parts[name].append(getattr(batch, name).copy())
    rows: dict[str, Any] = {"unseen": pipeline.unseen.table().rows.tolist(), "span": pipeline.span}
    for name, tables in parts.items():
        table = type(tables[0]).concatenate(tables)
        for column in table.columns:
            if not column.internal:
                rows[f"{name}.{column.name}"] = table.rows[column.name].tolist()
    return rows


@settings(deadline=None, max_examples=up_to(60))
@given(captures(), st.sampled_from([2, 3, 4, 7]), st.sampled_from([1, 3, 10, 1000]))
def test_however_many_workers_there_are_the_same_rows_come_in_the_same_order(frames, workers, batch_frames):
    batches = read(frames, batch_frames)
    alone, together = in_order(batches, 1), in_order(batches, workers)
    for name, values in alone.items():
        assert repr(together[name]) == repr(values), name
