"""Intervals from a whole capture: collected first, cut then."""

from __future__ import annotations

import pytest

from tcpsight.analysis import Analysis
from tcpsight.pipeline import Options
from tcpsight.selection import Selection
from tcpsight.slices import IntervalCollection
from tcpsight.tables import Intervals, KeyedIntervals
from tests.support.pcap import pcap_bytes
from tests.support.traffic import MS, START_NS, Exchange, Talk, answered, capture


def collect(tmp_path, talks, interval_ns=None, *, options=None, **chosen):
    path = tmp_path / "talks.pcap"
    path.write_bytes(pcap_bytes(capture(talks), nanoseconds=True))
    collection = IntervalCollection(interval_ns, **chosen)
    with Analysis([path], options).run() as run:
        for batch in run:
            collection.feed(batch)
        blocks = [block.copy() for block in collection.rows(run.pipeline.span)]
    return collection, collection.table_type.concatenate(blocks)


def test_the_interval_is_ten_times_the_99th_percentile(tmp_path):
    collection, rows = collect(tmp_path, [Talk(answered(*[4] * 50))])
    assert collection.chosen is not None
    assert collection.chosen.interval_ns == 50 * MS
    assert set(rows.length_ns[1:-1].tolist()) == {50 * MS}


def test_a_given_interval_is_not_chosen(tmp_path):
    collection, rows = collect(tmp_path, [Talk(answered(4))], MS)
    assert collection.chosen is None
    assert set(rows.length_ns[1:-1].tolist()) == {MS}


def test_requests_that_became_final_late_are_in_their_slice(tmp_path):
    # The first connection's request is final at its end, long after those of the second.
    talks = [Talk([Exchange(MS, 200 * MS)]), Talk(answered(*[1] * 15, after_ms=9), client_port=41_000)]
    _, rows = collect(tmp_path, talks, 10 * MS)
    assert int(rows.arrivals.sum()) == int(rows.completions.sum()) == 16
    assert int(rows.weighted_ns.sum()) == 215 * MS
    assert rows.start_ns.tolist() == sorted(rows.start_ns.tolist())


def test_unanswered_requests_wait_until_their_connection_ends(tmp_path):
    talks = [
        Talk([Exchange(MS, None)], is_closed=False),
        Talk(answered(1), client_port=41_000, start_ns=START_NS + 10**9),
    ]
    _, rows = collect(tmp_path, talks, 100 * MS)
    assert int(rows.unanswered.sum()) == 1
    assert int(rows.unanswered_weighted_ns.sum()) > 10**9
    assert set(rows.unanswered_backlog[:-1].tolist()) == {1}


@pytest.mark.parametrize("by", ["service", "server", "client"])
def test_keys_add_up_to_the_whole(tmp_path, by):
    talks = [
        Talk(answered(1, 2, 3), client=f"10.0.0.{i}", server_port=80 + i % 2, client_port=40_000 + i) for i in range(6)
    ]
    _, whole = collect(tmp_path, talks, 10 * MS)
    collection, keyed = collect(tmp_path, talks, 10 * MS, by=by)
    assert collection.table_type is KeyedIntervals
    for name in ("arrivals", "completions", "weighted_ns"):
        assert int(keyed.rows[name].sum()) == int(whole.rows[name].sum())
    assert set(keyed.start_ns.tolist()) == set(whole.start_ns.tolist())


def test_the_series_is_cut_to_the_wanted_time(tmp_path):
    talks = [Talk(answered(*[1] * 100, after_ms=9))]
    selection = Selection(since_ns=START_NS + 200 * MS, until_ns=START_NS + 400 * MS)
    _, rows = collect(tmp_path, talks, 50 * MS, options=Options(selection))
    assert rows.start_ns.tolist() == [START_NS + n * MS for n in (200, 250, 300, 350)]
    assert int(rows.arrivals.sum()) == 20


@pytest.mark.parametrize("by", [None, "service"])
def test_a_stall_is_no_idle_server_even_if_its_requests_arrived_before(tmp_path, by):
    talks = [
        Talk(answered(2000), client_port=40_000),
        Talk([Exchange(10 * MS, None)], client_port=40_001, start_ns=START_NS + MS, is_closed=False),
        Talk(answered(1), client_port=40_002, start_ns=START_NS + MS),
        Talk(answered(1), client_port=40_003, start_ns=START_NS + 1500 * MS),
    ]
    selection = Selection(since_ns=START_NS + 200 * MS, until_ns=START_NS + 400 * MS)
    _, rows = collect(tmp_path, talks, 100 * MS, options=Options(selection), by=by)
    if by:
        # The service has rows of its own, before those of all others.
        assert rows.is_other.tolist() == [False, True] * 2
        rows = rows[::2]
    assert rows.arrivals.tolist() == rows.completions.tolist() == rows.unanswered.tolist() == [0, 0]
    assert rows.backlog.tolist() == rows.unanswered_backlog.tolist() == [1, 1]
    assert rows.concurrency.tolist() == rows.utilization_fraction.tolist() == [1, 1]
    assert rows.unanswered_weighted_ns.tolist() == [100 * MS] * 2
    assert rows.response_time_p99_ns.tolist() == [-1, -1]


def test_nothing_gives_no_rows():
    assert list(IntervalCollection().rows(None)) == []
    assert IntervalCollection().table_type is Intervals
