"""The rows of Network beside the peers' sums: each quantity of each direction of each connection that both have.

A direction in which a sum differs must have frames that differ, and these are explained one by one; what weighs most
among their reasons is whose the difference is. One without such frames is an error.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from tcpsight.tables import DIRECTIONS
from tests.peers.case import SAME_KIND, Case, Difference, same_connections

KIND, ROUND_TRIP = ("kind",), ("round trip", "times")
# tcptrace prints tenths of milliseconds of times cut to microseconds.
TENTH_MS = 0.11
# From what weighs least to what weighs most, where several things differ.
WHOSE = ("peer", "definition", "damage", "limit")


class Compared(NamedTuple):
    """A quantity of one direction of a connection; `frames` are those that both count by, `why` what can differ."""

    quantity: str
    theirs: float
    ours: float
    frames: list[int]
    why: tuple[str, ...]


def with_tshark(case: Case) -> Iterator[Compared]:
    """Compare what tshark says of frames, added up, with the rows of Network."""
    for frames, row in same_connections(case):
        for direction in range(len(DIRECTIONS)):
            ours = case.reading.network[int(row["connection_id"]), direction]
            if ours["retransmissions"] < 0:
                continue
            sent = [case.theirs[n] for n in frames if case.ours[n].direction == direction]
            acks = [case.theirs[n] for n in frames if case.ours[n].direction != direction]
            kinds = [SAME_KIND.get(f.kind, f.kind) for f in sent]
            times = [f.ack_rtt_ns for f in acks if f.ack_rtt_ns != -1]
            sums: list[tuple[str, float, float, tuple[str, ...]]] = [
                ("retransmissions", kinds.count("retransmission"), ours["retransmissions"], KIND),
                ("out of order", kinds.count("out_of_order"), ours["out_of_order"], KIND),
                ("duplicate ACKs", _true(f.is_duplicate_ack for f in sent), ours["duplicate_acks"], ("duplicate ack",)),
                ("window full", _true(f.fills_window for f in sent), ours["window_full"], ("window full",)),
                ("zero windows", _true(f.is_zero_window for f in sent), ours["zero_windows"], ("zero window",)),
                ("RTT samples", len(times), ours["rtt_samples"], ROUND_TRIP),
                ("shortest RTT", min(times, default=-1), ours["rtt_min_ns"], ROUND_TRIP),
                ("longest RTT", max(times, default=-1), _longest(case, [f.number for f in acks]), ROUND_TRIP),
            ]
            yield from (Compared(what, theirs, number, frames, why) for what, theirs, number, why in sums)


def with_tcptrace(case: Case) -> Iterator[Compared]:
    """Compare what tcptrace printed of a connection with the rows of Network."""
    for number, conversation in case.conversations.items():
        frames = list(conversation.frames)
        connection = case.connection_of(frames[0])
        if frames != case.by_connection[connection]:
            continue
        printed = case.printed[number]
        for which, end in enumerate(conversation.ends):
            direction = next((case.ours[n].direction for n in frames if case.ours[n].source == end), None)
            if direction is None:
                continue
            ours = case.reading.network[connection, direction]
            if ours["retransmissions"] < 0:
                continue
            times = printed.times[which]
            acks = [n for n in frames if case.ours[n].source != end]
            answers = case.reading.network[connection, 1 - direction]
            sums: list[tuple[str, float, float, tuple[str, ...]]] = [
                ("retransmissions", printed.sums[which].retransmissions, ours["retransmissions"], KIND),
                ("out of order", printed.sums[which].out_of_order, ours["out_of_order"], KIND),
                ("duplicate ACKs", printed.duplicate_acks[which], answers["duplicate_acks"], ("duplicate acks",)),
                ("RTT samples", times.samples, ours["rtt_samples"], ROUND_TRIP),
                ("shortest RTT", *_tenths(times.shortest, ours["rtt_min_ns"]), ROUND_TRIP),
                ("longest RTT", *_tenths(times.longest, _longest(case, acks)), ROUND_TRIP),
            ]
            yield from (Compared(what, theirs, number, frames, why) for what, theirs, number, why in sums)


def _true(values: Any) -> int:
    return sum(map(bool, values))


def _longest(case: Case, frames: list[int]) -> int:
    """The longest of all round trips; the column has that of the clean ones."""
    return max((case.mark(n).round_trip_ns for n in frames), default=-1)


def _tenths(printed: str, ours_ns: int) -> tuple[float, float]:
    """Give both in milliseconds, and equal if they are as near as they can be told."""
    theirs, ours = float(printed), max(0, ours_ns) / 1e6
    return (theirs, theirs) if abs(theirs - ours) < TENTH_MS else (theirs, ours)


def verdict(peer: str, compared: Compared, reasons: dict[Difference, str], whose: dict[str, str]) -> str:
    """Tell whose a difference is; empty if there is none.

    Parameters
    ----------
    peer : str
    compared : Compared
    reasons : dict
        The classes of the differences in these frames.
    whose : dict
        Whose each class is.
    """
    if compared.theirs == compared.ours:
        return ""
    weights = [WHOSE.index(whose[code]) for d, code in reasons.items() if d.peer == peer and d.what in compared.why]
    if not weights and peer == "tcptrace" and compared.quantity == "shortest RTT" and compared.ours < TENTH_MS:
        return "peer"  # A minimum of 0 gives way to whatever comes later.
    assert weights, f"{peer}: {compared.quantity} of frame {compared.frames[0]} differ, and no frame does"
    return WHOSE[max(weights)]
