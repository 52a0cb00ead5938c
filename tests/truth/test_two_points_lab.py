"""Both ends of the laboratory's path, the server's clock made wrong on purpose: against what the path did."""

from __future__ import annotations

import io
import json
import lzma
import struct
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

import tcpsight
from tcpsight import splitting
from tcpsight.network.matching import Matched, Side, match
from tcpsight.output.split import page
from tests.truth.lab.rewriting import Frame, merge_segments, read

CAPTURES = Path(__file__).parent / "lab" / "captures"
RECORD = struct.Struct("<IIII")
SHIFT_NS, SKEW = -987_654_321_012, -60e-6
SIDES = ("client", "server")


def truth_of(run: str) -> dict[str, Any]:
    truth: dict[str, Any] = json.loads(lzma.decompress((CAPTURES / run / "truth.json.xz").read_bytes()))
    return truth


# Rewritten captures are not what passed; refusals have no segment each way that belongs to a stream.
RUNS = sorted(
    path.name
    for path in CAPTURES.iterdir()
    if (path / "server.pcap.xz").exists() and path.name != "refused" and not truth_of(path.name)["rewrite"]
)


def with_wrong_clock(data: bytes) -> bytes:
    """Shift and skew the stamps of a pcap in nanoseconds."""
    changed, at = bytearray(data), 24
    seconds, fraction, *_ = RECORD.unpack_from(data, at)
    start = seconds * 10**9 + fraction
    while at < len(data):
        seconds, fraction, captured, wire = RECORD.unpack_from(data, at)
        time_ns = seconds * 10**9 + fraction
        time_ns += SHIFT_NS + round((time_ns - start) * SKEW)
        RECORD.pack_into(changed, at, *divmod(time_ns, 10**9), captured, wire)
        at += RECORD.size + captured
    return bytes(changed)


@pytest.mark.parametrize("run", RUNS)
def test_offset_delays_and_losses_are_those_of_the_path(run):
    truth = truth_of(run)
    ours, theirs = (lzma.decompress((CAPTURES / run / f"{side}.pcap.xz").read_bytes()) for side in ("client", "server"))
    facts = tcpsight.split(io.BytesIO(ours), io.BytesIO(with_wrong_clock(theirs))).facts
    (piece,) = facts["clock"]["pieces"]
    since = (piece["start_ns"] + piece["end_ns"]) // 2 - (facts["server_side"]["first_ns"] - SHIFT_NS)
    error = piece["offset_ns"] - (SHIFT_NS + SKEW * since)
    assert abs(error) <= piece["offset_error_ns"]
    assert abs(error) < 2_000_000
    for way, link in (("to_server", "up"), ("to_client", "down")):
        assert facts["path"][way]["min_ns"] == pytest.approx(truth["link"][link]["delay_ns"], abs=2_000_000)
    lost_between(facts, truth)


def lost_between(facts: dict[str, Any], truth: dict[str, Any]) -> None:
    """Assert that as many segments are told lost as the path dropped, but for what the other end may have missed."""
    for side in ("client", "server"):
        (lost,) = (row for row in facts["losses"] if (row["direction"], row["place"]) == (side, "between"))
        dropped = sum(sum(each[side]["fates"].values()) for each in truth["connections"])
        assert lost["segments"] <= dropped <= lost["segments"] + lost["outside_segments"]


def rewritten(run: str, change: dict[str, Callable[[list[Frame]], list[Frame]]]) -> list[io.BytesIO]:
    """Give both captures of a run, changed by side."""
    found = []
    for side in ("client", "server"):
        header, frames = read(CAPTURES / run / f"{side}.pcap.xz")
        parts = [header]
        for f in change[side](frames):
            parts += [RECORD.pack(*divmod(f.time_ns, 10**9), len(f.data), f.wire_bytes), f.data]
        found.append(io.BytesIO(b"".join(parts)))
    return found


def merged(frames: list[Frame]) -> list[Frame]:
    """Put segments together as interfaces do that look at timestamps, or not."""
    return merge_segments(frames, Random(0), 0)


LOSING = [run for run in RUNS if any(sum(c[s]["fates"].values()) for c in truth_of(run)["connections"] for s in SIDES)]


@pytest.mark.parametrize("run", [*LOSING, "clean_bulk", "merged_segments"])
@pytest.mark.parametrize("sides", [("client", "server"), ("client",), ("server",)])
def test_losses_are_those_of_the_path_where_segments_were_put_together(run, sides):
    captures = rewritten(run, {side: merged if side in sides else list for side in SIDES})
    lost_between(tcpsight.split(*captures).facts, truth_of(run))


def announcing(frames: list[Frame], said: tuple[int, int]) -> list[Frame]:
    """Write other maximum segment sizes into the handshake's SYNs, client's and server's, as routers do."""

    def anew(f: Frame) -> Frame:
        data, at = bytearray(f.data), f.ip_bytes + 20
        flags = data[f.ip_bytes + 13]
        while flags & 2 and at < f.ip_bytes + f.tcp_bytes:
            if data[at] == 2:
                struct.pack_into(">H", data, at + 2, said[1 if flags & 16 else 0])
            at += 1 if data[at] == 1 else data[at + 1]
        return f._replace(data=bytes(data))

    return list(map(anew, frames))


@pytest.mark.parametrize("run", ["listed_loss", "policing", "random_loss", "shaping"])
@pytest.mark.parametrize(
    ("said", "put_together"),
    [
        *((said, each) for said in ((1360, 1460), (1460, 1360), (536, 1460), (12, 1460)) for each in (False, True)),
        # Put together as well, nothing tells how long they were: that is as without a handshake.
        ((1, 1), False),
    ],
)
def test_a_smaller_mss_of_which_the_segments_know_nothing_multiplies_no_loss(run, said, put_together):
    def change(frames: list[Frame]) -> list[Frame]:
        return announcing(merged(frames) if put_together else frames, said)

    lost_between(tcpsight.split(*rewritten(run, dict.fromkeys(SIDES, change))).facts, truth_of(run))


@pytest.mark.parametrize("put_together", [False, True])
@pytest.mark.parametrize("step_ms", [-100_000, -30, 30, 700])
@pytest.mark.parametrize("side", ["client", "server"])
@pytest.mark.parametrize("run", ["clean_bulk", "random_loss", "shaping", "short_outage", "tail_loss", "window_limited"])
def test_where_a_clock_was_set_once_losses_stay_and_offsets_are_within_their_errors(run, side, step_ms, put_together):
    def step(frames: list[Frame]) -> list[Frame]:
        frames = merged(frames) if put_together else frames
        half = len(frames) // 2
        return [*frames[:half], *(f._replace(time_ns=f.time_ns + step_ms * 1_000_000) for f in frames[half:])]

    other = merged if put_together else list
    facts = tcpsight.split(*rewritten(run, {each: step if each == side else other for each in SIDES})).facts
    lost_between(facts, truth_of(run))
    step_ns = step_ms * 1_000_000 * (1 if side == "server" else -1)
    pieces = facts["clock"]["pieces"]
    assert pieces
    for piece in pieces:
        if piece["is_consistent"] and len(pieces) == 1:  # it was not found: both offsets are within
            assert all(abs(piece["offset_ns"] - at) <= piece["offset_error_ns"] for at in (0, step_ns))
        elif piece["is_consistent"]:
            assert any(abs(piece["offset_ns"] - at) <= piece["offset_error_ns"] for at in (0, step_ns))


def test_what_was_lost_before_a_clock_was_set_is_not_said_to_lie_outside():
    def step(frames: list[Frame]) -> list[Frame]:
        half = len(frames) // 2
        return [*(f._replace(time_ns=f.time_ns + 100_000_000_000) for f in frames[:half]), *frames[half:]]

    facts = tcpsight.split(*rewritten("shaping", {"client": list, "server": step})).facts
    (lost,) = (row for row in facts["losses"] if (row["direction"], row["place"]) == ("client", "between"))
    assert (lost["segments"], lost["outside_segments"]) == (107, 0)


def test_without_sack_nothing_that_was_sent_again_counts_as_lost_behind_the_farther_point():
    """The frames say that SACK is not in use, though it was: what the sender did is the same."""

    def without_sack(frames: list[Frame]) -> list[Frame]:
        return [f._replace(data=no_sack(f)) for f in frames]

    def no_sack(f: Frame) -> bytes:
        found, at, end = bytearray(f.data), f.ip_bytes + 20, f.ip_bytes + f.tcp_bytes
        while at < end and found[at]:
            length = 1 if found[at] == 1 else found[at + 1]
            if found[at] in (4, 5):
                found[at : at + length] = b"\1" * length
            at += length
        return bytes(found)

    def again(frames: list[Frame]) -> list[Frame]:
        """Send one segment of data once more, as if it had been lost behind the point."""
        at = next(i for i, f in enumerate(frames) if f.payload > 1000)
        data = bytearray(frames[at].data)
        data[4:6] = b"\xff\xff"  # the identification
        copy = frames[at]._replace(data=bytes(data), time_ns=frames[at].time_ns + 5_000)
        return sorted([*frames, copy], key=lambda f: f.time_ns)

    kept = tcpsight.split(*rewritten("policing", dict.fromkeys(SIDES, again))).facts
    bare = tcpsight.split(*rewritten("policing", dict.fromkeys(SIDES, lambda f: without_sack(again(f))))).facts
    told = [[row["segments"] for row in facts["losses"] if row["place"] != "between"] for facts in (kept, bare)]
    assert sum(told[0]) == 1
    assert sum(told[1]) == 0
    assert (kept["connections"]["without_sack"], "SACK" in page(kept)) == (0, False)
    assert bare["connections"]["without_sack"] == 1
    assert "1 connection does not use SACK" in page(bare)


def test_where_clocks_were_set_too_often_no_time_between_the_points_is_told():
    facts = tcpsight.split(*(CAPTURES / "clock_backwards" / f"{side}.pcap.xz" for side in ("client", "server"))).facts
    unknown = [piece for piece in facts["clock"]["pieces"] if not piece["is_consistent"]]
    assert unknown
    assert {piece[name] for piece in unknown for name in ("offset_ns", "offset_error_ns", "round_trip_min_ns")} == {
        None
    }
    path = facts["path"]
    told = [path[way] for way in ("to_server", "to_client")]
    assert all(way["min_ns"] is None or way["min_ns"] >= 0 for way in told)
    assert path["clock_step_segments"] > 0
    text = page(facts)
    assert "a clock was set too often to tell when" in text
    path_text = text.partition("path between the points")[2].partition("requests:")[0]
    assert "-" not in path_text
    assert "\N{MINUS SIGN}" not in path_text


def test_segments_whose_copies_are_not_told_apart_are_counted(monkeypatch: pytest.MonkeyPatch):
    whole = match

    def unsure(*sides: Side) -> Matched:
        matched = whole(*sides)
        matched.copies_unknown = (1, 2000)
        return matched

    captures = [CAPTURES / "policing" / f"{side}.pcap.xz" for side in ("client", "server")]
    known = tcpsight.split(*captures).facts
    assert [known["segments"][f"{side}_copies_unknown"] for side in ("client_side", "server_side")] == [0, 0]
    assert "which copies came" not in page(known)
    monkeypatch.setattr(splitting, "match", unsure)
    facts = tcpsight.split(*captures).facts
    assert [facts["segments"][f"{side}_copies_unknown"] for side in ("client_side", "server_side")] == [1, 2000]
    text = page(facts)
    assert "1 segment overlaps with others too often to tell which copies came" in text
    assert "if one has (server side)" in text
