"""The log of exchanges and the bucket, against their slow twins."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tcpsight.network import _misfit, _policing
from tcpsight.network.exchanges import ENTRY
from tcpsight.tables import Headers
from tests.reference import policing
from tests.support.conversation import boundary, tables
from tests.support.thorough import up_to

MS = 1_000_000
SIZE = policing.SEGMENT
FLAGS = _policing.FLAGS

few = settings(max_examples=up_to(60), deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
steps = st.lists(
    st.tuples(st.sampled_from("NNNNNRGFA"), st.integers(0, 40), st.sampled_from([0, 1, 2, 4, 30])),
    min_size=70,
    max_size=120,
)


def event(now: int, direction: int, offset: int, payload: int, acked: int) -> dict[str, Any]:
    return {
        "time_ns": now, "connection_id": 1, "slot": 0, "direction": direction, "offset": offset, "acked_offset": acked,
        "payload_bytes": payload, "new_bytes": payload, "flags": 16, "window_bytes": 65535, "kind": 0,
    }  # fmt: skip


def check_log(script: list[tuple[str, int, int]]) -> None:
    """N: new, G: new behind a gap, R: sent again, F: the same anywhere, A: acknowledged."""
    twin, now, top, acked = policing.LogTwin(), 0, 0, 0
    events = [boundary("opened", 1, 0, 0)]
    for step, number, wait in [("N", 0, 1), *script]:  # an exchange begins with what is captured of it
        now += wait * MS + 4 * MS
        if step == "A":
            acked = min(top, acked + number * SIZE)
            events.append(event(now, 1, 0, 0, acked))
            twin.acknowledge(now, acked)
            continue
        start = top + (number % 3 + 1) * SIZE if step == "G" else top
        if step in "RF" and top:
            start = top - SIZE * (1 + number % (top // SIZE))
        events.append(event(now, 0, start, SIZE, 0))
        twin.data(now, start, SIZE)
        top = max(top, start + SIZE)
    events.append(boundary("ended", 1, 0, now))
    segments, boundaries = tables(events)
    logs = _policing.Logs()
    count = logs.feed(segments.packed(), Headers.allocate(len(segments)).packed(), boundaries.packed(), 1)
    lost = sum(s.is_lost and not s.is_spurious for s in twin.sent)
    is_long = len(twin.sent) >= 64 and twin.sent[-1].time_ns - twin.sent[0].time_ns >= 200 * MS
    assert count == (lost >= 15 or is_long)
    if count:
        entries = np.frombuffer(logs.exchange(0)[1], ENTRY)
        assert [found(e) for e in entries] == [wanted(s) for s in twin.sent]


@few
@given(steps)
def test_entries_are_those_of_the_twin(script: list[tuple[str, int, int]]) -> None:
    check_log(script)


def found(entry: Any) -> tuple[Any, ...]:
    flags, is_hole = int(entry["flags"]), bool(entry["flags"] & FLAGS["hole"])
    is_timed = flags & FLAGS["acked"] and not is_hole
    waits = (int(entry["waited_us"]), int(entry["delivered_us"])) if is_timed else (None, None)
    which = flags & (FLAGS["lost"] | FLAGS["again"] | FLAGS["hole"] | FLAGS["spurious"])
    return int(entry["time_ns"]), int(entry["start"]), int(entry["payload"]), which, *waits


def wanted(sent: policing.Sent) -> tuple[Any, ...]:
    which = FLAGS["lost"] * sent.is_lost + FLAGS["again"] * (not sent.is_original) + FLAGS["hole"] * sent.is_missed
    which += FLAGS["spurious"] * sent.is_spurious
    ends = (None, None) if sent.is_missed else (sent.acked_ns, sent.delivered_ns)
    waits = (None if end is None else (end - sent.time_ns) // 1000 for end in ends)
    return sent.time_ns, sent.start, sent.payload, which, *waits


def check_bucket(script: list[tuple[int, bool]], size: int, *, fills: bool) -> None:
    """Fill a bucket of some segments between losses: milliseconds before each, and whether it was lost."""
    rows = np.zeros(len(script) + 1, ENTRY)
    sent, now = [(0, SIZE, True)], 0
    rows["payload"], rows["flags"][0] = SIZE, FLAGS["lost"]
    for i, (wait, is_lost) in enumerate(script, 1):
        now += wait * MS
        rows["time_ns"][i], rows["flags"][i] = now, FLAGS["lost"] if is_lost else 0
        sent.append((now, SIZE, is_lost))
    rate, limits = SIZE / (2 * MS), (1500.0, -500.0)
    losses, passes = policing.explain(sent, rate, size * SIZE, limits, fills=fills)
    counts = max(1, sum(lost for _, _, lost in sent[1:])), max(1, sum(not lost for _, _, lost in sent))
    bucket = np.array([rate, float(size * SIZE), *limits, float(SIZE), float(fills)])
    outside = _policing.explain(rows.view(np.uint8), bucket)
    assert outside[:2] == pytest.approx((losses / counts[0], passes / counts[1]))
    assert 0 <= outside[2] <= 1


bursts = st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=60)


@few
@given(bursts, st.integers(1, 20), st.booleans())
def test_the_bucket_is_that_of_the_twin(script: list[tuple[int, bool]], size: int, fills: bool) -> None:
    check_bucket(script, size, fills=fills)


kinds = st.sampled_from(["lost", "passed", "missed", "lost and missed"])
entries = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 2 * SIZE), kinds), min_size=1, max_size=60)


@few
@given(entries, st.integers(0, 20), st.booleans())
def test_the_misfit_of_a_bucket_is_that_of_the_twin(script: list[tuple[int, int, str]], size: int, fills: bool) -> None:
    rows = np.zeros(len(script) + 1, ENTRY)
    sent, now = list[tuple[int, int, bool, bool]](), 0
    for i, (wait, payload, kind) in enumerate([(0, SIZE, "lost"), *script]):
        now += wait * MS
        is_lost, is_hole = "lost" in kind, "missed" in kind
        flags = FLAGS["lost"] * is_lost | FLAGS["hole"] * is_hole
        rows["time_ns"][i], rows["payload"][i], rows["flags"][i] = now, payload, flags
        sent.append((now, payload, is_lost, is_hole))
    rates = [0.0, SIZE / (3 * MS), SIZE / MS, 4 * SIZE / MS]
    out = np.empty(len(rates))
    buckets = np.array([(rate, size * SIZE, SIZE) for rate in rates], np.float64)
    _misfit.misfits(rows.view(np.uint8), buckets, fills, out)
    assert out.tolist() == pytest.approx([policing.misfit(sent, *bucket, fills=fills) for bucket in buckets])


def test_what_is_no_bucket_has_no_misfit() -> None:
    rows, out = np.zeros(3, ENTRY).view(np.uint8), np.empty(1)
    _misfit.misfits(rows[:0], np.ones((1, 3)), False, out)
    assert out.tolist() == [0]
    for buckets in (np.ones((1, 2)), np.ones((2, 3)), np.zeros((1, 3))):
        with pytest.raises(ValueError, match=r"bucket|segment"):
            _misfit.misfits(rows, buckets, False, out)
    with pytest.raises(ValueError, match="rows"):
        _misfit.misfits(rows[1:], np.ones((1, 3)), False, out)


def test_logs_of_all_connections_have_a_limit() -> None:
    """65,535 segments per direction; what follows is not logged, and the row says so."""
    count = 70_000
    events = [boundary("opened", 1, 0, 0)]
    segments, _ = tables([*events, event(0, 0, 0, SIZE, 0)])
    many = type(segments)(np.repeat(segments.rows, count))
    many.offset[:], many.time_ns[:] = np.arange(count) * SIZE, np.arange(count) * 10_000
    _, opened = tables(events)
    _, ended = tables([boundary("ended", 1, 0, 0)])
    logs = _policing.Logs()
    logs.feed(many.packed(), Headers.allocate(count).packed(), opened.packed(), 1)
    assert logs.memory() == 65_536 * ENTRY.itemsize
    nothing = many[:0]
    assert logs.feed(nothing.packed(), Headers().packed(), ended.packed(), 1) == 1
    known, entries = logs.exchange(0)
    assert len(entries) == 65_535 * ENTRY.itemsize
    logs.feed(nothing.packed(), Headers().packed(), ended[:0].packed(), 0)
    assert logs.memory() == 0
    assert known
