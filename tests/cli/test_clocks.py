"""Where the clock was set, or stood still, rates are told as what they are."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import tcpsight
from tcpsight.model.clock_leaps import ClockLeaps
from tcpsight.tables import OPTION_TIMESTAMPS, Headers
from tests.cli.running import Here
from tests.support.pcap import Frame, pcap_bytes
from tests.support.thorough import some_of
from tests.support.traffic import MS, Talk, answered, capture

S = 1_000_000_000


def doubled(shift_s: float) -> bytes:
    """Write 10 s of a service, and 10 s more after the clock was set, in the order of capture."""
    first = capture([Talk(answered(*[5] * 700), client_port=40_000 + i) for i in range(4)])
    second = capture([Talk(answered(*[5] * 700), client_port=41_000 + i) for i in range(4)])
    length = first[-1].time_ns - first[0].time_ns
    shifted = [Frame(each.time_ns + length + round(shift_s * S), each.data) for each in second]
    return pcap_bytes([*first, *shifted], nanoseconds=True)


@pytest.mark.parametrize("shift_s", some_of([-86_400, -3600, -25, -10, -5, -2], 3))
def test_rates_of_a_capture_that_overlaps_itself_are_over_the_time_that_passed(here: Here, tmp_path: Path, shift_s):
    paths = tmp_path / "steady.pcap", tmp_path / "set.pcap"
    for path, shift in zip(paths, (0, shift_s), strict=True):
        path.write_bytes(doubled(shift))
    steady, stepped = (json.loads(here("report", path, "--format", "json").text) for path in paths)
    assert steady["capture"]["remarks"] == []
    rates = [each["services"][0]["throughput_per_s"] for each in (steady, stepped)]
    assert rates[1] == pytest.approx(rates[0], rel=0.01)
    assert stepped["services"][0]["concurrency"] == pytest.approx(steady["services"][0]["concurrency"], rel=0.01)
    assert stepped["capture"]["clock"]["stepped_back_ns"] == pytest.approx(-shift_s * S, rel=0.01)
    said = " ".join(here("report", paths[1]).text.split())
    assert "The clock was set back once, by" in said
    assert "the capture overlaps itself" in said
    assert "the capture overlaps itself" in here("intervals", paths[1]).err


@pytest.mark.parametrize(("shift_s", "is_said"), [(-3600, True), (-10, True), (-1.5, False)])
def test_that_it_may_have_been_set_forward_again_is_said_where_it_matters(here: Here, tmp_path: Path, shift_s, is_said):
    path = tmp_path / "set.pcap"
    path.write_bytes(doubled(shift_s))
    said = " ".join(here("report", path).text.split())
    assert "The clock was set back once" in said
    assert ("that passed (less, if it was set forward again later), those of slices" in said) == is_said


def test_a_step_forward_is_told_by_what_it_does_to_rates(here: Here, tmp_path: Path):
    path = tmp_path / "set.pcap"
    path.write_bytes(doubled(3600))
    said = " ".join(here("report", path).text.split())
    assert (
        "Nothing at all was captured for 1 h 0 min: if a clock was set forward, or capturing stood still, rates" in said
    )


def records(recorded: bytes) -> Iterator[tuple[int, int, bytearray]]:
    """Read a classic capture with stamps in nanoseconds: where each frame lies, when it was captured, its bytes."""
    assert recorded[:4] == b"\x4d\x3c\xb2\xa1"
    at = 24
    while at < len(recorded):
        seconds, nanos, captured = struct.unpack_from("<III", recorded, at)
        yield at, seconds * S + nanos, bytearray(recorded[at + 16 : at + 16 + captured])
        at += 16 + captured


def set_forward(recorded: bytes, after_s: float, by_s: int, *, hosts: str = "") -> bytes:
    """Set the clock of a recorded capture; the clocks of some hosts (``c``, ``s``) went on meanwhile."""
    found = bytearray(recorded)
    begin_ns = next(records(recorded))[1]
    for at, time_ns, data in records(recorded):
        if time_ns - begin_ns < after_s * S:
            continue
        struct.pack_into("<I", found, at, time_ns // S + by_s)
        sender = "s" if data[34:36] == (3306).to_bytes(2, "big") else "c"
        if sender in hosts and data[54:58] == b"\x01\x01\x08\x0a":
            stamp = int.from_bytes(data[58:62], "big") + 1000 * by_s  # a tick is a millisecond there
            struct.pack_into(">I", found, at + 16 + 58, stamp % 2**32)
    return bytes(found)


@pytest.mark.parametrize("by_s", [1, 5, 100])
def test_where_hosts_stamps_did_not_go_on_the_clock_was_set_forward_and_nobody_waited(
    here: Here, tmp_path: Path, examples_dir: Path, by_s: int
):
    recorded = (examples_dir / "mariadb-lock.pcap").read_bytes()
    path = tmp_path / "set.pcap"
    path.write_bytes(set_forward(recorded, 3, by_s))
    known, told = (
        json.loads(here("report", each, "--format", "json").text) for each in (examples_dir / "mariadb-lock.pcap", path)
    )
    assert [each["kind"] for each in told["findings"]] == [each["kind"] for each in known["findings"]]
    assert told["capture"]["clock"]["stepped_forward_ns"] == pytest.approx(by_s * S, rel=0.02)
    assert told["services"][0]["throughput_per_s"] == pytest.approx(known["services"][0]["throughput_per_s"], rel=0.01)
    said = " ".join(here("report", path).text.split())
    assert "The clock was set forward, by" in said
    assert "Nothing at all was captured" not in said


@pytest.mark.parametrize("hosts", ["c", "s", "cs"])
def test_where_the_stamps_of_a_host_went_on_time_passed(here: Here, tmp_path: Path, examples_dir: Path, hosts: str):
    """A host whose stamps did not may have been paused: what waited for it did wait."""
    path = tmp_path / "silent.pcap"
    path.write_bytes(set_forward((examples_dir / "mariadb-lock.pcap").read_bytes(), 3, 5, hosts=hosts))
    told = json.loads(here("report", path, "--format", "json").text)
    assert told["capture"]["clock"]["stepped_forward_ns"] == 0


@pytest.mark.parametrize("size", [11, 300, 5000])
def test_how_frames_are_cut_changes_nothing_about_steps_forward(examples_dir: Path, size: int):
    recorded = set_forward((examples_dir / "mariadb-lock.pcap").read_bytes(), 3, 5)
    stamped = [(time, data) for _, time, data in records(recorded) if data[54:58] == b"\x01\x01\x08\x0a"]
    headers = Headers.allocate(len(stamped))
    for row, (time_ns, data) in zip(headers.rows, stamped, strict=True):
        row["time_ns"], row["options"] = time_ns, OPTION_TIMESTAMPS
        row["source_address"][12:], row["destination_address"][12:] = list(data[26:30]), list(data[30:34])
        row["source_port"], row["destination_port"], row["timestamp_value"] = (
            int.from_bytes(data[i:j], "big") for i, j in ((34, 36), (36, 38), (58, 62))
        )
    leaps = ClockLeaps()
    for at in range(0, len(headers), size):
        part = headers[at : at + size]
        leaps.feed(np.ascontiguousarray(part.time_ns), part)
    (leap,) = leaps.leaps
    assert leap.end_ns - leap.start_ns == pytest.approx(5 * S, rel=0.01)
    assert leap.leapt_ns == pytest.approx(5 * S, rel=0.003)
    assert leaps.within(leap.start_ns - S, leap.end_ns + S) == leap.leapt_ns


def test_of_a_capture_with_one_time_stamp_there_is_no_rate(here: Here, tmp_path: Path):
    frames = capture([Talk(answered(*[5] * 20))])
    path = tmp_path / "instant.pcap"
    path.write_bytes(pcap_bytes([Frame(frames[0].time_ns, each.data) for each in frames], nanoseconds=True))
    told = json.loads(here("report", path, "--format", "json").text)["services"][0]
    assert told["requests"] == 20
    assert (told["throughput_per_s"], told["concurrency"], told["utilization_fraction"]) == (None, None, None)
    page = " ".join(here("report", path).text.split())
    assert "Every segment has the same time stamp: no rate can be told" in page
    assert "T/s" not in page
    assert "G/s" not in page
    rows = tcpsight.open(io.BytesIO(path.read_bytes())).intervals(MS).to_numpy()
    assert np.isnan(rows["throughput_per_s"]).all()
    assert here("report", path, "--html", tmp_path / "page.html").status == 0
