"""Steps forward of the clock that stamps frames: told by senders whose own clocks stood, as many as are kept."""

from __future__ import annotations

import numpy as np
import pytest

from tcpsight.model import clock_leaps
from tcpsight.model.clock_leaps import ClockLeaps
from tcpsight.tables import OPTION_TIMESTAMPS, Headers

MS = 1_000_000
LEAP_NS = 5000 * MS


def stamped(*leaps: int, flows: int = 4, batches: int = 1, itself: bool = False, waits: int = 0) -> ClockLeaps:
    """Feed a segment a millisecond, both sides by turns; before those of these numbers the clock leaps, ever farther.

    `itself`: one host speaks with itself. `waits`: so many flows' clocks went on.
    """
    count = 1000 * (len(leaps) + 1)
    lived_ns, at = np.arange(count) * MS, np.zeros(count, np.int64)
    at[list(leaps)] = LEAP_NS + 1000 * MS * np.arange(len(leaps))
    shifted_ns = np.cumsum(at)
    headers = Headers.allocate(count)
    flow, side = np.arange(count) % flows, np.arange(count) // flows % 2
    headers.rows["time_ns"] = 1_700_000_000 * 1000 * MS + lived_ns + shifted_ns
    headers.rows["source_address"][:, 15] = 1 + side * (not itself)
    headers.rows["destination_address"][:, 15] = 2 - side if not itself else 1
    headers.rows["source_port"] = np.where(side == 0, 1000 + flow, 80)
    headers.rows["destination_port"] = np.where(side == 0, 80, 1000 + flow)
    headers.rows["timestamp_value"] = (lived_ns + np.where(flow < waits, shifted_ns, 0)) // MS
    headers.rows["options"] = OPTION_TIMESTAMPS
    found = ClockLeaps()
    for part in np.array_split(np.arange(count), batches):
        rows = headers[int(part[0]) : int(part[-1]) + 1]
        found.feed(np.ascontiguousarray(rows.time_ns), rows)
    return found


@pytest.mark.parametrize("batches", [1, 7, 400])
def test_a_leap_is_what_did_not_pass_for_both_sides_however_rows_are_cut(batches: int):
    (leap,) = stamped(1000, batches=batches).leaps
    assert leap.end_ns - leap.start_ns == LEAP_NS + MS
    assert leap.leapt_ns == pytest.approx(LEAP_NS, rel=0.003)


def test_where_time_passed_for_anybody_nothing_leapt():
    assert stamped(1000, waits=1).leaps == []


def test_a_host_that_speaks_with_itself_is_both_sides():
    assert len(stamped(1000, itself=True).leaps) == 1


def test_one_side_alone_tells_of_no_leap():
    """Of the other no clock is known."""
    found = ClockLeaps()
    whole = Headers.allocate(2000)
    lived_ns = np.arange(2000) * MS
    whole.rows["time_ns"] = lived_ns + np.where(np.arange(2000) >= 1000, LEAP_NS, 0)
    whole.rows["source_address"][:, 15], whole.rows["destination_address"][:, 15] = 1, 2
    whole.rows["timestamp_value"], whole.rows["options"] = lived_ns // MS, OPTION_TIMESTAMPS
    found.feed(np.ascontiguousarray(whole.time_ns), whole)
    assert found.leaps == []


def test_of_many_leaps_the_longest_are_kept(monkeypatch):
    monkeypatch.setattr(clock_leaps, "MOST_LEAPS", 3)
    found = stamped(*range(1000, 10_000, 1000), batches=20)
    found.begin_anew()
    lengths = [round(leap.leapt_ns / (1000 * MS)) for leap in found.leaps]
    assert lengths == [11, 12, 13]
    kept = ClockLeaps()
    kept.keep(found.leaps)
    (first, *_) = kept.leaps
    assert kept.within(first.start_ns, first.end_ns) == first.leapt_ns
    assert kept.within(first.end_ns, first.end_ns + MS) == 0
