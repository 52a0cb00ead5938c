"""What two compared captures tell as plain values: what ``--format json`` prints, and the page is drawn from."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from tcpsight.network import passing
from tcpsight.network.clocks import ClockPiece
from tcpsight.sightings import Recovery, Sighted
from tcpsight.splitting import Comparison, delays_ns
from tcpsight.tables import DIRECTIONS, SPLITS, SplitRequests

Facts = dict[str, Any]
Integers = np.ndarray[Any, np.dtype[np.int64]]

QUANTILES = (("p50_ns", 0.5), ("p95_ns", 0.95), ("p99_ns", 0.99))
PLACES = ("client_side", "between", "server_side")
PARTS = ("client_ns", "request_path_ns", "server_ns", "response_path_ns", "response_time_ns")


def why_not(comparison: Comparison) -> str | None:
    """Tell in a line why two captures cannot be compared; None if they can."""
    ours, theirs = comparison.sides
    for side in comparison.sides:
        if not len(side.talks):
            return None  # that a capture has no TCP is told where its pass ended
    if not len(comparison.pairs):
        return f"{ours.name} and {theirs.name} have no connection in common: {_difference(ours, theirs)}"
    if not comparison.matched.any():
        return f"{ours.name} and {theirs.name} have connections in common, but no segment of them"
    if comparison.is_swapped:
        return f"swapped: {ours.name} was taken nearer the servers than {theirs.name}; name the client side first"
    return None


def _difference(ours: Sighted, theirs: Sighted) -> str:
    """Say in what two captures without a common connection differ."""
    servers = [
        {(row["server_address"].tobytes(), int(row["server_port"])) for row in side.talks} for side in (ours, theirs)
    ]
    ports = [{port for _, port in found} for found in servers]
    clients = [{row["client_address"].tobytes() for row in side.talks} for side in (ours, theirs)]
    apart = theirs.times_ns[0] - ours.times_ns[0]
    if not ports[0] & ports[1]:
        return "their servers have other ports"
    if not servers[0] & servers[1]:
        return "their servers have other addresses, and no connection has the same initial sequence numbers"
    if not clients[0] & clients[1]:
        return "the same servers, but other clients, and no connection has the same initial sequence numbers"
    return f"the same clients and servers, but other connections; they begin {abs(apart) / 1e9:,.3f} s apart"


def split_facts(comparison: Comparison, table: SplitRequests) -> Facts:
    """Give everything the page says as dictionaries, lists, strings and numbers; times are integer nanoseconds."""
    return {
        "client_side": _capture(comparison.client_side),
        "server_side": _capture(comparison.server_side),
        "connections": _connections(comparison),
        "segments": _segments(comparison),
        "clock": _clock(comparison.clock),
        "path": _path(comparison),
        "requests": _requests(table),
        "losses": _losses(comparison),
        "not_captured": _not_captured(comparison),
    }


def _capture(side: Sighted) -> Facts:
    first, last = side.times_ns
    return {
        "files": [file.path for file in side.run.capture.files],
        "segments": side.rows.count,
        "connections": len(side.talks),
        "first_ns": first,
        "last_ns": last,
    }


def _connections(comparison: Comparison) -> Facts:
    pairs, (ours, theirs) = comparison.pairs, comparison.sides
    return {
        "matched": len(pairs),
        "translated": int(pairs.is_translated.sum()),
        "renumbered": int(pairs.is_renumbered.sum()),
        "reversed": int(comparison.is_reversed.sum()),
        "approximate": len(
            {
                i
                for side in comparison.sides
                for i in side.recovery.connection_id[side.recovery.is_approximate != 0].tolist()
            }
        ),
        "without_sack": _without_sack(comparison),
        "client_side_only": len(ours.talks) - len(pairs),
        "server_side_only": len(theirs.talks) - len(pairs),
    }


def _segments(comparison: Comparison) -> Facts:
    sums = (comparison.matched.tolist(), comparison.compared.tolist(), comparison.copies_unknown.tolist())
    return {
        f"{side}_{name}": value
        for side, seen, total, unknown in zip(("client_side", "server_side"), *sums, strict=True)
        for name, value in (
            ("matched", seen),
            ("compared", total),
            ("matched_fraction", seen / total if total else None),
            ("copies_unknown", unknown),
        )
    }


def _clock(pieces: list[ClockPiece]) -> Facts:
    steps = [
        {
            "at_ns": after.start_ns,
            "step_ns": _step_ns(before, after),
            "set_side": None if after.set_side is None else ("client_side", "server_side")[after.set_side],
        }
        for before, after in pairwise(pieces)
    ]
    return {"pieces": [_clock_piece(piece) for piece in pieces], "steps": steps}


def _clock_piece(piece: ClockPiece) -> Facts:
    known: Facts = {
        "offset_ns": piece.offset_ns,
        "offset_error_ns": piece.offset_error_ns,
        "drift_ppm": round(piece.drift_ppm, 6),
        "drift_error_ppm": None if piece.drift_error_ppm is None else round(piece.drift_error_ppm, 6),
        "round_trip_min_ns": piece.round_trip_min_ns,
    }
    if not piece.is_consistent:
        known = dict.fromkeys(known)
    return {"start_ns": piece.start_ns, "end_ns": piece.end_ns, **known, "is_consistent": piece.is_consistent}


def _step_ns(before: ClockPiece, after: ClockPiece) -> int | None:
    """Tell how far the difference of the clocks stepped, if it is known on both sides of the step."""
    if not (before.is_consistent and after.is_consistent):
        return None
    at = np.array([after.start_ns])
    return int((after.ahead_ns(at) - before.ahead_ns(at))[0])


def _path(comparison: Comparison) -> Facts:
    error = max((piece.offset_error_ns for piece in comparison.clock if piece.is_consistent), default=None)
    to_server, to_client = delays_ns(comparison) if comparison.clock else (np.zeros(0, np.int64),) * 2
    left_out = len(comparison.delays) - len(to_server) - len(to_client) if comparison.clock else 0
    return {
        "to_server": _distribution(to_server),
        "to_client": _distribution(to_client),
        "error_ns": error,
        "clock_step_segments": left_out,
    }


def _distribution(values: Integers) -> Facts:
    """Give count, extremes, mean and nearest-rank quantiles of sorted values."""
    count = len(values)
    if not count:
        return {"samples": 0, "min_ns": None, **{name: None for name, _ in QUANTILES}, "max_ns": None, "mean_ns": None}
    ranks = {name: int(values[max(-int(-q * count // 1) - 1, 0)]) for name, q in QUANTILES}
    return {
        "samples": count,
        "min_ns": int(values[0]),
        **ranks,
        "max_ns": int(values[-1]),
        "mean_ns": round(float(values.mean())),
    }


def _requests(table: SplitRequests) -> Facts:
    is_split = table.outcome == SPLITS.index("split")
    outcomes = np.bincount(table.outcome, minlength=len(SPLITS)).tolist()
    return {
        "requests": len(table),
        **{"split" if name == "split" else f"not_split_{name}": outcomes[i] for i, name in enumerate(SPLITS)},
        "parts": {name: _distribution(np.sort(table.rows[name][is_split])) for name in PARTS},
        "server_side_response_time_ns": _distribution(np.sort(table.server_side_response_time_ns[is_split])),
    }


# --- losses


def _losses(comparison: Comparison) -> list[Facts]:
    """Say how many segments of each direction were lost, and where."""
    rows = []
    is_inside = _is_inside(comparison)
    for direction, name in enumerate(DIRECTIONS):
        for place in PLACES:
            row: Facts = {"direction": name, "place": place}
            if place == "between":
                row |= _between(comparison, direction, is_inside)
            else:
                row |= {"segments": _beyond(comparison, direction, place), "data_segments": None, "bytes": None}
                row |= {"outside_segments": None}
            rows.append(row)
    return rows


def _between(comparison: Comparison, direction: int, is_inside: np.ndarray[Any, Any]) -> Facts:
    if not comparison.clock:
        return dict.fromkeys(("segments", "data_segments", "bytes", "outside_segments"))
    told = comparison.fates
    is_lost = (told["fate"] == passing.LOST) & (told["direction"] == direction)
    lost = told[is_lost & is_inside]
    return {
        "segments": int(lost["segments"].sum()),
        "data_segments": int(lost["segments"][lost["has_data"] == 1].sum()),
        "bytes": int(lost["bytes"].sum()),
        "outside_segments": int(told["segments"][is_lost & ~is_inside].sum()),
    }


def _is_inside(comparison: Comparison) -> np.ndarray[Any, Any]:
    """Tell of what one side only has whether the other was running when it came by.

    It was if others came by before it and behind it, or if that lies between its first segment and its last.
    """
    told, clock = comparison.fates, comparison.clock
    inside = np.zeros(len(told), np.bool_)
    if not clock:
        return inside
    usual = [
        (int(each[0]), int(each[len(each) * 99 // 100])) if len(each) else (0, 0) for each in delays_ns(comparison)
    ]
    for side in (passing.CLIENT_SIDE, passing.SERVER_SIDE):
        mine = np.flatnonzero(told["side"] == side)
        rows, first_last = told[mine], comparison.sides[1 - side].times_ns
        there = _at_other_clock(clock, rows["time_ns"], is_client_side=side == passing.CLIENT_SIDE)
        # What was lost would have come later; what the near point missed had come by it earlier.
        least, most = np.array(usual)[rows["direction"].astype(np.int64)].T
        is_later = rows["fate"] <= passing.MISSED_FAR
        early = there + np.where(is_later, least, -most)
        late = there + np.where(is_later, most, -least)
        inside[mine] = (early >= first_last[0]) & (late <= first_last[1])
        # What was sent between two others that came needs no clock.
        seen = comparison.seen_frames[side, rows["direction"].astype(np.int64)]
        inside[mine] |= (rows["frame"] >= seen[:, 0]) & (rows["frame"] <= seen[:, 1])
    return inside


def _at_other_clock(clock: list[ClockPiece], time_ns: Integers, *, is_client_side: bool) -> Integers:
    """Give instants of one side by the clock of the other, shape (n,)."""
    piece = _piece_at(clock, time_ns, is_client_side=is_client_side)
    there = np.empty(len(time_ns), np.int64)
    for number, each in enumerate(clock):
        here = piece == number
        mine = time_ns[here]
        there[here] = mine + each.ahead_ns(mine) if is_client_side else each.at_client_side(mine)
    return there


def _piece_at(clock: list[ClockPiece], time_ns: Integers, *, is_client_side: bool) -> Integers:
    """Tell in which piece instants of one side lie, shape (n,)."""
    starts = [piece.start_ns for piece in clock]
    if not is_client_side:
        starts = [start + int(p.ahead_ns(np.array([start]))[0]) for start, p in zip(starts, clock, strict=True)]
    order = np.maximum.accumulate(np.array(starts, np.int64))
    return np.maximum(np.searchsorted(order, time_ns, "right") - 1, 0)


def _beyond(comparison: Comparison, direction: int, place: str) -> int:
    """Count what was lost outside the points.

    Between its sender and the nearer point: what came late there because it was sent again. Behind the farther point:
    what was sent again though it had been there, and not needlessly.
    """
    number = PLACES.index(place) // 2
    recovery = comparison.sides[number].recovery
    pair = _pair_of(comparison, number, recovery)
    is_ours = pair >= 0
    is_ours[is_ours] = ~comparison.is_reversed[pair[is_ours]]
    flipped = comparison.pairs.is_flipped[pair[is_ours]] if number else False
    mine = (recovery.direction[is_ours] ^ flipped) == direction
    counts = recovery.filled if number == direction else recovery.resent
    # More holes than are kept: what fills them is taken for sent again.
    mine &= recovery.is_approximate[is_ours] == 0
    if number != direction:
        mine &= ~_may_be_needless(comparison, number, recovery)[is_ours]
    return int(counts[is_ours][mine].sum())


def _without_sack(comparison: Comparison) -> int:
    """Count connections of which `_beyond` leaves something out, as nobody knows whether it was needed."""
    found: set[int] = set()
    for number, side in enumerate(comparison.sides):
        pair = _pair_of(comparison, number, side.recovery)
        flipped = comparison.pairs.is_flipped[pair] & (pair >= 0) if number and len(comparison.pairs) else False
        mine = (pair >= 0) & ((side.recovery.direction ^ flipped) != number)
        found.update(pair[mine & _may_be_needless(comparison, number, side.recovery)].tolist())
    return len(found)


def _may_be_needless(comparison: Comparison, number: int, recovery: Recovery) -> np.ndarray[Any, Any]:
    """Tell of which directions nobody knows whether what was sent again was needed: their receivers have no SACK."""
    talks = comparison.sides[number].talks
    if not len(talks):
        return np.zeros(len(recovery.resent), np.bool_)
    has_sack = talks["has_sack"][np.searchsorted(talks["connection_id"], recovery.connection_id)]
    mask: np.ndarray[Any, Any] = (has_sack == 0) & (recovery.resent > 0)
    return mask


def _pair_of(comparison: Comparison, number: int, recovery: Recovery) -> Integers:
    talks = comparison.sides[number].talks
    pair = np.full(len(talks), -1, np.int64)
    pair[comparison.pairs.rows[number]] = np.arange(len(comparison.pairs))
    at = np.searchsorted(talks["connection_id"], recovery.connection_id)
    return pair[at] if len(talks) else at


def _not_captured(comparison: Comparison) -> Facts:
    """Count what passed a point and is not in its capture, and what the network sent on twice."""
    if not comparison.clock:
        return dict.fromkeys(("client_side", "server_side", "copied_between"))
    told = comparison.fates[_is_inside(comparison)]
    missing = dict.fromkeys(("client_side", "server_side"), 0)
    for number, side in enumerate(missing):
        here = (told["fate"] == passing.MISSED_FAR) & (told["side"] == 1 - number)
        here |= (told["fate"] == passing.MISSED_NEAR) & (told["side"] == 1 - number)
        missing[side] = int(here.sum())
    return missing | {"copied_between": int((told["fate"] == passing.COPIED).sum())}
