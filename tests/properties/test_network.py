"""Laws of the network room: what must not change its rows, and what its columns must add up to."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from tcpsight.capture import open_capture
from tcpsight.connections import ConnectionTracking
from tcpsight.decode import Decoding
from tcpsight.errors import CaptureError
from tcpsight.network import NetworkMeasuring, agree_on_times
from tcpsight.tables import FLAG_SYN, Connections, Headers, Network
from tests.reference.connections_strategies import traffic
from tests.reference.network.measuring import Twin
from tests.reference.network.strategies import moves, rows_of_a_path, settings_of_a_path
from tests.reference.network.test_measuring import as_headers, compare, events_of
from tests.support.headers import A_ADDRESS, Row, follow
from tests.support.headers import rows_of as rows_of_script
from tests.support.network import measure
from tests.support.thorough import up_to

paths = st.builds(rows_of_a_path, settings_of_a_path, st.lists(moves, max_size=40))
CAUSES = ("timeout_retransmissions", "fast_retransmissions", "tail_loss_probes", "spurious_retransmissions")
LARGEST_CAPTURE_BYTES = 300_000

HOUR_NS = 3600 * 10**9
STEPS_NS = st.sampled_from([0, 0, 0, 0, 1, -1, 10**6, -(10**6), 10**9, 2 * HOUR_NS, -2 * HOUR_NS, 10**17, -(10**17)])
"""What a clock does between two segments, beside what passes."""

OF_ANOTHER = {"bug5.pcap"}
"""Captures in which a SYN of another connection of the same endpoints is held until it is known whose it is.

`connections` counts it for the one that it opens in the end; here it counts for the one that was open when it came.
"""


def columns(network: Network) -> dict[str, list[Any]]:
    return {c.name: network.rows[c.name].tolist() for c in Network.columns}


def measured_in_pieces(table: Headers, cuts: list[int]) -> Network:
    """Track and measure batch by batch, as the pipeline does."""
    tracking, measuring, pieces = ConnectionTracking(), NetworkMeasuring(), []
    edges = [0, *sorted(min(cut, len(table)) for cut in cuts), len(table)]
    for begin, end in pairwise(edges):
        tracked, batch = tracking.feed(table[begin:end]), table[begin:end]
        pieces.append(measuring.feed(tracked.segments, batch, tracked.boundaries).copy())
    tracked = tracking.finish()
    pieces.append(measuring.feed(tracked.segments, Headers(), tracked.boundaries).copy())
    return Network.concatenate(pieces)


@settings(max_examples=up_to(150), deadline=None)
@given(traffic | paths, st.lists(st.integers(0, 60), max_size=6))
def test_cutting_into_batches_changes_nothing(rows: list[Row], cuts: list[int]):
    table = as_headers(rows)
    assert columns(measured_in_pieces(table, cuts)) == columns(measure(table))
    assert columns(measured_in_pieces(table, list(range(len(table))))) == columns(measure(table))


@settings(max_examples=up_to(150), deadline=None)
@given(paths, st.integers(-(10**17), 10**18))
def test_a_shift_of_all_times_shifts_instants_and_nothing_else(rows: list[Row], shift: int):
    here, there = measure(as_headers(rows)), measure(as_headers([r | {"time_ns": r["time_ns"] + shift} for r in rows]))
    for column in Network.columns:
        expected, given_later = here.rows[column.name], there.rows[column.name]
        if column.unit == "epoch ns":
            # Internal instants are 0 where there is none.
            expected = np.where((expected == 0) & column.internal, 0, expected + shift)
        assert given_later.tolist() == expected.tolist(), column.name


@settings(max_examples=up_to(100), deadline=None)
@given(st.lists(paths, min_size=2, max_size=3), st.data())
def test_however_connections_interleave_each_gives_the_same_rows(talks: list[list[Row]], data: st.DataObject):
    for i, talk in enumerate(talks):
        for row in talk:
            row["source_port" if row["source_address"] == A_ADDRESS else "destination_port"] += i
            # Far from any time-out, so that only the order in which they are told is another one.
            row["time_ns"] = 10**18
    rest = [list(talk) for talk in talks]
    mixed: list[Row] = []
    while any(rest):
        alive = [talk for talk in rest if talk]
        mixed.append(alive[data.draw(st.integers(0, len(alive) - 1))].pop(0))

    def by_port(rows: list[Row]) -> dict[tuple[int, int], tuple[Any, ...]]:
        names = [c.name for c in Network.columns if c.name != "connection_id"]
        listed = columns(measure(as_headers(rows)))
        found: dict[tuple[int, int], tuple[Any, ...]] = {}
        for i, port in enumerate(listed["client_port"]):
            found[port, listed["direction"][i]] = tuple(repr(listed[name][i]) for name in names)
        return found

    assert by_port(mixed) == by_port([row for talk in talks for row in talk])


# --- what adds up


def check_sums(network: Network, connections: Connections, name: str = "") -> None:
    """Check that columns agree with each other and with those of the connections."""
    whose = {int(row["connection_id"]): row for row in connections.rows}
    assert len(network) == 2 * len(connections)
    agree_on_times(network, connections)
    for row in network.rows:
        side, connection = ("client", "server")[row["direction"]], whose[int(row["connection_id"])]
        check_row(row)
        assert (row["start_ns"], row["end_ns"]) == (connection["start_ns"], connection["end_ns"])
        if name not in OF_ANOTHER:
            assert row["segments"] == connection[f"{side}_segments"]
        if not connection["is_sequenced"]:
            continue
        for column in ("retransmissions", "control_retransmissions", "retransmitted_bytes"):
            assert row[column] == connection[f"{side}_{column}"], column
        assert row["bytes"] == connection[f"{side}_bytes"] - connection[f"{side}_gap_bytes"]


def check_row(row: np.void) -> None:
    for column in Network.columns:
        # An offset may lie before the first byte that was captured.
        is_count = column.unit != "epoch ns" and not column.name.endswith("_offset")
        if column.dtype.startswith("int") and is_count:
            assert row[column.name] >= (0 if column.null is None else -1), column.name
    if row["retransmissions"] >= 0:
        assert row["retransmissions"] == sum(row[cause] for cause in CAUSES)
        assert row["control_retransmissions"] <= row["retransmissions"]
        assert row["reordered"] <= row["out_of_order"]
        assert row["goodput_bits_per_s"] <= row["throughput_bits_per_s"]
        assert row["non_idle_ns"] <= row["end_ns"] - row["start_ns"]
        assert row["zero_window_ns"] <= row["end_ns"] - row["start_ns"]
        assert row["window_below_mss_ns"] <= row["end_ns"] - row["start_ns"]
        if row["window_below_mss_ns"] >= 0:
            assert row["zero_window_ns"] <= row["window_below_mss_ns"]
    assert row["segments"] <= row["wire_segments"]
    assert row["rtt_delayed_samples"] <= row["rtt_samples"]
    assert row["rtt_min_ns"] <= row["rtt_p50_ns"] <= row["rtt_p95_ns"] <= row["rtt_max_ns"]
    assert (row["rtt_samples"] > 0) == (row["rtt_min_ns"] >= 0)


def one_sided(*what: str) -> list[Row]:
    """Rows of a client that nobody answers, of a connection whose handshake was missed."""
    move = {"side": 0, "length": 100, "which": 0, "step": 0, "echo": "receiver", "window": 1000, "lag": 0, "edge": 0}
    path = {"timestamps": False, "sack": False, "handshake": 0, "isn": 1000, "mss": 1460}
    return rows_of_a_path(path, [move | {"what": one} for one in what])


@settings(max_examples=up_to(150), deadline=None)
@example(one_sided("data", "syn again", "syn again"))
@example(one_sided(*("data",) * 4, "fin again", "fin", "fin again"))
@given(paths)
def test_columns_add_up(rows: list[Row]):
    table = as_headers(rows)
    followed = follow([table])
    # A SYN with another number is held until it is clear whose it is, and may count for the connection it opens.
    syns = {
        (row["source_address"], row["source_port"], row["sequence_number"]) for row in rows if row["flags"] & FLAG_SYN
    }
    assume(len(syns) == len({endpoint[:2] for endpoint in syns}))
    check_sums(NetworkMeasuring().feed(followed.segments, table, followed.boundaries), followed.connections)


@settings(max_examples=up_to(200), deadline=None)
@given(paths, st.data())
def test_columns_add_up_and_the_twin_agrees_however_clocks_are_set(rows: list[Row], data: st.DataObject):
    ahead = 0
    for row in rows:
        ahead += data.draw(STEPS_NS)
        row["time_ns"] += ahead
    table = as_headers(rows)
    followed = follow([table])
    network = NetworkMeasuring().feed(followed.segments, table, followed.boundaries)
    twin = Twin()
    twin.take(events_of(followed.segments, table, followed.boundaries))
    compare(network, twin.network)
    agree_on_times(network, followed.connections)
    for row in network.rows:
        check_row(row)


@st.composite
def whole_talks(draw: st.DrawFn) -> list[Row]:
    """A talk on a path that loses nothing: requests, answers of several segments, acknowledgments."""
    stamps = draw(st.sampled_from(["", " ts={0}/{0}"]))
    lines = ["0 > S seq=1000 mss=1460 ws=7", "20 < SA seq=5000 mss=1460 ws=7", "21 > A"]
    now = 30
    for answer in draw(st.lists(st.lists(st.integers(1, 1460), min_size=1, max_size=12), min_size=1, max_size=8)):
        lines.append(f"{now} > PA {draw(st.integers(1, 1460))}")
        for i, size in enumerate(answer):
            now += draw(st.integers(1, 50))
            lines.append(f"{now} < A {size}")
            if i % 2 or i == len(answer) - 1:
                now += draw(st.integers(1, 50))
                lines.append(f"{now} > A")
        now += draw(st.integers(1, 500))
    lines += [f"{now} > FA", f"{now + 20} < FA", f"{now + 21} > A"] * draw(st.booleans())
    return rows_of_script("\n".join(line + stamps.format(i) for i, line in enumerate(lines)))


@settings(max_examples=up_to(200), deadline=None)
@given(whole_talks(), st.data())
def test_what_the_capture_missed_is_never_counted_as_lost(rows: list[Row], data: st.DataObject):
    is_kept = data.draw(st.lists(st.booleans() | st.just(True), min_size=len(rows), max_size=len(rows)))
    captured = [row for row, kept in zip(rows, is_kept, strict=True) if kept]
    for row in measure(as_headers(captured)).rows:
        for name in ("retransmissions", "out_of_order", "reordered", "retransmitted_bytes", *CAUSES):
            assert row[name] == 0, name


def headers_in(path: Path) -> Headers:
    """Decode a capture, or what can be read of it."""
    decoding, blocks = Decoding(), []
    try:
        with open_capture([path]) as capture:
            blocks += [decoding.feed(frames).copy() for frames in capture]
    except CaptureError:
        pass
    return Headers.concatenate(blocks) if blocks else Headers()


@pytest.mark.parametrize("part", range(4))
def test_columns_add_up_and_the_twin_agrees_on_recorded_captures(corpus_dir: Path, part: int):
    names = sorted(
        p for p in (corpus_dir / "captures").rglob("*") if p.is_file() and p.suffix.startswith((".pcap", ".cap"))
    )
    told = 0
    for path in names[part::4]:
        if path.stat().st_size > LARGEST_CAPTURE_BYTES:
            continue
        table = headers_in(path)
        followed = follow([table])
        network = NetworkMeasuring().feed(followed.segments, table, followed.boundaries)
        twin = Twin()
        twin.take(events_of(followed.segments, table, followed.boundaries))
        compare(network, twin.network)
        check_sums(network, followed.connections, path.name)
        told += len(network)
    assert told > 500
