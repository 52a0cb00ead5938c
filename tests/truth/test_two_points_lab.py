"""Both ends of the laboratory's path, the server's clock made wrong on purpose: against what the path did."""

from __future__ import annotations

import io
import json
import lzma
import struct
from pathlib import Path
from typing import Any

import pytest

import tcpsight
from tcpsight import splitting
from tcpsight.network.matching import Matched, Side, match
from tcpsight.output.split import page

CAPTURES = Path(__file__).parent / "lab" / "captures"
RECORD = struct.Struct("<IIII")
SHIFT_NS, SKEW = -987_654_321_012, -60e-6


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
    for side in ("client", "server"):
        (lost,) = (row for row in facts["losses"] if (row["direction"], row["place"]) == (side, "between"))
        dropped = sum(sum(each[side]["fates"].values()) for each in truth["connections"])
        assert lost["segments"] <= dropped <= lost["segments"] + lost["outside_segments"]


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
