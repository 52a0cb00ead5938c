"""What was lost in an exchange, and when what arrived: without SACK, acknowledgments alone tell."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tcpsight.network import _policing
from tcpsight.network.exchanges import ENTRY, Exchange
from tcpsight.tables import INT64_MIN, Boundaries, Headers, Segments
from tests.support.conversation import boundary, tables
from tests.support.headers import follow
from tests.support.headers import headers as headers_of_script

SIZE = 1000
MS = 1_000_000
MANY = 70
"""Segments enough for a judgment."""


def exchange(*events: tuple[float, str, int], back_ns: int = 0) -> Exchange | None:
    """Log new segments of the client, 4 ms apart from 0 on and acknowledged 20 ms later, then events.

    An event is the time in ms since the last of them, ``>`` and the segment sent (0: the first new one) or ``<``
    and how many of those are acknowledged. `back_ns`: by how much the clock is set back then.
    """
    rows: list[dict[str, Any]] = [boundary("opened", 1, 0, 0)]
    regular = [(4.0 * i, ">", i - MANY) for i in range(MANY)] + [(4.0 * i + 20, "<", i + 1 - MANY) for i in range(MANY)]
    begin = 4.0 * MANY + 20
    for ms, side, number in sorted(regular) + [(begin + ms, side, number) for ms, side, number in events]:
        rows.append(
            {
                "time_ns": round(ms * MS) - (back_ns if ms >= begin else 0), "connection_id": 1, "slot": 0, "kind": 0,
                "direction": "<>".index(side) ^ 1, "offset": (MANY + number) * SIZE if side == ">" else 0,
                "acked_offset": (MANY + number) * SIZE if side == "<" else 0, "flags": 16, "window_bytes": 65535,
                "payload_bytes": SIZE * (side == ">"), "new_bytes": SIZE * (side == ">"),
            }
        )  # fmt: skip
    rows.append(boundary("ended", 1, 0, rows[-1]["time_ns"]))
    return logged(*tables(rows))


def logged(segments: Segments, boundaries: Boundaries, headers: Headers | None = None) -> Exchange | None:
    logs = _policing.Logs()
    headers = headers or Headers.allocate(len(segments))
    if logs.feed(segments.packed(), headers.packed(), boundaries.packed(), 1) == 0:
        return None
    return Exchange(np.frombuffer(logs.exchange(0)[1], ENTRY), 0, 0)


def lost(*events: tuple[float, str, int]) -> list[int]:
    """Give which segments after the regular ones were lost, by their place in the log."""
    found = exchange(*events)
    assert found is not None
    return (np.flatnonzero(found.is_lost) - MANY).tolist()


def test_what_was_sent_again_before_it_was_acknowledged_was_lost():
    assert lost((0, ">", 0), (60, ">", 0), (80, "<", 1)) == [0]


def test_what_was_sent_again_after_it_had_been_acknowledged_was_not():
    assert lost((0, ">", 0), (20, "<", 1), (60, ">", 0)) == []


@pytest.mark.parametrize(("acknowledged", "expected"), [(78, [0]), (76, [])])
def test_an_acknowledgment_sooner_than_a_round_trip_is_not_of_the_copy(acknowledged, expected):
    """7/8 of 20 ms."""
    assert lost((0, ">", 0), (60, ">", 0), (acknowledged, "<", 1)) == expected


def test_of_several_copies_the_last_that_can_have_been_acknowledged_was():
    assert lost((0, ">", 0), (60, ">", 0), (100, ">", 0), (105, "<", 1)) == [0]
    assert lost((0, ">", 0), (90, ">", 0), (100, ">", 0), (105, "<", 1)) == []


def test_the_first_acknowledgment_of_an_exchange_repeats_none():
    """One of the byte before the first tells of nothing behind it."""
    sent = [{"direction": 0, "offset": i * SIZE, "payload_bytes": SIZE, "new_bytes": SIZE} for i in range(MANY)]
    early = {"direction": 1, "acked_offset": -1, "time_ns": 6 * MS}
    late = {"direction": 1, "acked_offset": MANY * SIZE, "time_ns": 400 * MS}
    common = {"connection_id": 1, "slot": 0, "kind": 0, "flags": 16, "window_bytes": 0, "acked_offset": 0}
    rows = [{"time_ns": 4 * i * MS, **common, **each} for i, each in enumerate(sent)]
    rows[2:2] = [{**common, **early}]
    ends = [{**common, **late}, boundary("ended", 1, 0, 400 * MS)]
    found = logged(*tables([boundary("opened", 1, 0, 0), *rows, *ends]))
    assert found is not None
    assert (found.rows["delivered_us"] == found.rows["waited_us"]).all()


def test_a_duplicate_acknowledgment_tells_that_the_next_segment_behind_the_hole_arrived():
    found = exchange(
        (0, ">", 0), (1, ">", 1), (2, ">", 2), (3, ">", 3), (21, "<", 0), (22, "<", 0), (40, ">", 0), (60, "<", 4)
    )
    assert found is not None
    assert (found.delivered_s[-5:] * 1000).tolist() == [60, 20, 20, 57, 20]
    assert (found.waited_s[-5:] * 1000).tolist() == [60, 59, 58, 57, 20]
    assert not found.has_sack
    assert found.is_timely[:MANY].all()
    assert not found.is_timely[-5:].any()


def row(ms: float, side: str, **columns: int) -> dict[str, Any]:
    common = {"connection_id": 1, "slot": 0, "kind": 0, "flags": 16, "window_bytes": 65535, "offset": 0}
    return {**common, "time_ns": round(ms * MS), "direction": "<>".index(side) ^ 1, "acked_offset": 0, **columns}


def sent(ms: float, number: int) -> dict[str, Any]:
    return row(ms, ">", offset=number * SIZE, payload_bytes=SIZE, new_bytes=SIZE)


def ended(rows: list[dict[str, Any]]) -> Exchange | None:
    last = rows[-1]["time_ns"]
    return logged(*tables([boundary("opened", 1, 0, 0), *rows, boundary("ended", 1, 0, last)]))


@pytest.mark.parametrize(("again", "is_judged"), [(16, True), (15, False)])
def test_a_short_exchange_is_judged_by_fifteen_losses_less_what_had_arrived(again: int, is_judged: bool):
    """What is acknowledged 5 ms after it was sent again had arrived: no round trip is shorter than 20 ms."""
    first = [sent(i, i) for i in range(20)]
    copies = [sent(100 + i / 100, i) for i in range(1, 1 + again)]
    acks = [row(ms, "<", acked_offset=number * SIZE) for ms, number in ((20, 1), (105, 2), (140, 20))]
    found = ended([*first, acks[0], *copies, *acks[1:]])
    assert (found is not None) == is_judged
    assert found is None or np.flatnonzero(found.is_lost).tolist() == list(range(2, 17))


def test_what_acknowledges_nothing_does_not_part_two_duplicate_acknowledgments():
    def acknowledged(ms: float, number: int) -> dict[str, Any]:
        return row(ms, "<", acked_offset=number * SIZE)

    first = [sent(4 * i, i) for i in range(MANY)]
    bare = row(4 * MANY + 21, "<", flags=0, acked_offset=INT64_MIN)
    rows = [*first, acknowledged(4 * MANY + 20, 1), bare, acknowledged(4 * MANY + 22, 1)]
    found = ended([*rows, acknowledged(4 * MANY + 100, MANY)])
    assert found is not None
    # The first behind what is missing has arrived; the next is not known to.
    assert (found.delivered_s[1:4] * 1000).round().tolist() == [380 - 4, 302 - 8, 380 - 12]


def test_what_joins_two_blocks_without_being_sent_again_is_told_by_the_acknowledgment():
    """What blocks had told of before ends the search for what is new in one."""
    lines = ["0 > S seq=1000 mss=1460 sackok", "10 < SA seq=5000 mss=1460 sackok", "10 > A"]
    lines += [f"{20 + 4 * i} > A {SIZE} off={i * SIZE}" for i in range(10)]
    lines += ["62 < A acked=0 sack=3000-4000", "63 < A acked=0 sack=6000-7000,3000-4000"]
    lines += ["64 < A acked=0 sack=3000-5000,6000-7000", "65 < A acked=0 sack=3000-7000", "80 < A acked=10000"]
    lines += [f"{100 + 4 * i} > A {SIZE} off={i * SIZE}" for i in range(10, 80)]
    table = headers_of_script("\n".join([*lines, "500 < A acked=80000"]))
    followed = follow([table])
    found = logged(followed.segments, followed.boundaries, table)
    assert found is not None
    arrived_ms = (found.delivered_s[:8] * 1000).round() + 20 + 4 * np.arange(8)
    assert arrived_ms.tolist() == [80, 80, 80, 62, 64, 80, 63, 80]


def test_an_exchange_whose_clock_was_set_back_is_not_judged():
    assert exchange((0, ">", 0), (20, "<", 1)) is not None
    assert exchange((0, ">", 0), (20, "<", 1), (21, ">", 1), back_ns=50 * MS) is None


def test_two_segments_that_are_late_in_the_file_are_no_clock_that_was_set_back():
    assert exchange((0, ">", 0), (20, "<", 1), back_ns=50 * MS) is not None
