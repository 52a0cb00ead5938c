"""Laws of a watch: what is told while time goes on depends on the frames alone, and adds up to the whole."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tcpsight.capture import open_capture
from tcpsight.pipeline import Options, Pipeline
from tcpsight.slices import IntervalCollection
from tcpsight.tables import Frames, Intervals, Table
from tcpsight.watching import Slice, Watch, Watched
from tests.properties.test_pipeline import captures, content
from tests.support.pcap import Frame
from tests.support.thorough import up_to
from tests.support.traffic import MS

INTERVAL_NS = 2 * MS
FOR_EVER_NS = 10**16

LATENESS_NS = st.sampled_from([0, MS, INTERVAL_NS, 3 * INTERVAL_NS, 17 * MS])


def watched(batches: Any, lateness_ns: int, **how: Any) -> list[Slice]:
    pipeline = Pipeline([], Options(given_at="answer"))
    return list(Watch(batches, pipeline, Watched(INTERVAL_NS, lateness_ns, **how)))


def of(frames: list[Frame], **how: Any) -> Iterator[Frames]:
    with open_capture([io.BytesIO(content(frames))], **how) as capture:
        yield from capture


def rows(slices: list[Slice]) -> list[tuple[Any, ...]]:
    return [
        # As values: between the columns of a row lie bytes that mean nothing.
        (
            each.start_ns,
            each.end_ns,
            repr(each.total.rows.tolist()),
            repr(each.services.rows.tolist()),
            len(each.arrived),
        )
        for each in slices
    ]


def joined(tables: list[Table]) -> np.ndarray[Any, Any]:
    return np.concatenate([table.rows for table in tables])


@settings(deadline=None, max_examples=up_to(60))
@given(captures(), st.integers(1, 9), LATENESS_NS, st.sampled_from([1, 2, 100]))
def test_however_frames_are_cut_the_same_slices_are_told(frames, batch_frames, lateness_ns, most_services):
    expected = rows(watched(of(frames), lateness_ns, most_services=most_services))
    cut = of(frames, batch_frames=batch_frames)
    assert rows(watched(cut, lateness_ns, most_services=most_services)) == expected


@settings(deadline=None, max_examples=up_to(60))
@given(st.data(), captures(), LATENESS_NS)
def test_silence_that_was_told_changes_nothing(data, frames, lateness_ns):
    """Live, silence is told before the next frame comes; in a replay that frame itself tells it."""

    def interrupted() -> Iterator[Frames]:
        previous_ns = None
        for batch in of(frames, batch_frames=1):
            now_ns = int(batch.time_ns[0])
            if previous_ns is not None and data.draw(st.booleans()):
                for until_ns in sorted(data.draw(st.lists(st.integers(previous_ns, now_ns), max_size=3))):
                    yield Frames(until_ns=until_ns)
            yield batch
            previous_ns = now_ns

    assert rows(watched(interrupted(), lateness_ns)) == rows(watched(of(frames), lateness_ns))


@settings(deadline=None, max_examples=up_to(60))
@given(captures())
def test_a_watch_that_waits_for_every_answer_tells_the_slices_of_the_whole_capture(frames):
    # Live, nobody knows yet that nothing comes after a boundary; what happens there is a slice of its own.
    assume(max(frame.time_ns for frame in frames) % INTERVAL_NS)
    slices = watched(of(frames), FOR_EVER_NS)
    collection = IntervalCollection(INTERVAL_NS)
    with open_capture([io.BytesIO(content(frames))]) as capture:
        pipeline = Pipeline(capture, Options())
        for batch in pipeline:
            collection.feed(batch)
        expected = joined([block.copy() for block in collection.rows(pipeline.span)])
    found = joined([each.total for each in slices])
    for column in Intervals.columns:
        assert np.array_equal(found[column.name], expected[column.name], equal_nan=True), column.name


@settings(deadline=None, max_examples=up_to(60))
@given(captures(), LATENESS_NS)
def test_every_answered_request_arrives_in_a_slice_or_is_late(frames, lateness_ns):
    slices = watched(of(frames), lateness_ns, with_totals=True)
    total = joined([each.total for each in slices])
    pipeline = Pipeline(of(frames), Options())
    answered = sum(len(batch.requests) for batch in pipeline)
    assert total["arrivals"].sum() + total["late"].sum() == answered
    assert total["completions"].sum() == answered
    assert sum(len(each.arrived) for each in slices) == total["arrivals"].sum()
    last = slices[-1]
    assert last.totals.requests.sum() == answered
    assert last.totals.late.sum() == total["late"].sum()
    assert last.histogram.sum() == answered


@settings(deadline=None, max_examples=up_to(60))
@given(captures(), LATENESS_NS)
def test_the_rows_of_services_add_up_to_the_total(frames, lateness_ns):
    for each in watched(of(frames), lateness_ns, most_services=1):
        for name in ("arrivals", "completions", "backlog", "unanswered", "unanswered_backlog", "weighted_ns", "late"):
            assert each.services.rows[name].sum() == each.total.rows[name].sum(), name


@settings(deadline=None, max_examples=40)
@given(captures(), LATENESS_NS)
def test_totals_never_fall_and_end_with_what_the_connections_say(frames, lateness_ns):
    slices = watched(of(frames), lateness_ns, with_totals=True)
    sums = np.array([[each.totals.rows[name].sum() for name in ("requests", "connections", "client_bytes",
                      "server_segments", "client_retransmissions")] for each in slices])  # fmt: skip
    assert (np.diff(sums, axis=0) >= 0).all()
    ended = [batch.connections.rows.copy() for batch in Pipeline(of(frames), Options())]
    connections = np.concatenate(ended)
    assert sums[-1, 1] == len(connections)
    for place, name in ((2, "client_bytes"), (3, "server_segments"), (4, "client_retransmissions")):
        assert sums[-1, place] == connections[name].sum(), name
