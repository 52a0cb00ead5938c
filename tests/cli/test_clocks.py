"""Where the clock was set, or stood still, rates are told as what they are."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest

import tcpsight
from tests.cli.running import Here
from tests.support.pcap import Frame, pcap_bytes
from tests.support.traffic import MS, Talk, answered, capture

S = 1_000_000_000


def doubled(shift_s: float) -> bytes:
    """Write 10 s of a service, and 10 s more after the clock was set, in the order of capture."""
    first = capture([Talk(answered(*[5] * 700), client_port=40_000 + i) for i in range(4)])
    second = capture([Talk(answered(*[5] * 700), client_port=41_000 + i) for i in range(4)])
    length = first[-1].time_ns - first[0].time_ns
    shifted = [Frame(each.time_ns + length + round(shift_s * S), each.data) for each in second]
    return pcap_bytes([*first, *shifted], nanoseconds=True)


@pytest.mark.parametrize("shift_s", [-10, -5, -2])
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


def test_a_step_forward_is_told_by_what_it_does_to_rates(here: Here, tmp_path: Path):
    path = tmp_path / "set.pcap"
    path.write_bytes(doubled(3600))
    said = " ".join(here("report", path).text.split())
    assert (
        "Nothing at all was captured for 1 h 0 min: if a clock was set forward, or capturing stood still, rates" in said
    )


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
