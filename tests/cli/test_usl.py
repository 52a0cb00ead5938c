"""``tcpsight usl``: tables and captures to a page, JSON and plots.

Longer than other files: one command with two kinds of input and three of output; one rule after another.
"""

from __future__ import annotations

import json
import math
import os
import random
import subprocess
import sys
import time
from array import array
from fcntl import ioctl
from pathlib import Path
from termios import FIONREAD
from typing import Any

import numpy as np
import pytest

import tcpsight
from tests.cli.running import COMMAND, Here, assert_one_line, environment, process
from tests.support.closed_system import STEPS, Law, Lived, frames, merged, simulate
from tests.support.pcap import pcap_bytes
from tests.support.traffic import HANDSHAKE_NS, MS, START_NS, Exchange, Talk, answered, capture

EXAMPLES = Path(__file__).parents[2] / "examples"
LAW = Law(0.05, 0.0005, 1000.0)


def curve(law: Law = LAW, n: Any = range(1, 33)) -> str:
    return "".join(f"{each} {law.throughput(each):.6f}\n" for each in n)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "points.txt"
    path.write_text("# a load test\n" + curve())
    return path


@pytest.fixture(scope="module")
def lived() -> Lived:
    return simulate(LAW, 2, requests=6000)


@pytest.fixture(scope="module")
def pcap(tmp_path_factory: pytest.TempPathFactory, lived: Lived) -> Path:
    """A closed system of 1 to 32 clients."""
    path = tmp_path_factory.mktemp("usl") / "closed.pcap"
    path.write_bytes(pcap_bytes(frames(lived), nanoseconds=True))
    return path


def told(here: Here, *arguments: str | Path) -> dict[str, Any]:
    done = here("usl", "--format", "json", *arguments)
    assert done.status == 0, done.err
    found: dict[str, Any] = json.loads(done.text)
    return found


# --- published data

FIXTURES = {
    "cisco.txt": ("cisco.txt", 2e-4, {"sigma": 0.02671591, "kappa": 7.690945e-4, "lambda": 995.6486}),
    "cisco-prefix.txt": ("cisco-prefix.txt", 2e-4, {"sigma": 0.017002739, "kappa": 4.465413e-4, "lambda": 938.37922}),
    "specsdm91.csv": ("specsdm91.csv", 2e-4, {"sigma": 0.02773, "kappa": 1.044e-4, "lambda": 90.00}),
    "handlersocket.txt": (
        "handlersocket.txt",
        1e-6,
        {"sigma": 0.084651017, "kappa": 4.4314547e-4, "lambda": 13171.583},
    ),
    "linear2.txt": ("linear2.txt", 1e-6, {"sigma": 0.050016968, "kappa": 0.020001259, "lambda": 1800.0654}),
}


@pytest.mark.parametrize("name", FIXTURES)
def test_published_data_gives_its_published_coefficients(here, fixtures_dir, name):
    file, tolerance, expected = FIXTURES[name]
    found = told(here, fixtures_dir / "usl" / file)
    for coefficient, value in expected.items():
        assert found[coefficient]["value"] == pytest.approx(value, rel=tolerance, abs=1e-5 if value < 0.03 else 0)
        assert found[coefficient]["low"] <= value <= found[coefficient]["high"]


def test_published_peaks_are_found(here, fixtures_dir):
    cisco = told(here, fixtures_dir / "usl" / "cisco.txt")
    assert int(cisco["peak_concurrency"]) == 35
    assert cisco["peak_throughput_per_s"] == pytest.approx(12341, rel=2e-4)
    spec = told(here, fixtures_dir / "usl" / "specsdm91.csv")
    assert spec["peak_concurrency"] == pytest.approx(96.51956, rel=1e-5)
    assert spec["peak_throughput_per_s"] == pytest.approx(1884, rel=1e-3)
    assert spec["limit_per_s"]["value"] == pytest.approx(3245.589, rel=1e-4)
    latencies = {row["concurrency"]: row["response_time_ns"] / 1e9 for row in cisco["forecast"]}
    assert latencies[1] == pytest.approx(0.0010043984982923623, rel=2e-4)
    assert latencies[20] == pytest.approx(0.0018077217982978785, rel=2e-4)


@pytest.mark.parametrize(
    ("name", "sigma", "kappa", "one", "is_clear"),
    [
        ("handlersocket-prefix.txt", 0.068665122, -0.0011907541, 10821.096, True),
        ("voltdb.txt", 0.097885974, -0.0013447178, 71264.988, False),
    ],
)
def test_superlinear_data_is_held_at_zero_and_flagged(here, fixtures_dir, name, sigma, kappa, one, is_clear):
    found = told(here, fixtures_dir / "usl" / name)
    free = {each: value["value"] for each, value in found["unconstrained"].items()}
    assert free == pytest.approx({"sigma": sigma, "kappa": kappa, "lambda": one}, rel=1e-4)
    assert found["best_fit"]["kappa"] == 0
    assert found["is_superlinear"] == is_clear
    assert found["negative"] == ["kappa"]
    assert found["refusal"]
    # Held at zero by chance or not, it is not known to the last digit.
    if found["kappa"] is not None:
        assert found["kappa"]["low"] == 0 < found["kappa"]["high"]
    assert "(0 to 0)" not in here("usl", fixtures_dir / "usl" / name).text
    assert "superlinear" in here("usl", fixtures_dir / "usl" / name).text


def test_a_law_that_misses_superlinear_points_forecasts_nothing(here, tmp_path):
    (tmp_path / "super.csv").write_text("clients,tps\n1,100\n2,220\n4,500\n8,1100\n16,2500\n")
    found = told(here, tmp_path / "super.csv", "--at", "10")
    assert found["is_superlinear"]
    assert found["forecast"] == []
    assert (found["peak_concurrency"], found["limit_per_s"], found["headroom"]) == (None, None, None)
    assert "nor forecast" in found["refusal"]
    assert "efficiency" not in here("usl", tmp_path / "super.csv").text


def test_a_few_points_of_a_known_law_give_it_back(here, tmp_path):
    (tmp_path / "x.csv").write_text("1,1\n2,1.8868\n4,3.0769\n6,3.5294\n8,3.5398\n10,3.3557\n")
    found = told(here, tmp_path / "x.csv")
    values = {name: round(found[name]["value"], 2) for name in ("sigma", "kappa", "lambda")}
    assert values == {"sigma": 0.02, "kappa": 0.02, "lambda": 1.0}


# --- tables


def test_shapes_that_scripts_rely_on(here, table):
    found = told(here, table)
    for name, value in zip(("sigma", "kappa", "lambda"), LAW.values, strict=True):
        assert set(found[name]) == {"value", "low", "high"}
        assert found[name]["value"] == pytest.approx(value, rel=1e-3)
    assert found["peak_concurrency"] == pytest.approx(np.sqrt(0.95 / 0.0005), rel=1e-3)
    assert found["peak_throughput_per_s"] == pytest.approx(LAW.throughput(np.sqrt(0.95 / 0.0005)), rel=1e-4)
    assert found["refusal"] is None
    assert found["services"] == []


@pytest.mark.parametrize("separator", [" ", "\t", ",", ", ", ";"])
@pytest.mark.parametrize("header", ["", "concurrency{0}throughput\n", "# comment\n\n", "﻿"])
def test_tables_are_recognised_however_they_are_separated(here, tmp_path, separator, header):
    path = tmp_path / "points"
    path.write_text(header.format(separator) + curve().replace(" ", separator), encoding="utf-8")
    assert told(here, path)["sigma"]["value"] == pytest.approx(0.05, rel=1e-3)


def test_columns_are_found_by_name_wherever_they_are(here, tmp_path):
    path = tmp_path / "points.csv"
    rows = [f"{LAW.throughput(n):.6f},x,{n},{n * 2}" for n in range(1, 33)]
    path.write_text("\n".join(["tput,note,clients,other", *rows]))
    assert told(here, path)["sigma"]["value"] == pytest.approx(0.05, rel=1e-3)
    assert told(here, path, "--columns", "3,1")["sigma"]["value"] == pytest.approx(0.05, rel=1e-3)
    assert told(here, path, "--columns", "other,tput")["sigma"]["value"] != pytest.approx(0.05, rel=1e-3)


@pytest.mark.parametrize("header", ["time,clients,foo", "Timestamp,foo,X", "date,foo,bar", "N,ts,X"])
def test_a_column_that_is_called_a_time_is_neither_concurrency_nor_throughput(here, tmp_path, header):
    place = [name.lower() in ("time", "timestamp", "date", "ts") for name in header.split(",")].index(True)
    rows = [[f"{n}", f"{LAW.throughput(n):.6f}"] for n in range(1, 33)]
    for i, row in enumerate(rows):
        row.insert(place, f"2026-01-01T00:00:{i:02d}Z")
    path = tmp_path / "points.csv"
    path.write_text("\n".join([header, *map(",".join, rows)]))
    assert told(here, path)["sigma"]["value"] == pytest.approx(0.05, rel=1e-3)


@pytest.mark.parametrize(
    ("first", "count"), [("2026-01-01T00:00:00Z", 3), ("2026-01-01 00:00:00", 4), ("1767225600", 3), ("12:00:00", 3)]
)
def test_a_time_in_a_column_without_a_name_is_told_with_what_to_say(here, tmp_path, first, count):
    path = tmp_path / "points.txt"
    path.write_text("".join(f"{first} {n} {LAW.throughput(n):.6f}\n" for n in range(1, 33)))
    done = here("usl", path)
    assert done.status == 2
    columns = f"{count - 1},{count}"
    shown = first.split(" ", maxsplit=1)[0]
    assert_one_line(done.err, f"line 1: '{shown}' is a time, no concurrency", f"--columns {columns}")
    assert told(here, path, "--columns", columns)["sigma"]["value"] == pytest.approx(0.05, rel=1e-3)


@pytest.mark.parametrize("first", ["1711360{:03d}", "12:00:{:02d}"])
def test_a_time_and_one_other_column_without_names_hold_no_concurrency(here, tmp_path, first):
    path = tmp_path / "points.txt"
    path.write_text("".join(f"{first.format(i)} {1000 + 10 * i}\n" for i in range(40)))
    done = here("usl", path)
    assert done.status == 2
    shown = first.format(0)
    assert_one_line(done.err, f"line 1: '{shown}' is a time", "times and one other column; concurrency is missing")


def test_requests_in_flight_at_the_end_are_a_doubt_and_no_interval_that_is_left_out(here, tmp_path):
    talks = [
        Talk(answered(*[10] * 200, after_ms=10 / (1 + i)), client_port=20_000 + i, start_ns=START_NS + i * 50 * MS)
        for i in range(8)
    ]
    end_ns = max(frame.time_ns for talk in talks for frame in talk.frames())
    asks = [Exchange(end_ns - 3 * MS - START_NS - HANDSHAKE_NS, None)]
    talks += [Talk(asks, client_port=30_000 + i, is_closed=False) for i in range(5)]
    path = tmp_path / "flights.pcap"
    path.write_bytes(pcap_bytes(capture(talks), nanoseconds=True))
    assert told(here, path)["services"][0]["in_flight_at_end"] == 5
    page = " ".join(here("usl", path).text.split())
    assert "beware 5 requests were in flight at the end of the capture: not in N" in page


def test_a_table_may_come_from_a_pipe(table):
    found = json.loads(process("usl", "--format", "json", "-", stdin=table.read_bytes()).text)
    assert found["sigma"]["value"] == pytest.approx(0.05, rel=1e-3)


def in_pieces(*pieces: bytes) -> Any:
    """Give `usl` a pipe whose writer waits for each piece to be read before it writes the next."""
    with subprocess.Popen(
        [*COMMAND, "usl", "--format", "json", "-"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(),
    ) as running:  # fmt: skip
        assert running.stdin is not None
        for piece in pieces:
            running.stdin.write(piece)
            running.stdin.flush()
            while unread(running.stdin) and running.poll() is None:
                time.sleep(0.01)
        out, err = running.communicate()
    assert running.returncode == 0, err.decode()
    return json.loads(out)


def unread(pipe: Any) -> int:
    """Tell how many bytes a pipe holds."""
    held = array("i", [0])
    ioctl(pipe.fileno(), FIONREAD, held)
    return held[0]


@pytest.mark.parametrize(
    "pieces",
    [
        (b"1 ", b"100\n2 190\n4 300\n8 400\n16 380\n"),
        (b"concurrency,throughput_per_s\n", b"1,100\n2,190\n4,300\n8,400\n16,380\n"),
        (b"# a load ", b"test\n", b"N X\n1", b" 100\n2 190\n4 300\n8 400\n16 380\n"),
        (b"1 1", b"00\n2 190\n4 300\n8 400\n16 380\n"),
    ],
)
def test_a_table_that_comes_in_pieces_is_a_table(pieces):
    assert in_pieces(*pieces)["data"]["throughput_per_s"] == [100, 190, 300, 400, 380]


def test_a_capture_that_comes_in_pieces_is_a_capture(pcap):
    data = pcap.read_bytes()
    found = in_pieces(data[:3], data[3:30], data[30:])
    assert found["services"][0]["server_port"] > 0


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"1 5\n2 nan\n", ("line 2", "'nan'")),
        (b"1 5\ninf 6\n", ("line 2", "'inf'")),
        (b"1 5\n2 1e400\n", ("line 2", "'1e400'")),
        (b"1 5\n-2 6\n", ("line 2", "negative")),
        (b"# c\n1 5\n2 -6\n", ("line 3", "negative")),
        (b"1 5\n2 six\n", ("line 2", "'six' is no number")),
        (b"1 5\n2\n", ("line 2", "1 column")),
        (b"1 5\n2 \x1b[31m6\n", ("line 2", "control characters")),
        (b"1 5\n1 " + b"5" * 20_000, ("line 2", "longer than")),
        (b"1 2\n" * 100_001, ("line 100001", "more than 100,000 points")),
        (b"# nothing\n", ("holds no points",)),
        (b"PAR1 is no table", ("no Parquet",)),
    ],
    ids=lambda value: ascii(value)[:20] if isinstance(value, bytes) else "",
)
def test_a_hostile_table_is_one_line_that_names_the_line(here, tmp_path, content, words):
    path = tmp_path / "points"
    path.write_bytes(content)
    done = here("usl", "--table", path)
    assert done.status == 2
    assert done.out == b""
    assert_one_line(done.err, *words)


HARMLESS = {
    "one": "5 100\n",
    "single level": "4 100\n4 101\n" * 20,
    "constant": "".join(f"{n} 100\n" for n in range(1, 20)),
    "linear": "".join(f"{n} {100 * n}\n" for n in range(1, 20)),
    "superlinear": "".join(f"{n} {n**1.5}\n" for n in range(1, 20)),
    "nothing happened": "0 0\n" * 20,
    "no throughput": "".join(f"{n} 0\n" for n in range(1, 20)),
    "narrow": "".join(f"{10 + n / 10} {900 + n}\n" for n in range(20)),
    "tiny": "".join(f"{n * 1e-9} {100 * n}\n" for n in range(1, 20)),
    "huge": "".join(f"{n}e13 {100 * n}\n" for n in range(1, 20)),
    "retrograde": "".join(f"{n} {100 / n}\n" for n in range(1, 20)),
    "four": "1 5\n2 6\n3 7\n4 7.5\n",
}


@pytest.mark.parametrize("name", HARMLESS)
@pytest.mark.filterwarnings("error")
def test_odd_points_give_a_page_and_json_without_a_warning(here, tmp_path, name):
    path = tmp_path / "points"
    path.write_text(HARMLESS[name])
    done = here("usl", path)
    assert (done.status, done.err) == (0, "")
    assert "nan" not in done.text
    found = told(here, path)
    assert (found["refusal"] is None) == (name == "retrograde")
    if found["refusal"]:
        assert found["peak_concurrency"] is None


def test_our_intervals_are_a_table_that_knows_its_times(here, pcap, tmp_path):
    for format in ("csv", "parquet"):
        path = tmp_path / f"intervals.{format}"
        assert here("intervals", pcap, "--interval", "50ms", "-o", path).status == 0
        found = told(here, path)
        assert found["points"]["kind"] == "intervals"
        assert found["points"]["edges"] == 1  # the capture begins with a slice
        assert found["sigma"]["low"] <= LAW.sigma <= found["sigma"]["high"]
    assert here("intervals", pcap, "--by", "client", "--interval", "50ms", "-o", tmp_path / "x.csv").status == 0
    assert_one_line(here("usl", tmp_path / "x.csv").err, "several services")


# --- captures


def test_a_capture_tells_the_law_of_its_service(here, pcap):
    found = told(here, pcap)
    for name, value in zip(("sigma", "kappa", "lambda"), LAW.values, strict=True):
        assert found[name]["low"] <= value <= found[name]["high"]
    assert found["lambda"]["value"] == pytest.approx(1000, rel=0.1)
    assert (found["server_address"], found["server_port"]) == ("10.0.0.9", 3306)
    assert found["requests"] == 6000
    assert found["checks"]["littles_law"]["ratio_total"] == pytest.approx(1, abs=0.02)
    assert found["services"] == [{key: value for key, value in found.items() if key in found["services"][0]}]


def test_points_are_the_intervals_of_the_same_length(here, pcap):
    found = told(here, pcap, "--interval", "50ms")
    rows = tcpsight.open(pcap).intervals("50ms").to_numpy()
    at = np.searchsorted(rows["start_ns"], found["data"]["start_ns"])
    assert rows["concurrency"][at] == pytest.approx(found["data"]["concurrency"])
    assert rows["throughput_per_s"][at] == pytest.approx(found["data"]["throughput_per_s"])
    used = found["points"]
    assert used["edges"] >= 1
    assert len(at) + used["edges"] + used["warm_up"] == len(rows)


def test_each_service_has_its_model_and_the_largest_comes_first(here, tmp_path):
    small, large = Law(0.2, 0.002, 500.0), Law(0.02, 0.001, 2000.0)
    several = [
        frames(simulate(small, 1, requests=3000), port=80),
        frames(simulate(large, 2, requests=5000), port=5432),
    ]
    path = tmp_path / "two.pcap"
    path.write_bytes(pcap_bytes(merged(several), nanoseconds=True))
    found = told(here, path)
    assert [service["server_port"] for service in found["services"]] == [5432, 80]
    assert found["server_port"] == 5432
    for service, law in zip(found["services"], (large, small), strict=True):
        assert service["lambda"]["low"] <= law.throughput_of_one <= service["lambda"]["high"]
    assert told(here, path, "--server", ":80")["server_port"] == 80
    assert told(here, path, "--top", "1")["omitted_services"] == 1
    assert here("usl", path).text.count("Service 10.0.0.9:") == 2


def test_the_library_tells_the_same(here, pcap):
    ours = tcpsight.open(pcap).scalability()
    assert json.loads(json.dumps(ours)) == told(here, pcap)
    assert tcpsight.open(pcap).scalability("50ms")["interval_ns"] == 50_000_000


def test_the_same_capture_gives_the_same_bytes_and_another_seed_other_intervals(here, pcap):
    first, again = here("usl", pcap, "--format", "json"), here("usl", pcap, "--format", "json")
    assert first.out == again.out
    other = told(here, pcap, "--seed", "5")
    assert other["sigma"]["value"] == json.loads(first.text)["sigma"]["value"]
    assert other["sigma"]["low"] != json.loads(first.text)["sigma"]["low"]


def lock_step(concurrency: int, rounds: int) -> list[Talk]:
    return [Talk(answered(*[5.0] * rounds, after_ms=0.0), client=f"10.0.0.{i + 1}") for i in range(concurrency)]


@pytest.mark.parametrize(
    ("talks", "reason"),
    [
        ([Talk(answered(5))], "too few"),
        ([Talk(())], "no request was answered"),
        (lock_step(1, 400), "concurrency was always 1"),
        (lock_step(4, 100), "concurrency was always 4"),
    ],
    ids=["one request", "no request", "one at a time", "one level"],
)
@pytest.mark.filterwarnings("error")
def test_captures_that_tell_no_law_say_why(here, tmp_path, talks, reason):
    path = tmp_path / "x.pcap"
    path.write_bytes(pcap_bytes(capture(talks), nanoseconds=True))
    done = here("usl", path)
    assert done.status == 0
    found = told(here, path)
    assert found["sigma"] is None
    assert found["kappa"] is None
    assert reason in found["refusal"]


@pytest.fixture(scope="module")
def one_level(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight clients that pause, from beginning to end, at a service in which nothing waits."""
    path = tmp_path_factory.mktemp("usl") / "one-level.pcap"
    lived = simulate(Law(0.0, 0.0, 1000.0), 3, requests=20_000, steps=(8,), think_s=0.005)
    path.write_bytes(pcap_bytes(frames(lived), nanoseconds=True))
    return path


def assert_nothing_is_told(found: dict[str, Any]) -> None:
    assert found["refusal"]
    for name in ("sigma", "kappa", "lambda", "peak_concurrency", "limit_per_s", "headroom", "curve", "queue"):
        assert found[name] is None, name
    assert found["forecast"] == []


def test_load_that_differs_by_chance_alone_tells_no_law(here, one_level):
    found = told(here, one_level)
    assert_nothing_is_told(found)
    assert "load hardly varied" in found["refusal"]
    assert "forecast" not in here("usl", one_level).text


@pytest.mark.parametrize("length", ["40ms", "400ms"])
def test_the_same_points_are_refused_as_a_table_and_as_a_capture(here, one_level, tmp_path, length):
    assert here("intervals", one_level, "--interval", length, "-o", tmp_path / "x.csv").status == 0
    assert_nothing_is_told(told(here, tmp_path / "x.csv"))
    assert_nothing_is_told(told(here, one_level, "--interval", length))


def test_load_that_changed_is_fitted_though_throughput_had_reached_its_limit(here, tmp_path):
    # Throughput is level from the second client on: concurrency explains little of it.
    lived = simulate(Law(0.5, 0.0, 1000.0), 3, requests=8000, steps=(4, 6, 8, 12, 16, 24, 32))
    path = tmp_path / "x.pcap"
    path.write_bytes(pcap_bytes(frames(lived), nanoseconds=True))
    found = told(here, path)
    assert found["checks"]["r_squared"] < 0.9
    assert found["best_fit"]["sigma"] == pytest.approx(0.5, abs=0.3)


@pytest.mark.filterwarnings("error")
def test_constant_response_times_tell_that_nothing_waits(here, tmp_path):
    talks = [
        Talk(
            answered(*[5.0] * (60 * (12 - i)), after_ms=5.0),
            client=f"10.0.0.{i + 1}",
            start_ns=START_NS + i * (600 * MS + 300_000),
        )
        for i in range(12)
    ]
    path = tmp_path / "x.pcap"
    path.write_bytes(pcap_bytes(capture(talks), nanoseconds=True))
    found = told(here, path)
    assert found["best_fit"]["sigma"] == pytest.approx(0, abs=0.02)
    assert found["best_fit"]["kappa"] == pytest.approx(0, abs=0.002)
    assert found["lambda"]["low"] <= 200 <= found["lambda"]["high"]
    assert found["peak_concurrency"] is None
    assert "contains 0" in found["refusal"]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("step_ns", [-2 * 10**9, -10 * MS, 600 * 10**9, 3 * 3600 * 10**9])
def test_a_clock_that_is_set_gives_the_law_or_says_why_not(here, lived, tmp_path, step_ns):
    whole = frames(lived)
    late = [frame._replace(time_ns=frame.time_ns + step_ns) for frame in whole[len(whole) // 2 :]]
    path = tmp_path / "x.pcap"
    path.write_bytes(pcap_bytes(whole[: len(whole) // 2] + late, nanoseconds=True))
    found = told(here, path)
    if step_ns < 0:
        assert found["sigma"]["low"] <= LAW.sigma <= found["sigma"]["high"]
        assert found["lambda"]["low"] <= LAW.throughput_of_one <= found["lambda"]["high"]
    else:
        assert found["sigma"] is None
        assert found["refusal"]


def test_a_capture_shorter_than_an_interval_has_no_points(here, pcap):
    found = told(here, pcap, "--interval", "1h")
    assert found["refusal"].startswith("0 intervals are too few")
    assert "points          0 intervals" in here("usl", pcap, "--interval", "1h").text


def test_intervals_that_are_too_short_are_refused(here, pcap):
    done = here("usl", pcap, "--interval", "1us")
    assert done.status == 2
    assert_one_line(done.err, "1,000 ns are too short")


def test_a_stall_is_told_and_does_not_bend_the_curve(here, lived, tmp_path):
    # In the middle of the load nothing is answered for 300 ms.
    middle = int(lived.arrival_ns[len(lived.arrival_ns) * 3 // 4])
    arrival, completion = (np.where(at > middle, at + 300 * MS, at) for at in (lived.arrival_ns, lived.completion_ns))
    moved = Lived(arrival, completion, lived.client)
    path = tmp_path / "stall.pcap"
    path.write_bytes(pcap_bytes(frames(moved), nanoseconds=True))
    found = told(here, path)
    assert found["points"]["without_completion"] > 0
    assert found["points"]["outliers"] > 0
    assert found["sigma"]["low"] <= LAW.sigma <= found["sigma"]["high"]


def test_a_capture_that_is_cut_short_tells_what_there_is_and_ends_with_status_2(here, pcap, tmp_path):
    path = tmp_path / "cut.pcap"
    path.write_bytes(pcap.read_bytes()[:-7])
    done = here("usl", path)
    assert done.status == 2
    assert "contention" in done.text
    assert_one_line(done.err, "cut.pcap")


# --- the page


def test_the_page_tells_coefficients_peak_forecast_and_checks(here, pcap):
    text = here("usl", pcap).text
    for words in ("σ contention", "κ coherency", "λ alone", "peak", "headroom", "forecast", "not seen yet", "M/M/m"):
        assert words in text
    assert max(map(len, text.splitlines())) <= 100


def test_the_capacity_of_a_queue_is_all_its_servers_at_work(here, examples_dir):
    queue = told(here, examples_dir / "scaling.pcap.zst")["queue"]
    assert queue["capacity_per_s"] == pytest.approx(queue["servers"] * 1e9 / queue["service_time_ns"])
    assert " each (262/s at most)" in here("usl", examples_dir / "scaling.pcap.zst").text


@pytest.mark.parametrize("name", ["apache-wrk.pcap", "nginx-wrk.pcap"])
def test_no_queue_is_set_against_a_law_that_was_refused(here, examples_dir, name):
    found = told(here, examples_dir / name)
    assert found["sigma"] is None
    assert found["queue"] is None
    assert "M/M/m" not in here("usl", examples_dir / name).text


def test_of_a_service_that_saturates_and_never_falls_no_peak_is_told(here, tmp_path):
    noise = random.Random(1)
    points = "".join(f"{n} {1000 * min(n, 4) * noise.gauss(1, 0.01):.1f}\n" for n in range(1, 20))
    (tmp_path / "flat.txt").write_text(points)
    text = " ".join(here("usl", tmp_path / "flat.txt").text.split())
    assert "falls beyond 10.3, that of the points does not, and a curve that only levels off explains them" in text
    assert "headroom " not in text.replace("headroom nor", "")
    assert "4 servers of 1.00 ms each (4.00 k/s at most), explains the points better than the law: prefer it" in text


def test_four_points_prefer_neither_law_nor_queue(here, tmp_path):
    (tmp_path / "few.txt").write_text("1 100\n2 190\n4 360\n8 650\n")
    text = " ".join(here("usl", tmp_path / "few.txt").text.split())
    assert "the points are too few, or their loads, to prefer it or the law" in text
    assert "too few to look for a pattern" in text
    assert "AICc" not in text


@pytest.mark.parametrize(
    "loads", [(1, 2, 4, 8, 12, 16, 24, 32, 40), range(1, 41), range(2, 41, 2)], ids=["9", "40", "20"]
)
def test_of_points_that_bend_softly_to_a_ceiling_no_peak_is_told(here, tmp_path, loads):
    (tmp_path / "soft.txt").write_text("".join(f"{n} {8000 * (1 - math.exp(-n / 6)):.1f}\n" for n in loads))
    found = told(here, tmp_path / "soft.txt")
    assert found["peak_concurrency"] is None
    assert not found["forecast"]
    assert "a curve that only levels off explains them as well" in found["refusal"]


def test_a_limit_that_may_be_nearly_anything_is_refused(here, tmp_path):
    (tmp_path / "few.txt").write_text("1 992.39\n2 1916.21\n4 3480.63\n8 5673.29\n")
    text = " ".join(here("usl", tmp_path / "few.txt").text.split())
    assert "no limit can be told: it may be from 15" in text
    assert "headroom" not in text


def test_headroom_beyond_the_peak_names_the_load_and_of_a_table_none(here, tmp_path):
    law = Law(0.02, 0.005, 500.0)
    (tmp_path / "x.txt").write_text(curve(law))
    text = " ".join(here("usl", tmp_path / "x.txt").text.split())
    assert "the points reach beyond the peak, where the law has less throughput than at 14" in text
    assert "the load is" not in text
    path = tmp_path / "x.pcap"
    path.write_bytes(pcap_bytes(frames(simulate(law, 2, requests=6000)), nanoseconds=True))
    assert "none: at concurrency 29.8, the 95th percentile, the load is" in " ".join(here("usl", path).text.split())


def test_the_length_of_intervals_is_explained_only_where_there_are_some(here, pcap, tmp_path):
    path = tmp_path / "x.pcap"
    path.write_bytes(pcap_bytes(capture([Talk(answered(5.0, 5.0))]), nanoseconds=True))
    text = here("usl", path).text
    assert "0 intervals of" in text
    assert "which" not in text
    assert "what helps" in text
    assert "which" in here("usl", pcap).text


@pytest.mark.parametrize(
    ("arguments", "helps"),
    [
        (("stalls/mariadb-hot-row.pcap.zst",), "to get more done, what requests wait for"),
        (("mariadb-lock.pcap", "--server", ":3307"), "a service whose requests are answered"),
        (("mariadb-lock.pcap",), "load that goes from one request at a time to more"),
        (("../tests/truth/usl_server/short-run.pcap.zst",), "more clients, until more of them do not get more done"),
    ],
    ids=["full", "nobody", "hardly any load", "it still rises"],
)
def test_what_helps_depends_on_what_is_missing(here, arguments, helps):
    path, *others = arguments
    assert helps in " ".join(here("usl", EXAMPLES / path, *others).text.split())


def test_a_law_of_another_shape_is_told_at_the_top_and_a_close_fit_is_not(here, fixtures_dir, tmp_path):
    one_lock = tmp_path / "lock.txt"
    one_lock.write_text("".join(f"{n / 2} {min(60 * n / 2, 240 - n / 2)}\n" for n in range(2, 60)))
    assert "bend in another way" in here("usl", one_lock).text
    assert "bend in another way" not in here("usl", fixtures_dir / "usl" / "cisco.txt").text


def test_any_load_can_be_forecast(here, table, pcap):
    for source in (table, pcap):
        rows = {row["concurrency"]: row for row in told(here, source, "--at", "17, 250.5")["forecast"]}
        assert {1, 17, 250.5} <= set(rows)
        assert rows[250.5]["is_beyond_data"]
        assert rows[17]["response_time_ns"] == pytest.approx(17e9 / LAW.throughput(17), rel=0.1)
        assert rows[17]["low_per_s"] <= rows[17]["throughput_per_s"] <= rows[17]["high_per_s"]
    assert {row["concurrency"] for row in tcpsight.open(pcap).scalability(at=[17])["forecast"]} >= {1, 17}


@pytest.mark.parametrize("text", ["x", "0.5", "nan", "", "1,,2", "1e10"])
def test_what_cannot_be_a_load_is_refused(here, table, text):
    done = here("usl", table, "--at", text)
    assert done.status == 2
    assert_one_line(done.err, "no concurrencies")


@pytest.mark.parametrize("width", [60, 80, 200])
def test_the_page_fits_terminals(table, width):
    shown = environment(COLUMNS=str(width), PYTHONPATH=os.pathsep.join(sys.path))
    done = process("usl", table.name, cwd=table.parent, env=shown)
    assert max(map(len, done.text.splitlines())) <= width


def test_the_page_is_ascii_where_nothing_else_can_be_shown(table):
    done = process("usl", table, env=environment(PYTHONIOENCODING="ascii", PYTHONPATH=os.pathsep.join(sys.path)))
    assert done.out.isascii()
    assert "sigma contention" in done.text
    assert "?" not in done.text


def test_an_output_ending_in_json_is_json(here, table, tmp_path):
    assert here("usl", table, "-o", tmp_path / "x.json").status == 0
    assert json.loads((tmp_path / "x.json").read_text())["refusal"] is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--columns", "1"], ("no two columns",)),
        (["--columns", "1,9"], ("no column '9'",)),
        (["--columns", "n,x"], ("no column 'n'",)),
        (["--plot", "x.gif"], (".png, .svg, .pdf",)),
        (["--interval", "0s"], ("longer than 0",)),
    ],
)
def test_a_wrong_command_line_is_one_line(here, table, arguments, words):
    done = here("usl", table, *arguments)
    assert done.status == 2
    assert_one_line(done.err, *words)


def test_columns_of_a_capture_and_two_tables_are_refused(here, pcap, table):
    assert_one_line(here("usl", pcap, "--columns", "1,2").err, "is none")
    assert_one_line(here("usl", table, table, "--table").err, "one file")
    assert_one_line(here("usl", "nowhere").err, "No such file")
    assert_one_line(here("usl", "--table", "nowhere").err, "No such file")


# --- plots


@pytest.mark.parametrize(("suffix", "magic"), [("png", b"\x89PNG"), ("pdf", b"%PDF-"), ("svg", b"<?xml")])
def test_a_plot_is_drawn_and_is_the_same_each_time(here, pcap, tmp_path, suffix, magic):
    drawn = []
    for name in ("a", "b"):
        path = tmp_path / f"{name}.{suffix}"
        assert here("usl", pcap, "--plot", path).status == 0
        drawn.append(path.read_bytes())
    assert drawn[0].startswith(magic)
    assert drawn[0] == drawn[1]


def test_a_plot_has_the_curve_of_each_service(here, tmp_path):
    talks = [
        Talk(answered(*[5 + i * 37 % 101 / 20 for i in range(100)]), client_port=40_000 + c, server_port=80 + c % 2)
        for c in range(4)
    ]
    (tmp_path / "two.pcap").write_bytes(pcap_bytes(capture(talks), nanoseconds=True))
    assert here("usl", tmp_path / "two.pcap", "--plot", tmp_path / "two.svg").status == 0
    text = (tmp_path / "two.svg").read_text()
    assert text.count("10.0.0.9:80<") == text.count("10.0.0.9:81<") == 1
    assert here("usl", tmp_path / "two.pcap", "--top", "1", "--plot", tmp_path / "one.svg").status == 0
    assert "10.0.0.9:" not in (tmp_path / "one.svg").read_text()


def test_more_services_than_a_picture_holds_are_refused(here, tmp_path):
    talks = [Talk(answered(1, 1), client_port=40_000 + c, server_port=1000 + c) for c in range(51)]
    (tmp_path / "many.pcap").write_bytes(pcap_bytes(capture(talks), nanoseconds=True))
    done = here("usl", tmp_path / "many.pcap", "--top", "51", "--plot", tmp_path / "many.png")
    assert done.status == 2
    assert "51 services are more than 50" in done.err


def test_a_plot_names_its_coefficients_and_refusals_are_drawn_too(here, table, tmp_path):
    here("usl", table, "--plot", tmp_path / "a.svg")
    text = (tmp_path / "a.svg").read_text()
    for words in ("σ = 0.05", "95 % band", "universal scalability law", "concurrency"):
        assert words in text
    (tmp_path / "one").write_text("4 5\n")
    assert here("usl", tmp_path / "one", "--plot", tmp_path / "b.svg").status == 0
    assert "not identifiable" in (tmp_path / "b.svg").read_text()


@pytest.mark.parametrize(
    ("module", "arguments", "message"),
    [
        (
            "matplotlib",
            ["--plot", "x.png"],
            "--plot needs Matplotlib: pip install 'tcpsight[plot]' (in a clone '.[plot]')",
        ),
        ("scipy", [], "the scalability model needs SciPy: pip install scipy"),
    ],
)
def test_a_missing_library_is_one_line_that_says_what_to_install(table, tmp_path, module, arguments, message):
    (tmp_path / f"{module}.py").write_text("raise ImportError('not here')\n")
    shadowed = environment(PYTHONPATH=os.pathsep.join([str(tmp_path), *sys.path]))
    command = [*COMMAND, "usl", str(table), *arguments]
    done = subprocess.run(command, capture_output=True, check=False, timeout=60, env=shadowed, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.decode().splitlines() == [f"tcpsight: {message}"]


def test_steps_of_the_simulator_reach_from_1_to_32():
    assert (STEPS[0], STEPS[-1]) == (1, 32)


def test_the_curve_stays_clear_of_the_laws_pole_below_one_request(tmp_path: Path, here: Here):
    path = tmp_path / "steep.txt"
    # Two at a time get less done than one: with such a σ the law's denominator is zero at N = 0.44.
    noise = np.random.default_rng(3).normal(1, 0.03, 240)
    steep = [(1 + i % 60 / 12, noise[i]) for i in range(240)]
    path.write_text("".join(f"{n:.4f} {1000 * n / (1 + 1.8 * (n - 1)) * off:.3f}\n" for n, off in steep))
    told = json.loads(here("usl", path, "--format", "json").out)
    assert told["sigma"]["value"] > 1
    assert min(told["curve"]["throughput_per_s"]) > 0
    assert max(told["curve"]["high_per_s"]) < 2 * max(told["data"]["throughput_per_s"])
    assert here("usl", path).status == 0


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("bad.csv", "a,b\nx,y\n", "line 2: 'x' is no number; concurrency is expected there"),
        ("bad.tsv", "N\tX\n1\t\n", "line 2"),
        ("empty.csv", "", "holds no points"),
    ],
)
def test_what_is_wrong_with_a_table_is_told_of_a_table(here: Here, tmp_path: Path, name, text, said):
    path = tmp_path / name
    path.write_text(text)
    done = here("usl", path)
    assert done.status == 2
    assert_one_line(done.err, said)
    assert "tcpdump" not in done.err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1 x\n2 y\n", "line 1: 'x' is no number; throughput is expected there"),
        ("N X\none two\n3 4\n", "line 2: 'one' is no number; concurrency is expected there"),
        ("1\n2\n", "line 1: 1 column, but throughput is number 2"),
    ],
)
def test_text_that_is_neither_table_nor_capture_is_told_as_both(here: Here, tmp_path: Path, text, said):
    path = tmp_path / "points.txt"
    path.write_text(text)
    done = here("usl", path)
    assert done.status == 2
    assert_one_line(done.err, said, "not the text of tcpdump")
    piped = process("usl", "-", stdin=text.encode())
    assert piped.status == 2
    assert_one_line(piped.err, said, "not the text of tcpdump")


def test_a_capture_that_is_called_csv_is_a_capture(here: Here, tmp_path: Path, examples_dir: Path):
    path = tmp_path / "capture.csv"
    path.write_bytes((examples_dir / "redis-benchmark.pcap").read_bytes())
    assert "Service" in here("usl", path).text


def test_one_point_is_too_few(here: Here, tmp_path: Path):
    path = tmp_path / "one.txt"
    path.write_text("1 2\n")
    assert "1 point is too few: at least 4 are needed" in here("usl", path).text


def test_of_an_exactly_linear_table_the_coefficients_are_0(here: Here, tmp_path: Path):
    table = tmp_path / "linear.txt"
    table.write_text("".join(f"{n} {100 * n}\n" for n in (1, 2, 4, 8, 16, 32)))
    told = json.loads(here("usl", table, "--format", "json").text)
    assert told["sigma"] == told["kappa"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    assert told["refusal"] == "there is no peak: κ is 0, so that throughput never falls"


def test_a_law_that_is_refused_is_not_drawn(here: Here, tmp_path: Path):
    # Concurrency hardly reaches far enough to tell contention from coherency.
    table = tmp_path / "low.txt"
    table.write_text(
        "".join(f"{n} {t}\n" for n, t in ((1, 100), (1.3, 126), (1.6, 149), (2, 181), (2.4, 209), (2.6, 222)))
    )
    told = json.loads(here("usl", table, "--format", "json").text)
    assert told["refusal"] is not None
    assert (told["sigma"], told["curve"]) == (None, None)
