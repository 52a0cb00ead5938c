"""``--plot`` of requests and intervals."""

from __future__ import annotations

import itertools
import json
import re
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tcpsight.output.table_figures import MOST_POINTS, IntervalFigure, RequestFigure
from tcpsight.output.units import duration
from tcpsight.tables import Intervals
from tests.cli.running import Here, assert_one_line
from tests.conftest import ROOT
from tests.support.pcap import pcap_bytes
from tests.support.traffic import Talk, capture

COMMANDS = ("requests", "intervals")
MAGIC = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}


def words_of(path: Path) -> str:
    """Give the text of an SVG, whose letters stay letters."""
    return " ".join(re.findall(r"<text[^>]*>([^<]*)</text>", path.read_text()))


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("suffix", MAGIC)
def test_a_picture_of_every_format_is_drawn_and_no_row_written(here: Here, pcap: Path, command: str, suffix: str):
    path = pcap.with_suffix(f".{suffix}")
    done = here(command, pcap, "--plot", path)
    assert (done.status, done.text) == (0, "")
    assert path.read_bytes().startswith(MAGIC[suffix])


@pytest.mark.parametrize("command", COMMANDS)
def test_rows_are_written_when_somebody_asks(here: Here, pcap: Path, tmp_path: Path, command: str):
    usual = here(command, pcap, "--format", "csv").text
    assert here(command, pcap, "--format", "csv", "--plot", tmp_path / "a.svg").text == usual
    here(command, pcap, "-o", tmp_path / "rows.csv", "--plot", tmp_path / "b.svg")
    assert (tmp_path / "rows.csv").read_text() == usual
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_text_that_is_asked_for_is_in_order_of_time(here: Here, pcap: Path, tmp_path: Path):
    usual = here("requests", pcap).text
    assert here("requests", pcap, "--format", "table", "--plot", tmp_path / "a.svg").text == usual


def test_the_picture_of_requests_names_its_axes_and_percentiles(here: Here, pcap: Path):
    here("requests", pcap, "--plot", pcap.with_suffix(".svg"))
    shown = words_of(pcap.with_suffix(".svg"))
    for word in ("6 requests", "completion, seconds after", "response time", "share of requests", "p50 3.0", "p99 5"):
        assert word in shown


def test_the_picture_of_intervals_names_its_axes(here: Here, pcap: Path):
    here("intervals", pcap, "--plot", pcap.with_suffix(".svg"))
    shown = words_of(pcap.with_suffix(".svg"))
    for word in ("throughput (1/s)", "concurrency", "response time", "p50", "p95", "p99", "max", "seconds after"):
        assert word in shown


def test_only_rows_that_a_condition_chooses_are_drawn(here: Here, pcap: Path):
    here("requests", pcap, "--where", "response_time > 3ms", "--plot", pcap.with_suffix(".svg"))
    assert "3 requests" in words_of(pcap.with_suffix(".svg"))


@pytest.mark.parametrize("command", COMMANDS)
def test_nothing_to_draw_is_said(here: Here, pcap: Path, command: str):
    done = here(command, pcap, "--where", "response_time_ns > 1h" if command == "requests" else "arrivals > 99",
                "--plot", pcap.with_suffix(".svg"))  # fmt: skip
    assert done.status == 0
    assert "nothing to draw" in done.err
    assert not pcap.with_suffix(".svg").exists()


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["--plot", "picture.gif"], ".png, .svg, .pdf"), (["--plot", "PCAP"], ".png, .svg, .pdf")],
)
def test_what_cannot_be_drawn_is_one_line(here: Here, pcap: Path, command: str, arguments: list[str], words: str):
    done = here(command, pcap, *(str(pcap) if each == "PCAP" else each for each in arguments))
    assert done.status == 2
    assert_one_line(done.err, words)


def test_a_picture_never_replaces_the_capture(here: Here, pcap: Path):
    other = pcap.with_suffix(".svg")
    pcap.rename(other)
    done = here("requests", other, "--plot", other)
    assert done.status == 2
    assert_one_line(done.err, "would be lost")


def test_several_series_are_not_drawn(here: Here, pcap: Path):
    done = here("intervals", pcap, "--by", "service", "--plot", pcap.with_suffix(".svg"))
    assert done.status == 2
    assert_one_line(done.err, "leave out --by")


@pytest.mark.parametrize("command", COMMANDS)
def test_without_matplotlib_it_says_what_to_install(
    here: Here, pcap: Path, monkeypatch: pytest.MonkeyPatch, command: str
):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "matplotlib" else find_spec(name))
    done = here(command, pcap, "--plot", pcap.with_suffix(".svg"))
    assert done.status == 2
    assert_one_line(done.err, "pip install 'tcpsight[plot]'")


def intervals(count: int) -> Intervals:
    table = Intervals.allocate(count)
    table.start_ns[:] = np.arange(count) * 1_000_000
    table.throughput_per_s[:] = 10
    for name in ("p50", "p95", "p99", "max"):
        table.rows[f"response_time_{name}_ns"] = 1_000_000
    return table


def test_a_million_intervals_become_few_points_and_the_highest_stays(tmp_path: Path):
    figure = IntervalFigure()
    for part in range(10):
        table = intervals(100_000)
        table.start_ns[:] += part * 100_000_000_000
        if part == 7:
            table.response_time_max_ns[54_321] = 9_000_000_000
            table.response_time_p50_ns[100:200] = -1
        figure.feed(table)
    assert figure.draw(str(tmp_path / "picture.svg"))
    assert len(figure._start_ns) <= MOST_POINTS
    assert np.nanmax(figure._high[:, -1]) == 9_000_000_000
    assert "highest of them" in words_of(tmp_path / "picture.svg")
    assert (tmp_path / "picture.svg").stat().st_size < 1_000_000


def test_percentiles_of_the_picture_are_those_of_the_report_and_apart(here: Here, tmp_path: Path):
    path, picture = ROOT / "examples" / "redis-benchmark.pcap", tmp_path / "times.svg"
    here("requests", path, "--plot", picture)
    told = json.loads(here("report", path, "--format", "json").text)["services"][0]["response_time"]
    labels = re.findall(r"<text([^>]*)>(p\d\d [^<]*)</text>", picture.read_text())
    assert [text for _, text in labels] == [
        f"{name} {duration(told[f'{name}_ns'])}".replace("\u202f", " ") for name in ("p50", "p95", "p99")
    ]
    places = [float(re.findall(r" x=\"([\d.]+)\"", how)[0]) for how, _ in labels]
    assert all("rotate(-0 " in how for how, _ in labels)
    assert all(right - left > 60 for left, right in itertools.pairwise(places))


def test_very_many_requests_become_cells(tmp_path: Path):
    from tcpsight.model.density import BUCKET_EDGES_NS
    from tcpsight.model.growing_density import GrowingDensity

    random = np.random.default_rng(1)
    density = GrowingDensity()
    figure = RequestFigure(density, BUCKET_EDGES_NS)
    for part in range(10):
        times = random.lognormal(14, 1, 100_000).astype(np.int64)
        density.feed(np.arange(100_000) * 1_000_000 + part * 10**11, times)
    assert figure.draw(str(tmp_path / "picture.svg"))
    assert "1 000 000 requests" in words_of(tmp_path / "picture.svg")
    assert (tmp_path / "picture.svg").stat().st_size < 2_000_000


def test_response_times_of_nothing_and_of_ages_are_drawn(tmp_path: Path):
    from tcpsight.model.density import BUCKET_EDGES_NS
    from tcpsight.model.growing_density import GrowingDensity

    for few in (True, False):
        density: Any = GrowingDensity()
        density.feed(np.array([0, 2**61]), np.array([0, 2**62]))
        if not few:
            density.points = lambda: None
        assert RequestFigure(density, BUCKET_EDGES_NS).draw(str(tmp_path / f"{few}.png"))


@pytest.mark.parametrize(
    ("times_ns", "ticks"),
    [
        ([2_000_000, 9_000_000], ["2 ms", "3 ms", "4 ms", "5 ms", "7 ms"]),
        ([5_000_000, 5_000_000], ["2 ms", "3 ms", "4 ms", "5 ms", "7 ms", "10 ms", "15 ms"]),
        ([5_000_000, 3600 * 10**9], ["10 ms", "100 ms", "1 s", "10 s", "1 min", "10 min", "1 h"]),
    ],
)
def test_ticks_are_there_for_any_times(tmp_path: Path, times_ns: list[int], ticks: list[str]):
    from tcpsight.model.density import BUCKET_EDGES_NS
    from tcpsight.model.growing_density import GrowingDensity

    density: Any = GrowingDensity()
    density.feed(np.array([0, 10**9]), np.array(times_ns))
    assert RequestFigure(density, BUCKET_EDGES_NS).draw(str(tmp_path / "a.svg"))
    shown = words_of(tmp_path / "a.svg")
    for tick in ticks:
        assert tick in shown


def test_a_single_interval_has_a_width(tmp_path: Path):
    figure = IntervalFigure()
    table = Intervals.allocate(1)
    table.start_ns[:], table.length_ns[:], table.throughput_per_s[:] = 10**18, 2 * 10**9, 7
    figure.feed(table)
    assert figure.draw(str(tmp_path / "a.svg"))
    assert "2.00" in words_of(tmp_path / "a.svg")


def test_pictures_of_the_example_show_its_stall(here: Here, tmp_path: Path):
    for command in COMMANDS:
        assert here(command, ROOT / "examples" / "mariadb-lock.pcap", "--plot", tmp_path / f"{command}.svg").status == 0
        assert "1 s" in words_of(tmp_path / f"{command}.svg")


def test_small_tables_make_points_of_as_many_intervals_as_large_ones():
    told = []
    for rows in (70, 70_000):
        figure = IntervalFigure()
        for first in range(0, 140_000, rows):
            table = Intervals.allocate(min(rows, 140_000 - first))
            table.start_ns[:] = np.arange(first, first + len(table))
            figure.feed(table)
        figure._settle()
        told.append(figure._each)
        assert np.diff(figure._start_ns).max() == figure._each
    assert told[0] == told[1]


def test_of_a_capture_without_requests_no_empty_axes_are_drawn(here: Here, tmp_path: Path):
    path = tmp_path / "none.pcap"
    path.write_bytes(pcap_bytes(capture([Talk(())])))
    for command in COMMANDS:
        done = here(command, path, "--plot", tmp_path / "none.svg")
        assert "nothing to draw" in done.err
        assert not (tmp_path / "none.svg").exists()
