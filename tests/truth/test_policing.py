"""Policing and shaping against truth: the verdicts of the paper's authors on their captures, and simulated paths."""

from __future__ import annotations

import csv
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tcpsight.capture import open_capture
from tcpsight.decode import Decoding
from tcpsight.tables import DIRECTIONS, POLICING_VERDICTS, Headers, Policed
from tests.support.headers import B_PORT
from tests.support.thorough import some_of
from tests.truth.policing.judging import judge
from tests.truth.policing.path import Chance, Element, Policer, Shaper
from tests.truth.policing.runs import run, summary
from tests.truth.policing.senders import ByLosses, ByRate
from tests.truth.policing.transfer import MSS, OVERHEAD, TIMESTAMPS, Settings, Transfer, headers_of

AUTHORS = (
    "policed",
    "insufficient_loss",
    "late_loss",
    "negative_fill",
    "higher_fill_on_loss",
    "loss_fill_out_of_range",
    "pass_fill_out_of_range",
    "inflated_rtt",
)
"""What their codes 0 to 7 mean."""


def judge_file(path: Path) -> Policed:
    decoding = Decoding()
    return judge(Headers.concatenate([decoding.feed(frames).copy() for frames in open_capture([path])]))


def expected_of(folder: Path) -> list[list[str]]:
    with (folder / "expected.csv").open(encoding="ascii") as file:
        return [[cell.strip(" []") for cell in row] for row in csv.reader(file)]


@pytest.mark.parametrize("name", ["policed-1.5M-burst100k", "shaped-10M-queue1M", "shaped-10M-loss1pct"])
def test_exchanges_are_judged_as_by_the_authors_of_the_paper(fixtures_dir: Path, name: str) -> None:
    table = judge_file(fixtures_dir / "policing" / f"{name}.pcap.xz")
    rows = table.rows[table.direction == DIRECTIONS.index("server")]
    expected = [row for row in expected_of(fixtures_dir / "policing") if row[0] == name]
    assert len(rows) == len(expected) == 5
    for found, row in zip(rows, expected, strict=True):
        _, _, _, _, segments, losses, is_policed, code, rate, burst, also, trimmed_code, *_ = row
        assert (found["segments"], found["losses"]) == (int(segments), int(losses))
        assert bool(found["is_policed"]) is (is_policed == "True") is (also == "True")
        assert POLICING_VERDICTS[found["verdict"]] == AUTHORS[int(code.split()[1])]
        assert POLICING_VERDICTS[found["trimmed_verdict"]] == AUTHORS[int(trimmed_code.split()[1])]
        if is_policed == "True":
            assert found["paper_rate_bits_per_s"] == pytest.approx(int(rate.split()[0]), abs=2)
            assert found["burst_bytes"] == int(burst.split()[0])


def test_the_rate_and_the_bucket_are_those_of_the_authors_policer(fixtures_dir: Path) -> None:
    """1.5 Mbit/s and 100 kB of frames: of 1514 bytes each, 1448 are payload."""
    table = judge_file(fixtures_dir / "policing" / "policed-1.5M-burst100k.pcap.xz")
    share = 1448 / 1514
    assert table.rate_bits_per_s.tolist() == pytest.approx([1_500_000 * share] * 5, rel=0.01)
    assert table.bucket_bytes.tolist() == pytest.approx([100_000 * share] * 5, rel=0.04)
    assert not table.is_shaped.any()


def test_a_queue_of_known_rate_is_found_as_shaping(fixtures_dir: Path) -> None:
    """10 Mbit/s, and up to a megabyte in front of it."""
    table = judge_file(fixtures_dir / "policing" / "shaped-10M-queue1M.pcap.xz")
    assert table.is_shaped.all()
    assert not table.is_policed.any()
    assert table.shaped_rate_bits_per_s.tolist() == pytest.approx([10e6 * 1448 / 1514] * 5, rel=0.02)
    assert (table.queue_max_ns > 300_000_000).all()


def seen_at(end: str, path: list[Element], **more: Any) -> Any:
    """Simulate one download of 3 MB over 50 ms; give the row of the data."""
    defaults: dict[str, Any] = {"sizes": (3_000_000,), "round_trip_s": 0.05, "path": path, "sender": ByLosses()}
    settings = Settings(**defaults | more)
    outcome = Transfer(settings).run()
    seen = outcome.at_server if end == "sender" else outcome.at_client
    table = judge(headers_of(seen, has_timestamps=settings.has_timestamps))
    (row,) = table.rows[table.direction == DIRECTIONS.index("server")]
    return row


@pytest.mark.parametrize("end", ["sender", "receiver"])
@pytest.mark.parametrize("sender", [ByLosses, ByRate])
def test_a_policer_is_found_at_either_end_with_its_rate(end: str, sender: Any) -> None:
    row = seen_at(end, [Policer(3e6, 50_000)], sender=sender())
    assert row["is_policed"]
    assert (row["connection_id"], row["server_port"]) == (1, B_PORT)
    assert bool(row["is_lost_before"]) is (end == "receiver")
    assert row["rate_bits_per_s"] == pytest.approx(3e6 * (MSS - TIMESTAMPS) / (MSS + OVERHEAD), rel=0.05)


@pytest.mark.parametrize("end", ["sender", "receiver"])
def test_of_a_small_bucket_that_runs_over_between_losses_bounds_are_told(end: str) -> None:
    """15 kB on a path of 50 ms: the goodput between losses is two thirds of the rate."""
    row = seen_at(end, [Policer(3e6, 15_000)])
    true = 3e6 * (MSS - TIMESTAMPS) / (MSS + OVERHEAD)
    assert row["is_policed"]
    assert row["rate_low_bits_per_s"] <= true <= row["rate_high_bits_per_s"]
    assert row["rate_low_bits_per_s"] >= 0.6 * true
    assert row["rate_bits_per_s"] == pytest.approx(true, rel=0.25)


def test_the_rate_of_every_exchange_is_found_however_full_its_bucket_was_at_first() -> None:
    outcome = Transfer(Settings((1_500_000,) * 4, 0.05, [Policer(3e6, 50_000)], ByLosses())).run()
    table = judge(headers_of(outcome.at_server))
    true = 3e6 * (MSS - TIMESTAMPS) / (MSS + OVERHEAD)
    assert table.rate_bits_per_s[table.is_policed != 0].tolist() == pytest.approx([true] * 4, rel=0.01)


@pytest.mark.parametrize("end", ["sender", "receiver"])
@pytest.mark.parametrize("has_timestamps", [True, False])
def test_a_full_queue_is_no_policer_and_its_rate_is_found(end: str, has_timestamps: bool) -> None:
    row = seen_at(end, [Shaper(4e6, 200_000, 200_000)], sender=ByRate(), has_timestamps=has_timestamps)
    assert not row["is_policed"]
    assert row["is_shaped"]
    payload = MSS - TIMESTAMPS * has_timestamps
    assert row["shaped_rate_bits_per_s"] == pytest.approx(4e6 * payload / (MSS + OVERHEAD), rel=0.03)


@pytest.mark.parametrize("end", ["sender", "receiver"])
@pytest.mark.parametrize("sender", [ByLosses, ByRate])
def test_losses_by_chance_are_neither(end: str, sender: Any) -> None:
    row = seen_at(end, [Chance(0.02, Random(1))], sender=sender())
    assert row["losses"] > 30
    assert not row["is_policed"]
    assert not row["is_shaped"]


def test_what_is_found_on_drawn_paths_is_true() -> None:
    """A small share of what `make policing` runs; its own seeds."""
    runs = [
        r
        for name in ("policer", "shaper", "random loss")
        for seed in some_of(range(20_000, 20_006), 2)
        for r in run(name, seed)
    ]
    for end in summary(runs).values():
        assert end["policing"]["found_wrongly"] == end["shaping"]["found_wrongly"] == 0
        assert end["policing"]["recall"] >= 0.6
        assert end["policing"]["rate_within_bounds"] >= 0.9 * end["policing"]["found_rightly"]


def test_a_capture_that_breaks_off_is_judged_by_what_it_holds() -> None:
    outcome = Transfer(Settings((3_000_000,), 0.05, [Policer(3e6, 50_000)], ByLosses())).run()
    half = headers_of(outcome.at_server[: len(outcome.at_server) // 2])
    assert judge(half).is_policed.tolist() == [1]
