"""Comparisons of whole captures through the library."""

from __future__ import annotations

import io
import json
import math
from typing import Any

import numpy as np
import pytest

import tcpsight
from tcpsight.comparison import paired_endpoints
from tcpsight.errors import CaptureWarning, UsageError
from tcpsight.model.occupancy import MOST_SLICES
from tcpsight.scalability import LONGEST_NS, slice_length
from tests.support.closed_system import Lived
from tests.support.pcap import Frame, pcap_bytes, tcp_frame
from tests.support.steady_service import Workload, capture, live
from tests.support.traffic import HANDSHAKE_NS, MS, START_NS, Exchange, Talk, answered
from tests.support.traffic import capture as written


def compare(before: bytes, after: bytes, **options: Any) -> dict[str, Any]:
    found: dict[str, Any] = tcpsight.compare(io.BytesIO(before), io.BytesIO(after), **options)
    json.dumps(found, allow_nan=False)  # a program can read it
    return found


def steady(slow_down: float = 1.0, seed: int = 1, requests: int = 4000) -> tuple[bytes, bytes]:
    one, two = live(Workload(), seed, requests=requests, slow_down=slow_down)
    return capture(one), capture(two)


def talks(count: int, *response_times_ms: float, **where: Any) -> bytes:
    """Write connections that begin a second apart, each with requests of these response times."""
    several = [
        Talk(answered(*response_times_ms), client_port=20_000 + i, start_ns=START_NS + i * 1000 * MS, **where)
        for i in range(count)
    ]
    return pcap_bytes(written(several), nanoseconds=True)


def refused(count: int) -> list[Frame]:
    """Write connections that are refused, one a second."""
    found = []
    for i in range(count):
        ends, ports, at = ("10.0.0.7", "10.0.0.9"), (30_000 + i, 3306), START_NS + i * 1000 * MS + 500 * MS
        found.append(Frame(at, tcp_frame(*ends, *ports, 1, 0, "S")))
        found.append(Frame(at + MS, tcp_frame(*ends[::-1], *ports[::-1], 0, 2, "RA")))
    return found


def quantile(found: dict[str, Any], p: float) -> dict[str, Any]:
    rows: list[dict[str, Any]] = found["services"][0]["response_time"]
    return next(row for row in rows if row["quantile"] == p)


def share(found: dict[str, Any], name: str) -> dict[str, Any]:
    rows: list[dict[str, Any]] = found["services"][0]["shares"]
    return next(row for row in rows if row["name"] == name)


def test_two_halves_of_a_steady_service_do_not_differ():
    found = compare(*steady())
    assert found["verdict"] == "no_difference"
    assert not found["is_worse"]
    assert found["services"][0]["detectable_fraction"] < 0.1


def test_a_slow_down_is_found_at_its_size():
    found = compare(*steady(1.3))
    assert found["verdict"] == "worse"
    assert quantile(found, 0.5)["low"] < 1.3 < quantile(found, 0.5)["high"]
    assert found["services"][0]["throughput_at_equal_concurrency"]["high"] < 1


def test_who_was_in_flight_when_a_capture_ended_is_no_failure():
    def ended(waited_ms: int) -> bytes:
        busy = Talk(answered(*[10] * 40), client_port=20_000)
        end_ns = max(frame.time_ns for frame in busy.frames())
        asks = [Exchange(end_ns - waited_ms * MS - START_NS - HANDSHAKE_NS, None)]
        return pcap_bytes(written([busy, Talk(asks, client_port=20_001, is_closed=False)]), nanoseconds=True)

    found = compare(ended(5), ended(500))
    assert found["services"][0]["in_flight_at_end"] == {"before": 1, "after": 0}
    told = share(found, "unanswered")
    assert (told["before"]["events"], told["before"]["of"]) == (0, 40)
    assert (told["after"]["events"], told["after"]["of"]) == (1, 41)


def by_milliseconds(seed: int, took_ms: float, count: int = 5000) -> bytes:
    """Write requests that took so long, give or take a percent, as a clock of milliseconds records them."""
    random = np.random.default_rng(seed)
    arrival = START_NS + np.cumsum(random.exponential(20 * took_ms * 1e6, count)) + np.arange(count) * 1e7
    ends = arrival + took_ms * 1e6 * np.exp(random.normal(0, 0.01, count))
    began, ended = (np.floor(each / 1e6).astype(np.int64) * 10**6 for each in (arrival, ends))
    return capture(Lived(began, ended, np.zeros(count, np.int64)))


@pytest.mark.parametrize(
    ("took_ms", "factor", "verdict"),
    [(3.1, 1.1, "too_little_data"), (12.2, 1.1, "too_little_data"), (200, 1.2, "worse")],
)
def test_a_clock_of_milliseconds_hides_no_difference_that_it_cannot_tell(took_ms, factor, verdict):
    found = compare(by_milliseconds(1, took_ms), by_milliseconds(2, took_ms * factor))
    assert found["verdict"] == verdict
    for p in (0.5, 0.95):
        assert quantile(found, p)["low"] < factor < quantile(found, p)["high"]


def of_two_heaps(seed: int, slow_share: float, count: int = 2000) -> bytes:
    random = np.random.default_rng(seed)
    arrival = START_NS + np.arange(count) * 1_000_000_000
    took = np.where(random.random(count) < slow_share, 205_000_000, 5_200_000)
    return capture(Lived(arrival, arrival + took, np.zeros(count, np.int64)))


@pytest.mark.parametrize(("after", "p95_ns"), [(0.035, 5_200_000), (0.09, 205_000_000)])
def test_percentiles_are_those_of_the_report_and_of_requests_however_few_values_there_are(after, p95_ns):
    both = [of_two_heaps(1, 0.03), of_two_heaps(2, after)]
    found = compare(*both)
    for when, each in zip(("before", "after"), both, strict=True):
        times = tcpsight.open(io.BytesIO(each)).requests.to_numpy()["response_time_ns"]
        for row in found["services"][0]["response_time"]:
            assert row[f"{when}_ns"] == np.sort(times)[math.ceil(row["quantile"] * len(times) - 1e-9) - 1]
    assert quantile(found, 0.95)["before_ns"] == 5_200_000
    assert quantile(found, 0.95)["after_ns"] == p95_ns
    assert found["verdict"] == ("no_difference" if p95_ns == 5_200_000 else "worse")


def test_a_speed_up_is_found_too():
    before, after = steady(1.3)
    assert compare(after, before)["verdict"] == "better"


def test_what_is_tolerated_is_not_worse():
    found = compare(*steady(1.3), tolerance=0.5)
    assert (found["verdict"], found["is_worse"]) == ("within_tolerance", False)


def test_swapping_the_captures_turns_ratios_round():
    before, after = steady(1.2)
    there, back = quantile(compare(before, after), 0.5), quantile(compare(after, before), 0.5)
    assert there["ratio"] * back["ratio"] == pytest.approx(1, rel=1e-6)


def test_half_a_dozen_requests_are_too_little_data():
    found = compare(talks(2, 1, 2, 3), talks(2, 5, 6, 7))
    assert found["verdict"] == "too_little_data"
    assert quantile(found, 0.5)["before_ns"] is not None
    assert quantile(found, 0.5)["low"] is None


def test_connections_that_are_refused_now_make_it_worse():
    fine = talks(200, 1, 1, 1, 1, 1)
    frames = sorted([*written([Talk(answered(1, 1), client_port=20_000 + i, start_ns=START_NS + i * 1000 * MS)
                               for i in range(200)]), *refused(100)])  # fmt: skip
    found = compare(fine, pcap_bytes(frames, nanoseconds=True))
    assert found["verdict"] == "worse"
    assert share(found, "failed")["after"] == {"events": 100, "of": 300, "share": pytest.approx(1 / 3)}
    assert share(found, "refused")["low"] > 0.1
    assert [each["kind"] for each in found["services"][0]["findings"]["came"]] == ["refused"]


def test_requests_without_an_answer_make_it_worse():
    silent = [
        Talk([Exchange(5 * MS, None)], client_port=50_000 + i, start_ns=START_NS + i * 2000 * MS, is_closed=False)
        for i in range(60)
    ]
    some = [Talk(answered(1, 1), client_port=20_000 + i, start_ns=START_NS + i * 1000 * MS) for i in range(120)]
    found = compare(talks(120, 1, 1), pcap_bytes(written([*some, *silent]), nanoseconds=True))
    assert found["verdict"] == "worse"
    assert share(found, "unanswered")["after"]["events"] == 60
    assert "failures" in [each["kind"] for each in found["worse"]]


def test_services_of_one_capture_only_are_named():
    both = written([Talk(answered(1)), Talk(answered(1), server_port=80, client_port=50_000)])
    found = compare(pcap_bytes(both), talks(1, 1))
    assert found["only_before"] == [{"server_address": "10.0.0.9", "server_port": 80}]
    assert found["only_after"] == []


def test_a_service_that_moved_to_another_address_is_known_by_its_port():
    found = compare(talks(2, 1), talks(2, 1, server="10.9.9.9"))
    assert found["services"][0]["server_address"] == "10.0.0.9"
    assert found["services"][0]["after_server_address"] == "10.9.9.9"


def test_ports_that_several_have_pair_nothing():
    def at(last: int, port: int = 80) -> tuple[bytes, int, int]:
        return bytes([*([0] * 15), last]), port, 4

    assert list(paired_endpoints([at(1), at(2)], [at(3)])) == []
    assert list(paired_endpoints([at(1), at(2)], [at(2), at(3)])) == [(at(2), at(2)), (at(1), at(3))]


def test_captures_without_a_common_service_are_refused():
    with pytest.raises(UsageError, match="no service is in both captures; before :3306, after :80"):
        compare(talks(1, 1), talks(1, 1, server_port=80))


def test_a_capture_without_the_wanted_service_is_refused():
    with pytest.raises(UsageError, match="no connection that was asked for"), pytest.warns(CaptureWarning):
        compare(talks(1, 1), talks(1, 1), servers=":9999")


def test_the_largest_services_are_compared_and_the_others_counted():
    both = pcap_bytes(written([Talk(answered(1, 1)), Talk(answered(1), server_port=80, client_port=50_000)]))
    found = compare(both, both, most_services=1)
    assert [each["server_port"] for each in found["services"]] == [3306]
    assert found["omitted_services"] == 1


def test_a_capture_compared_with_itself_changes_nothing():
    before, _ = steady()
    found = compare(before, before)
    service = found["services"][0]
    assert all(row["ratio"] == 1 for row in service["response_time"])
    assert service["throughput_at_equal_concurrency"]["ratio"] == 1
    assert all(row["difference"] == 0 for row in service["shares"] if row["difference"] is not None)


def test_several_files_are_one_capture():
    one, two = live(Workload(), 3, requests=2000)
    whole = compare(capture(one), capture(two))
    again = tcpsight.compare([io.BytesIO(capture(one))], [io.BytesIO(capture(two))])
    assert whole["services"] == again["services"]


@pytest.mark.filterwarnings("ignore")
def test_constant_and_single_requests_have_a_sensible_answer():
    found = compare(talks(1, 1), talks(1, *([1] * 200)))
    assert found["verdict"] == "too_little_data"
    service = found["services"][0]
    assert service["throughput_at_equal_concurrency"]["refusal"] is not None
    assert math.isclose(quantile(found, 0.5)["ratio"], 1, rel_tol=1e-3)


def pipelined(rounds: int) -> bytes:
    """Write a client that asks again while an answer goes on: the server's next segment does not acknowledge it."""
    client, server, frames = ("10.0.0.1", 40_000), ("10.0.0.9", 3306), []
    for i in range(rounds):
        at, own, other = START_NS + i * 10 * MS, 1000 + 40 * i, 9000 + 300 * i
        for after, is_answer, sequence, acknowledged in (
            (0, False, own, other), (1, True, other, own + 20), (2, False, own + 20, other),
            (3, True, other + 100, own + 20), (4, True, other + 200, own + 40),
        ):  # fmt: skip
            (source, port), (target, other_port) = (server, client) if is_answer else (client, server)
            data = bytes(100 if is_answer else 20)
            frame = tcp_frame(source, target, port, other_port, sequence, acknowledged, "PA", data)
            frames.append(Frame(at + after * MS, frame))
    return pcap_bytes(frames, nanoseconds=True)


def test_a_service_whose_sides_take_no_turns_has_no_response_times():
    found = compare(pipelined(300), pipelined(300))
    service = found["services"][0]
    assert "do not take turns" in service["refusal"]
    assert service["response_time"] == []
    assert service["throughput_at_equal_concurrency"]["refusal"] == service["refusal"]
    assert found["verdict"] == "too_little_data"


def test_a_clock_that_leaps_by_centuries_breaks_nothing():
    early, late = (
        Talk(answered(1, 2), client_port=port, start_ns=at) for port, at in ((40_000, 0), (40_001, 2**31 * 10**9))
    )
    frames = pcap_bytes(written([early, late]), nanoseconds=True)
    assert compare(frames, frames)["verdict"] == "too_little_data"
    assert slice_length(1, 1, 2**63, 2**63)[0] <= LONGEST_NS


def test_slices_are_chosen_by_the_time_that_passed_not_by_what_a_clock_leapt_over():
    second = 10**9
    assert slice_length(10_000, 1_000_000, 700 * second, 100 * second) == slice_length(
        10_000, 1_000_000, 100 * second, 100 * second
    )
    # Still there are no more of them than can be held.
    assert 700_000 * second // slice_length(10_000, 1_000_000, 700_000 * second, 100 * second)[0] <= 50_000


def test_a_negative_tolerance_is_refused():
    with pytest.raises(UsageError, match="tolerance"):
        compare(talks(1, 1), talks(1, 1), tolerance=-0.1)


def test_the_slices_that_are_chosen_for_many_requests_are_not_refused():
    for requests in (1_000_000, 5_000_000, 50_000_000, 2_000_000_000):
        span_ns = requests * 100_000
        assert span_ns // slice_length(requests, 10_000, span_ns, span_ns)[0] < MOST_SLICES
