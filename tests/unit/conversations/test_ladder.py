"""The ladder: relative numbers, what was under way, what was missing, and that cutting into batches changes nothing."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from tcpsight.conversations.ladder import LadderMaking
from tcpsight.output.ladders import flow_lines, flow_svg, ladder_lines, rungs
from tcpsight.tables import FLAG_ACK, FLAG_FIN, FLAG_SYN, INT64_MIN, KINDS, Headers, SegmentDetails

CLIENT_ISN, SERVER_ISN = 2**32 - 10, 5000
ISNS = (CLIENT_ISN, SERVER_ISN)


def rows(*steps):
    """Make segments and their headers: (direction, flags, offset, acked offset or None, payload, kind)."""
    segments, headers = SegmentDetails.allocate(len(steps)), Headers.allocate(len(steps))
    for i, (direction, flags, offset, acked, payload, kind) in enumerate(steps):
        row, header = segments.rows[i], headers.rows[i]
        row["connection_id"], row["frame_number"], row["time_ns"] = 1, i + 1, i * 10**8
        row["direction"], row["flags"], row["offset"], row["payload_bytes"] = direction, flags, offset, payload
        row["captured_payload_bytes"], row["window_bytes"], row["kind"] = payload, 1000, KINDS.index(kind)
        row["acked_offset"] = INT64_MIN if acked is None else acked
        header["frame_number"], header["flags"] = i + 1, flags
        header["sequence_number"] = (ISNS[direction] + 1 + offset) % 2**32
        header["acknowledgment_number"] = 0 if acked is None else (ISNS[1 - direction] + 1 + acked) % 2**32
    return segments, headers


TALK = (
    (0, FLAG_SYN, -1, None, 0, "new"),
    (1, FLAG_SYN | FLAG_ACK, -1, 0, 0, "new"),
    (0, FLAG_ACK, 0, 0, 0, "new"),
    (0, FLAG_ACK, 0, 0, 100, "new"),
    (0, FLAG_ACK, 200, 0, 50, "new"),  # a hundred bytes before it were not seen
    (1, FLAG_ACK, 0, 100, 0, "new"),
    (0, FLAG_ACK, 100, 0, 100, "out_of_order"),
    (1, FLAG_ACK, 0, 250, 0, "new"),
    (0, FLAG_ACK | FLAG_FIN, 250, 0, 0, "new"),
    (1, FLAG_ACK | FLAG_FIN, 0, 251, 0, "new"),
    (0, FLAG_ACK, 251, 1, 0, "new"),
)


def test_numbers_count_from_the_syn_and_do_not_wrap():
    table = LadderMaking().feed(*rows(*TALK))
    assert table.relative_sequence.tolist() == [0, 0, 1, 1, 201, 1, 101, 1, 251, 1, 252]
    assert table.relative_acknowledgment.tolist() == [INT64_MIN, 1, 1, 1, 1, 101, 1, 251, 1, 252, 2]
    assert table.sequence_number.tolist()[:5] == [2**32 - 10, 5000, 2**32 - 9, 2**32 - 9, 191]
    assert table.acknowledgment_number.tolist()[:2] == [-1, 2**32 - 9]


def test_what_is_missing_in_front_of_a_segment_is_told_once_and_a_fin_is_no_hole():
    assert LadderMaking().feed(*rows(*TALK)).missing_bytes.tolist() == [0, 0, 0, 0, 100, 0, 0, 0, 0, 0, 0]


def test_in_flight_is_what_was_sent_and_not_acknowledged():
    in_flight = LadderMaking().feed(*rows(*TALK)).in_flight_bytes.tolist()
    assert in_flight[3:8] == [100, 250, 0, 150, 0]


def test_a_segment_that_could_not_be_placed_counts_from_where_its_stream_begins():
    segments, headers = rows(*TALK[:4])
    segments.rows["offset"][3] = INT64_MIN
    headers.rows["sequence_number"][3] = (CLIENT_ISN + 3_000_000_000) % 2**32
    assert LadderMaking().feed(segments, headers).relative_sequence.tolist()[3] == 3_000_000_000


@given(st.lists(st.integers(0, len(TALK))))
def test_cutting_into_batches_changes_nothing(cuts):
    segments, headers = rows(*TALK)
    whole = LadderMaking().feed(segments, headers).rows
    making = LadderMaking()
    edges = [0, *sorted(cuts), len(TALK)]
    parts = [making.feed(segments[a:b], headers[a:b]).rows for a, b in itertools.pairwise(edges)]
    assert b"".join(part.tobytes() for part in parts) == whole.tobytes()


def test_a_flow_graph_has_an_arrow_for_each_segment_and_says_what_is_special():
    table = LadderMaking().feed(*rows(*TALK))
    lines = list(flow_lines(rungs([table], 0), "a:1", "b:2"))
    arrows = [line for line in lines if "─" in line]
    assert len(arrows) == len(TALK)
    assert "→│" in arrows[0]
    assert "│←" in arrows[1]
    assert arrows[4].endswith("100 B missing before it")
    assert any("100 ms of silence" in line for line in lines)
    svg = "".join(flow_svg(rungs([table], 0), "<a>", "b:2"))
    assert svg.count("<line class=") == len(TALK)
    assert "&lt;a&gt;" in svg
    assert len(list(ladder_lines(rungs([table], 0)))) == len(TALK) + 1


def test_payload_that_was_not_captured_is_told_but_nothing_to_worry_about():
    segments, headers = rows(*TALK)
    segments.captured_payload_bytes[:] = 0
    found = list(rungs([LadderMaking().feed(segments, headers)], 0))
    assert [(rung.marks, rung.lacking, rung.remarks) for rung in found if rung.length] == [
        ("", "100 B cut off", "100 B cut off"),
        ("100 B missing before it", "50 B cut off", "100 B missing before it, 50 B cut off"),
        ("out of order", "100 B cut off", "out of order, 100 B cut off"),
    ]
    svg = "".join(flow_svg(found, "a", "b"))
    assert (svg.count('class="m"'), svg.count('class="b"')) == (2, 2)
    assert ">100 B cut off</text>" in svg
