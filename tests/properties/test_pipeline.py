"""Laws of the whole chain, from the bytes of a capture to the bytes of its tables."""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tcpsight.capture import open_capture
from tcpsight.output.writers import open_writer
from tcpsight.pipeline import Options, Pipeline
from tcpsight.selection import Selection
from tcpsight.slices import IntervalCollection
from tcpsight.tables import Connections, Intervals, Requests, SegmentDetails, Table, Unanswered
from tests.support.pcap import Frame, pcap_bytes
from tests.support.traffic import MS, START_NS, Exchange, Talk

TABLES: dict[str, type[Table]] = {
    "requests": Requests,
    "unanswered": Unanswered,
    "connections": Connections,
    "segments": SegmentDetails,
}

# Columns that say where in the capture something was, and so change when frames are numbered otherwise.
PLACES = ("connection_id", "frame_number", "frame_in_file", "file")

EXCHANGES = st.builds(
    Exchange,
    after_ns=st.integers(0, 3 * MS),
    response_time_ns=st.one_of(st.none(), st.integers(0, 5 * MS)),
    request_bytes=st.integers(1, 200),
    response_bytes=st.integers(1, 200),
)


@st.composite
def talks(draw: st.DrawFn) -> list[Talk]:
    """Draw a few connections whose endpoints all differ."""
    made = draw(
        st.lists(
            st.builds(
                Talk,
                exchanges=st.lists(EXCHANGES, max_size=5),
                client=st.sampled_from(["10.0.0.1", "10.0.0.2", "2001:db8::1"]),
                server_port=st.sampled_from([80, 3306]),
                start_ns=st.integers(START_NS, START_NS + 20 * MS),
                is_closed=st.booleans(),
            ),
            min_size=1,
            max_size=5,
        )
    )
    servers = {"10.0.0.1": "10.0.0.9", "10.0.0.2": "10.0.0.9", "2001:db8::1": "2001:db8::9"}
    return [
        Talk(t.exchanges, t.client, 40_000 + i, servers[t.client], t.server_port, t.start_ns, t.is_closed)
        for i, t in enumerate(made)
    ]


@st.composite
def damaged(draw: st.DrawFn, frames: list[Frame]) -> list[Frame]:
    """Lose and repeat some frames, so that gaps and retransmissions occur."""
    kept = []
    for frame in frames:
        fate = draw(st.integers(0, 11))
        if fate:
            kept.append(frame)
        # Each file is an interface, and the same header on another interface is the same segment captured twice; only
        # IPv4 tells by its identification that this one was sent again.
        if fate == 1 and frame.data[12:14] == b"\x08\x00":
            kept.append(Frame(frame.time_ns + 7 * MS, sent_again(frame.data)))
    return sorted(kept, key=lambda frame: frame.time_ns) or frames


def sent_again(data: bytes) -> bytes:
    """Give an IPv4 packet another identification."""
    return data[:18] + b"\x12\x34" + data[20:]


@st.composite
def captures(draw: st.DrawFn) -> list[Frame]:
    return draw(damaged(in_time_order([talk.frames() for talk in draw(talks())])))


def in_time_order(parts: Sequence[list[Frame]]) -> list[Frame]:
    return sorted((frame for part in parts for frame in part), key=lambda frame: frame.time_ns)


def content(frames: list[Frame]) -> bytes:
    return pcap_bytes(frames, nanoseconds=True)


def tables_of(*sources: bytes, interval_ns: int = 2 * MS, **options: Any) -> dict[str, Table]:
    """Run the whole chain; give all rows of every table."""
    blocks: dict[str, list[Table]] = defaultdict(list)
    collection = IntervalCollection(interval_ns)
    with open_capture([io.BytesIO(source) for source in sources], **options) as opened:
        pipeline = Pipeline(opened, Options(with_segments=True))
        for batch in pipeline:
            for name in TABLES:
                blocks[name].append(getattr(batch, name).copy())
            collection.feed(batch)
        found = {name: table_type.concatenate(blocks[name]) for name, table_type in TABLES.items()}
        found["intervals"] = collection.table_type.concatenate([b.copy() for b in collection.rows(pipeline.span)])
        found["unseen"] = pipeline.unseen.table()
    return found


def written(table: Table, format: str) -> bytes:
    sink = io.BytesIO()
    with open_writer(sink, type(table), format) as writer:
        writer.write(table)
    return sink.getvalue()


def csv_of(found: dict[str, Table]) -> dict[str, bytes]:
    return {name: written(table, "csv") for name, table in found.items()}


@settings(deadline=None, max_examples=40)
@given(captures(), st.integers(1, 9), st.integers(1, 400))
def test_however_a_capture_is_cut_the_same_bytes_come_out(frames, batch_frames, buffer_bytes):
    data = content(frames)
    expected = csv_of(tables_of(data))
    assert csv_of(tables_of(data, batch_frames=batch_frames, buffer_bytes=buffer_bytes)) == expected


@settings(deadline=None, max_examples=25)
@given(captures(), st.integers(-(10**9), 10**9))
def test_shifting_all_times_shifts_the_answers_and_nothing_else(frames, slices):
    # By whole slices, because their boundaries are multiples of the interval.
    shift_ns = slices * 2 * MS
    usual = tables_of(content(frames))
    shifted = tables_of(content([Frame(f.time_ns + shift_ns, f.data) for f in frames]))
    for name, table in usual.items():
        for column in type(table).columns:
            mine, other = table.rows[column.name], shifted[name].rows[column.name]
            if column.unit == "epoch ns":
                known = mine >= 0 if column.null is not None else np.ones(len(mine), bool)
                other = np.where(known, other - shift_ns, other)
            assert np.array_equal(mine, other, equal_nan=mine.dtype.kind == "f"), (name, column.name)


@settings(deadline=None, max_examples=40)
@given(st.data(), captures())
def test_a_capture_in_several_files_is_the_same_capture(data, frames):
    cuts = data.draw(st.lists(st.integers(1, max(len(frames) - 1, 1)), unique=True, max_size=3).map(sorted))
    edges = [0, *cuts, len(frames)]
    parts = [frames[begin:end] for begin, end in pairwise(edges) if begin < end]
    # Files whose frames meet at one instant could follow each other in either order.
    if any(first[-1].time_ns == second[0].time_ns for first, second in pairwise(parts)):
        return
    order = data.draw(st.permutations(parts))
    expected, found = tables_of(content(frames)), tables_of(*(content(part) for part in order))
    for name in ("requests", "unanswered", "connections", "intervals"):
        assert written(found[name], "csv") == written(expected[name], "csv"), name
    for column in SegmentDetails.columns:
        if column.name not in ("file", "frame_in_file", "slot"):
            mine, other = found["segments"].rows[column.name], expected["segments"].rows[column.name]
            assert np.array_equal(mine, other), column.name


@settings(deadline=None, max_examples=40)
@given(st.data(), talks())
def test_interleaved_otherwise_connections_give_the_same_rows(data, several):
    parts = [data.draw(damaged(talk.frames())) for talk in several]
    alone = [tables_of(content(part)) for part in parts]
    together = tables_of(content(in_time_order(parts)))
    for name in ("requests", "unanswered", "connections", "segments"):
        expected = sorted(line for found in alone for line in lines_without_places(found[name]))
        assert sorted(lines_without_places(together[name])) == expected, name


def lines_without_places(table: Table) -> list[bytes]:
    # When the capture ends, a request of an open connection has waited until then: that instant is the capture's.
    capture_end = ("end_ns",) if isinstance(table, Unanswered) else ()
    names = [c.name for c in type(table).columns if not c.internal and c.name not in PLACES + capture_end]
    sink = io.BytesIO()
    with open_writer(sink, type(table), "csv", columns=names) as writer:
        writer.write(table)
    return sink.getvalue().splitlines()[1:]


@settings(deadline=None, max_examples=40)
@given(captures(), st.integers(0, 20), st.integers(1, 20))
def test_the_slices_of_a_part_are_slices_of_the_whole(frames, begin, slices):
    # But the last, which holds the events of the part's final instant too.
    edge_ns = START_NS + begin * 2 * MS
    until_ns = edge_ns + slices * 2 * MS
    whole = intervals_of(frames, Selection())
    part = intervals_of(frames, Selection(since_ns=edge_ns, until_ns=until_ns))[:-1]
    wanted = whole[(whole.start_ns >= edge_ns) & (whole.start_ns < until_ns)][: len(part)]
    assert written(part, "csv") == written(wanted, "csv")


def intervals_of(frames: list[Frame], selection: Selection) -> Intervals:
    collection = IntervalCollection(2 * MS)
    with open_capture([io.BytesIO(content(frames))]) as opened:
        pipeline = Pipeline(opened, Options(selection))
        for batch in pipeline:
            collection.feed(batch)
        return collection.table_type.concatenate([b.copy() for b in collection.rows(pipeline.span)])


@settings(deadline=None, max_examples=10)
@given(captures())
def test_files_are_the_same_bytes_in_every_run(frames):
    data = content(frames)
    first, second = tables_of(data), tables_of(data, batch_frames=3)
    for name, table in first.items():
        for format in ("parquet", "arrow"):
            assert written(table, format) == written(second[name], format), (name, format)
