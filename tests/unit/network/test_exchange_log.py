"""What was lost in an exchange, and when what arrived: without SACK, acknowledgments alone tell."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tcpsight.network import _policing
from tcpsight.network.exchanges import ENTRY, Exchange
from tcpsight.tables import Boundaries, Headers, Segments
from tests.support.conversation import boundary, tables

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


def logged(segments: Segments, boundaries: Boundaries) -> Exchange | None:
    logs = _policing.Logs()
    headers = Headers.allocate(len(segments))
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


def test_an_exchange_whose_clock_was_set_back_is_not_judged():
    assert exchange((0, ">", 0), (20, "<", 1)) is not None
    assert exchange((0, ">", 0), (20, "<", 1), back_ns=50 * MS) is None
