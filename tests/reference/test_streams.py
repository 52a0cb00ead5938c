"""Reassembly and its index say what their slow twins say."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tcpsight.connections import ConnectionTracking
from tcpsight.connections.stream_index import StreamIndexing, pieces_of
from tcpsight.connections.streams import Bounds, Stream
from tcpsight.tables import INT64_MIN, KINDS, Boundaries, Pieces, Segments
from tests.reference.connections_strategies import traffic
from tests.reference.streams import Run, assemble, index
from tests.support.headers import headers_of
from tests.support.streams import kept, pieces_from

LETTERS = st.binary(min_size=0, max_size=12)
RUNS = st.lists(
    st.builds(
        lambda offset, data, cut, is_probe: Run(offset, data, len(data) + cut, is_probe),
        st.integers(-6, 40),
        LETTERS,
        st.integers(0, 4),
        st.booleans(),
    ),
    max_size=14,
)


def check_stream(runs, end, *, overlaps, has_start, most):
    pieces, store = pieces_from(runs)
    stream = Stream(pieces, kept(store), Bounds(end, None, has_start), overlaps=overlaps)
    twin = assemble(runs, end, overlaps=overlaps, has_start=has_start)
    assert (stream.start, stream.end) == (twin.start, twin.end)
    content: dict[int, int] = {}
    missing: set[int] = set()
    at = stream.start
    for block in stream.blocks(most=most):
        assert block.offset == at
        assert bool(block.data) != bool(block.missing_bytes)
        content.update(enumerate(block.data, block.offset))
        missing.update(range(block.offset, block.offset + block.missing_bytes))
        at += len(block.data) + block.missing_bytes
    assert at == stream.end
    assert content == twin.content
    assert missing == set(range(twin.start, twin.end)) - set(twin.content)
    assert stream.captured_bytes == len(content)
    assert stream.missing_bytes == len(missing)
    assert stream.cut_bytes == len(twin.sent & missing)


@given(RUNS, st.integers(0, 50), st.sampled_from(["first", "last"]), st.booleans(), st.integers(1, 9))
def test_streams_are_those_of_the_twin(runs, end, overlaps, has_start, most):
    check_stream(runs, end, overlaps=overlaps, has_start=has_start, most=most)


def check_conflicts(runs, overlaps):
    pieces, store = pieces_from(runs)
    stream = Stream(pieces, kept(store), overlaps=overlaps)
    twin = assemble(runs, 0, overlaps=overlaps, has_start=True)
    expected = {
        (number, at)
        for number, run in enumerate(runs)
        for at, byte in enumerate(run.data, run.offset)
        if not run.is_probe and at in twin.content and twin.content[at] != byte
    }
    found = set()
    for conflict in stream.conflicts():
        assert len(conflict.kept) == len(conflict.other)
        for at, (ours, theirs) in enumerate(zip(conflict.kept, conflict.other, strict=True), conflict.offset):
            assert ours != theirs
            assert twin.content[at] == ours
            found.add((conflict.frame_number - 1, at))
    assert found == expected


@given(RUNS, st.sampled_from(["first", "last"]))
def test_differing_content_is_told_wherever_it_is(runs, overlaps):
    check_conflicts(runs, overlaps)


def check_pattern(runs, pattern, end):
    pieces, store = pieces_from(runs)
    stream = Stream(pieces, kept(store), Bounds(end))
    twin = assemble(runs, end, overlaps="first", has_start=True)
    expected = [
        at
        for at in range(twin.start, twin.end)
        if all(twin.content.get(at + i) == byte for i, byte in enumerate(pattern))
    ]
    assert list(stream.find(pattern)) == expected


@given(RUNS, st.binary(min_size=1, max_size=3), st.integers(0, 50))
def test_a_pattern_is_found_where_it_is_and_never_across_a_hole(runs, pattern, end):
    check_pattern(runs, pattern, end)


def check_index(headers, size):
    positions = np.arange(len(headers), dtype=np.int64) * 1000
    tracking, indexing = ConnectionTracking(), StreamIndexing()
    pieces, streams, segments, turns = [], [], [], []
    for first in range(0, len(headers), size):
        part = headers[first : first + size]
        tracked = tracking.feed(part)
        indexed = indexing.feed(part, tracked, positions[first : first + size])
        segments.append(tracked.segments.copy())
        turns.append(tracked.boundaries.copy())
        turns[-1].position[:] += first
        pieces.append(indexed.pieces.copy())
        streams.append(indexed.streams.copy())
    tracked = tracking.finish()
    last = indexing.feed(headers[:0], tracked, positions[:0])
    turns.append(tracked.boundaries.copy())
    turns[-1].position[:] += len(headers)
    streams.append(last.streams.copy())
    whole = Pieces.concatenate(pieces)
    expected, ends = index(
        Segments.concatenate(segments).rows,
        Boundaries.concatenate(turns).rows,
        headers.captured_payload_bytes,
        positions,
    )
    names = ("connection_id", "direction", "offset", "position", "payload_bytes", "captured_bytes")
    assert [tuple(row[name] for name in names) for row in whole.rows] == expected
    found = [
        (
            int(row["connection_id"]),
            int(row["direction"]),
            (pieces_of(whole.rows, int(row["last_piece"]), int(row["pieces"])).position).tolist(),
            None if row["fin_offset"] == INT64_MIN else int(row["fin_offset"]),
        )
        for table in streams
        for row in table.rows
    ]
    assert found == [(c, side, [expected[n][3] for n in numbers], fin) for c, side, numbers, fin in ends]


@given(traffic, st.integers(1, 7), st.randoms(use_true_random=False))
def test_the_index_is_that_of_the_twin_however_batches_are_cut(rows, size, random):
    headers = headers_of(
        {name: np.frombuffer(v, np.uint8) if isinstance(v, bytes) else v for name, v in row.items()} for row in rows
    )
    headers.captured_payload_bytes[:] = [random.choice((0, n, n // 2)) for n in headers.payload_bytes.tolist()]
    check_index(headers, size)


def test_the_kinds_that_the_twin_names_by_number_are_those():
    assert (KINDS[3], KINDS[5]) == ("keep_alive", "duplicate")
