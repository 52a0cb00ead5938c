"""What the page of a large capture holds: everything within its budget, and every outlier."""

from __future__ import annotations

import json
import re
from itertools import accumulate

import numpy as np
import pytest

from benchmarks.page import SERVICES, page_of
from tcpsight.report_plots import POINTS, thinned
from tests.unit.output.test_web_data import unpacked

MOST_BYTES = 12_000_000


@pytest.fixture(scope="module")
def page() -> str:
    """Ten services, a day, more requests and connections than the page has room for."""
    return page_of(200_000)


@pytest.fixture(scope="module")
def plots(page):
    return json.loads(re.findall(r'id="data-plots">(.*?)</script>', page, re.DOTALL)[0])


def test_a_page_stays_small_however_many_requests_there_were(page):
    assert len(page.encode()) < MOST_BYTES


def test_cells_count_every_request(plots, page):
    facts = json.loads(re.findall(r'id="data-facts">(.*?)</script>', page, re.DOTALL)[0])
    assert len(facts["services"]) == SERVICES
    for service, drawn in zip(facts["services"], plots["services"], strict=True):
        assert sum(unpacked(drawn["completed"]["counts"])) == service["requests"]
        assert sum(unpacked(drawn["arrived"]["counts"])) == service["requests"]
        for level in drawn["levels"]:
            assert sum(unpacked(level["completions"])) == service["requests"]


def test_the_slowest_request_of_every_slice_is_a_point(plots):
    points = sum(len(unpacked(drawn["points"]["response_time_ns"])) for drawn in plots["services"])
    assert points == POINTS
    for drawn in plots["services"]:
        grid, edges = drawn["grid"], np.array(plots["edges_ns"])
        cells = np.array(list(accumulate(unpacked(drawn["completed"]["cells"]))))
        slices, buckets = cells // len(edges), cells % len(edges)
        highest = {place: buckets[slices == place].max() for place in np.unique(slices)}
        at = np.array(list(accumulate(unpacked(drawn["points"]["completion_ns"]))))
        places = np.minimum((at - grid["origin_ns"]) // grid["interval_ns"], grid["slices"] - 1)
        times = np.array(unpacked(drawn["points"]["response_time_ns"]))
        found = {
            place: np.searchsorted(edges, times[places == place].max(), side="right") - 1 for place in np.unique(places)
        }
        assert found == highest


def test_a_model_shows_its_extremes_however_many_points_it_has():
    values = [float((i * 7919) % 10_007) for i in range(50_000)]
    values[123], values[45_677] = -1.0, 99_999.0
    data = {"concurrency": values, "throughput_per_s": values[::-1], "is_used": [True] * 50_000, "start_ns": None}
    shown = thinned({"data": data, "refusal": None}, 2000)["data"]
    assert len(shown["concurrency"]) <= 2000
    assert (min(shown["concurrency"]), max(shown["concurrency"])) == (-1, 99_999)
    assert (min(shown["throughput_per_s"]), max(shown["throughput_per_s"])) == (-1, 99_999)
    assert shown["of"] == 50_000


def test_every_point_has_the_filter_of_its_client(plots):
    for drawn in plots["services"]:
        assert len(drawn["points"]["end"]) == len(unpacked(drawn["points"]["response_time_ns"]))
    client, isolating = plots["ends"][plots["services"][0]["points"]["end"][0]]
    address, port = client.split(":")
    assert isolating == f"tcp and host {address} and host 10.0.0.1 and port {port} and port 8000"
