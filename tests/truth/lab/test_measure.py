"""What measures must not flatter: truth from the log, comparison, proportions, rewriting, the catalogue."""

from __future__ import annotations

import json
import math
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from tests.truth.lab import goals, proportions, rates, record, table
from tests.truth.lab.accounts import ACCOUNTS, waits
from tests.truth.lab.catalogue import ENTRIES, make
from tests.truth.lab.measure import (
    QUANTITIES,
    Difference,
    Edge,
    Tables,
    Verdict,
    captures_of,
    differences,
    edges,
    folders,
    truth_of,
    verdicts,
)
from tests.truth.lab.path import DOWN, RECORD, UP
from tests.truth.lab.rewriting import REWRITES, Frame, merge_segments, read
from tests.truth.lab.scenario import KINDS, VANTAGES
from tests.truth.lab.truth import Covered, conversations, duplicate_acks, outstanding, side_truth, zero_windows

KEPT = Path(__file__).resolve().parent / "captures"
SYN, RST, ACK = 2, 4, 16


def log(*rows: tuple[int, int, int, int, int, int, int]) -> np.ndarray[Any, Any]:
    """Make a log of (direction, in_ns, out_ns, seq, ack, payload, flags); a packet without `out_ns` was lost."""
    made = np.zeros(len(rows), RECORD)
    for r, (direction, in_ns, out_ns, seq, ack, payload, flags) in zip(made, rows, strict=True):
        r["direction"], r["in_ns"], r["out_ns"], r["flags"] = direction, in_ns, out_ns, flags
        r["seq"], r["ack"], r["payload"], r["window"] = seq % 2**32, ack % 2**32, payload, 1000
        r["source"], r["destination"] = (5000, 80) if direction == UP else (80, 5000)
        r["fate"] = 0 if out_ns else 1
        r["headers"][:40] = list(bytes([0x45, *[0] * 31, 5 << 4, *[0] * 7]))
    return made


BASE = 2**32 - 50
EXCHANGE = log(
    (UP, 10, 20, BASE - 1, 0, 0, SYN),
    (DOWN, 20, 30, 0, BASE, 0, SYN | ACK),
    (UP, 100, 0, BASE, 1, 100, ACK),  # lost
    (UP, 110, 120, BASE + 100, 1, 100, ACK),
    (UP, 300, 310, BASE, 1, 100, ACK),  # sent again
    (DOWN, 310, 320, 1, BASE + 200, 0, ACK),
    (UP, 500, 510, BASE + 200, 1, 50, ACK),
    (UP, 700, 710, BASE + 200, 1, 50, ACK),  # sent again though it had arrived
    (DOWN, 710, 720, 1, BASE + 250, 0, ACK),
)


def test_what_was_sent_again_is_known_by_its_bytes():
    packets = conversations(EXCHANGE)[5000]
    truth = side_truth(packets, "client")
    assert (truth["resent"], truth["resent_data"], truth["resent_bytes"], truth["resent_spurious"]) == (2, 2, 150, 1)
    assert truth["bytes"] == 250
    assert truth["fates"] == {"random": 1}
    assert side_truth(packets, "server")["resent"] == 0


def test_time_outstanding_is_what_the_sender_waited():
    truth = outstanding(conversations(EXCHANGE)[5000], "client")
    assert truth["non_idle_ns"] == (320 - 100) + (720 - 500)
    assert truth["in_flight_max_bytes"] == 200
    assert truth["non_idle_goodput_bits_per_s"] == 250 * 8e9 / 440


def test_a_closed_window_lasts_until_it_opens():
    rows = log((UP, 10, 20, 0, 0, 0, ACK), (UP, 50, 60, 0, 0, 0, ACK), (UP, 80, 90, 0, 0, 0, ACK))
    rows["window"] = (0, 0, 5)
    assert zero_windows(conversations(rows)[5000], "client")["zero_window_ns"] == 70
    assert zero_windows(conversations(rows)[5000], "client")["zero_windows"] == 2


def test_a_duplicate_ack_meets_five_conditions():
    rows = log(
        (UP, 10, 20, -1, 0, 0, SYN),
        (DOWN, 20, 30, -1, 0, 0, SYN | ACK),
        (DOWN, 35, 45, 0, 0, 0, ACK),  # nothing is outstanding
        (UP, 100, 110, 0, 0, 100, ACK),
        (DOWN, 120, 130, 0, 0, 0, ACK),  # the first
        (DOWN, 121, 131, 0, 0, 0, ACK),  # its window is another one
        (DOWN, 122, 132, 0, 0, 50, ACK),  # it carries data
        (DOWN, 123, 0, 50, 0, 0, ACK),  # it was lost
        (DOWN, 124, 134, 50, 0, 0, ACK),  # the second
        (DOWN, 125, 135, 50, 0, 0, ACK | 1),  # it is a FIN
        (DOWN, 140, 150, 51, 100, 0, ACK),  # it acknowledges more
        (DOWN, 141, 151, 51, 100, 0, ACK),  # nothing is outstanding any more
    )
    rows["window"][5] = 999
    rows["window"][6:] = 999
    assert duplicate_acks(conversations(rows)[5000], "server") == 2
    assert duplicate_acks(conversations(rows)[5000], "client") == 0


TURNS = (
    (UP, 10, 20, -1, 0, 0, SYN),
    (DOWN, 21, 31, -1, 0, 0, SYN | ACK),
    (UP, 32, 42, 0, 0, 0, ACK),
    (UP, 100, 110, 0, 0, 100, ACK),
    (UP, 101, 111, 100, 0, 100, ACK),
    (DOWN, 500, 510, 0, 200, 300, ACK),
    (UP, 511, 521, 200, 300, 0, ACK),
    (UP, 1000, 1010, 200, 300, 50, ACK),
    (DOWN, 1200, 1210, 300, 250, 70, ACK),
    (UP, 1300, 1310, 250, 370, 0, ACK | 1),
    (DOWN, 1311, 1321, 370, 251, 0, ACK | 1),
)


def test_one_waits_for_the_other_as_long_as_the_path_saw():
    assert waits(conversations(log(*TURNS))[5000]) == {
        "connect_ns": 32 - 10,
        "server_ns": (500 - 111) + (1200 - 1010),
        "think_ns": (100 - 32) + (1000 - 510) + (1321 - 1210),
        "turns": 4,
        "is_answered": True,
    }
    lost = [*TURNS[:6], (UP, 511, 0, 200, 300, 0, ACK), *TURNS[7:]]
    overtaken = [*TURNS[:3], (UP, 100, 112, 0, 0, 100, ACK), *TURNS[4:]]
    again = [*TURNS[:5], (UP, 102, 112, 100, 0, 100, ACK), *TURNS[5:]]
    assert [waits(conversations(log(*rows))[5000]) for rows in (lost, overtaken, again)] == [None, None, None]


def test_covered_counts_each_byte_once():
    covered = Covered()
    assert [covered.add(*s) for s in ((0, 10), (20, 30), (5, 25), (0, 30), (30, 31))] == [10, 10, 10, 0, 1]


@pytest.mark.parametrize(
    ("hits", "of", "low", "high"), [(0, 10, 0.0, 0.2775), (60, 60, 0.9398, 1.0), (57, 60, 0.8630, 0.9829)]
)
def test_bounds_are_those_of_wilson(hits: int, of: int, low: float, high: float):
    bounds = proportions.wilson(hits, of)
    assert bounds.low == pytest.approx(low, abs=1e-4)
    assert bounds.high == pytest.approx(high, abs=1e-4)


def test_no_runs_prove_nothing():
    bounds = proportions.wilson(0, 0)
    assert math.isnan(bounds.value)
    assert (bounds.low, bounds.high) == (0.0, 1.0)


def test_a_run_counts_once_however_many_captures_it_has():
    def told(run: str, is_true: bool, *tellings: bool) -> list[Verdict]:
        return [Verdict("refused", run, v, is_true, t, True) for v, t in zip(VANTAGES, tellings, strict=False)]

    found = [*told("a", True, True, True), *told("b", True, True, False), *told("c", False, False, True)]
    row = table.finding_table(found).splitlines()[-1]
    assert row.startswith("| refused | 2 | 1 | 0.500")
    assert "| 1 | 1 | 0.500" in row


@pytest.mark.parametrize("name", list(ENTRIES))
def test_a_seed_always_makes_the_same_scenario(name: str):
    assert make(name, 7) == make(name, 7)
    assert make(name, 7) != make(name, 8)


def test_every_kind_of_finding_has_a_scenario():
    expected = {e.kind for name in ENTRIES for seed in range(3) for e in make(name, seed).expected}
    assert expected == set(KINDS)


def test_sets_of_seeds_do_not_meet():
    a, b = record.SETS["A"], record.SETS["B"]
    assert a + 100_000 * record.TRIES < b


def frame(seq: int, payload: int, *, port: int = 5000, flags: int = ACK) -> Frame:
    data = bytearray(40)
    data[0], data[32], data[33] = 0x45, 5 << 4, flags
    data[20:24] = port.to_bytes(2, "big") + (80).to_bytes(2, "big")
    data[24:28] = (seq % 2**32).to_bytes(4, "big")
    return Frame(seq, 40 + payload, bytes(data))


def test_merged_segments_hold_the_same_bytes():
    frames = [frame(2**32 - 100, 100), frame(2**32, 200), frame(200, 50), frame(1000, 10), frame(0, 7, port=6000)]
    merged = merge_segments(frames, Random(1), 80)
    assert [(f.seq, f.payload) for f in merged] == [(2**32 - 100, 350), (1000, 10), (0, 7)]


@pytest.mark.parametrize("name", [n for n in REWRITES if n not in ("clock_backwards", "merge_segments", "cut_options")])
def test_rewriting_shows_other_frames_but_makes_none_up(name: str):
    frames = [frame(10 * i, 10) for i in range(100)]
    assert set(REWRITES[name](frames, Random(3), 80)) <= {f._replace(time_ns=t) for f in frames for t in _near(f)}


def _near(f: Frame) -> set[int]:
    return {f.time_ns, f.time_ns + 1000, f.time_ns + 20_000}


# --- runs that are kept: for machines where none can be recorded


@pytest.mark.parametrize("quantity", [q.name for q in (*QUANTITIES, *ACCOUNTS)])
def test_what_tcpsight_counts_in_kept_runs_is_true(quantity: str):
    """All but a few: what a capture shows and what a socket saw can differ by a segment at the end of a run."""
    found = [d for d in _kept_differences() if d.quantity == quantity]
    wrong = [d for d in found if not d.is_good]
    assert found
    assert len(wrong) <= 0.02 * len(found), wrong


@pytest.mark.parametrize("kind", ["policing", "shaping"])
def test_rates_in_kept_runs_are_those_of_the_path(kind: str):
    found = [d for d in _kept_differences() if d.quantity.startswith(f"{kind}: rate")]
    assert found
    assert all(d.is_good for d in found), found


def test_rates_and_buckets_are_held_against_the_payload_of_what_the_path_lets_pass():
    truth = {
        "expected": [{"kind": "policing", "direction": "server"}],
        "parameters": {"rate": 3_000_000, "burst": 30_000},
        "connections": [{"server": {"largest_payload": 1448}}],
        "hosts": {"is_ipv6": False, "has_timestamps": True},
    }
    numbers = {
        "rate_bits_per_s": 2e6,
        "rate_low_bits_per_s": 1.5e6,
        "rate_high_bits_per_s": 2.5e6,
        "bucket_bytes": 28_960,
    }
    finding = {"kind": "policing", "direction": "server", "evidence": json.dumps(numbers)}
    assert [*rates.compare(truth, [finding], "server")] == [  # type: ignore[comparison-overlap]
        ("policing: rate, at the sender", pytest.approx(2_896_000), 2e6),
        ("policing: rate, or its nearer bound, at the sender", pytest.approx(2_896_000), 2.5e6),
        ("policing: bucket, at the sender", pytest.approx(28_960), 28_960),
    ]
    assert list(rates.compare(truth, [finding | {"direction": "client"}], "server")) == []
    assert {name for name, _, _ in rates.compare(truth, [finding], "middle")} <= {told.name for told in rates.RATES}


def test_a_goal_is_met_by_as_many_as_it_names_and_every_kind_of_finding():
    def told(kind: str, hits: int, wrong: int) -> list[Verdict]:
        positive = [Verdict(kind, f"with {i}", "client", True, i < hits, True) for i in range(60)]
        return positive + [Verdict(kind, f"without {i}", "client", False, i < wrong, True) for i in range(60)]

    numbers = [Difference(goals.RETRANSMISSIONS, "", "", "", 1, 1, i >= 3) for i in range(100)]
    lines = goals.goal_table(numbers, [*told("refused", 60, 0), *told("blackhole", 56, 0)]).splitlines()
    assert "| 97.00 % of 100 (3 are not) | in 97.0 % |" in lines[2]
    assert "| not measured | unknown |" in lines[3]
    assert lines[-3].endswith("| at least 60 and 60, of 2 kinds | yes |")
    assert "lowest: 0.933 (blackhole)" in lines[-2]
    assert lines[-2].endswith("| not blackhole |")
    assert lines[-1].endswith("| yes |")
    assert goals.goal_table(numbers[3:], []).splitlines()[2].endswith("| 100.00 % of 97 (0 are not) | yes |")


@pytest.mark.parametrize("kind", KINDS)
def test_findings_in_kept_runs_are_those_that_were_made(kind: str):
    wrong = [v for v in _kept_verdicts() if v.kind == kind and v.is_scored and v.is_true != v.is_told]
    assert wrong == []


def test_what_is_to_be_known_about_the_runs_begins_the_stored_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(table, "STORED", tmp_path / "accuracy.md")
    assert table.main([str(KEPT / "policing"), "--store", "--about", "They had been  judged before. " * 5]) == 0
    first, heading, _ = (tmp_path / "accuracy.md").read_text().split("\n\n", 2)
    assert (
        first.replace("\n", " ") == "1 runs of the [laboratory](laboratory.md)." + " They had been judged before." * 5
    )
    assert max(map(len, first.splitlines())) <= 120
    assert heading == "### Goals"


@cache
def _kept_differences() -> list[Difference]:
    return [d for folder in folders([KEPT]) for d in differences(folder)]


@cache
def _kept_verdicts() -> list[Verdict]:
    return [v for folder in folders([KEPT]) for v in verdicts(folder)]


def test_there_is_a_kept_run_of_every_scenario():
    assert {f.name for f in folders([KEPT])} == set(ENTRIES)
    assert sum(p.stat().st_size for p in KEPT.rglob("*") if p.is_file()) <= 1_500_000


def test_kept_runs_hold_headers_only():
    for folder in folders([KEPT]):
        for path in captures_of(folder):
            assert all(len(f.data) <= 128 for f in read(path)[1]), path


def test_findings_are_judged_by_kind_time_and_direction(tmp_path: Path):
    kept = next(f for f in folders([KEPT]) if f.name == "policing")
    expected = truth_of(kept)["expected"][0]
    for name in ("truth.json.xz", "server.pcap.xz"):
        (tmp_path / name).write_bytes((kept / name).read_bytes())
    finding = {"kind": "policing", "start_ns": expected["start_ns"], "end_ns": expected["end_ns"]}
    far = {"start_ns": expected["end_ns"] + 10**10, "end_ns": expected["end_ns"] + 2 * 10**10}
    other = json.dumps({"direction": "client" if expected["direction"] == "server" else "server"})
    for told, is_right in (
        ([finding], True),
        ([finding | far], False),
        ([finding | {"evidence": other}], False),
        ([], False),
    ):
        found = verdicts(tmp_path, lambda _, told=told: Tables([], [], told))  # type: ignore[misc]
        assert {v.kind: v.is_told for v in found if v.is_true} == {"policing": is_right}
        assert not any(v.is_told for v in found if not v.is_true)


def test_a_finding_is_as_far_off_as_its_beginning_and_its_end(tmp_path: Path):
    kept = next(f for f in folders([KEPT]) if f.name == "policing")
    expected = truth_of(kept)["expected"][0]
    for name in ("truth.json.xz", "server.pcap.xz"):
        (tmp_path / name).write_bytes((kept / name).read_bytes())
    near = {"kind": "policing", "start_ns": expected["start_ns"] + 5, "end_ns": expected["end_ns"] - 7}
    far = near | {"start_ns": expected["start_ns"] - 10**9}
    run = f"{tmp_path.parent.name}/{tmp_path.name}"
    assert edges(tmp_path, lambda _: Tables([], [], [far, near])) == [Edge("policing", run, "server", 5, -7)]
    assert edges(tmp_path, lambda _: Tables([], [], [])) == []
    row = table.edge_table([Edge("policing", run, "server", -3_000_000, 2_000_000)]).splitlines()[-1]
    assert row == "| policing | 1 | 3.0 ms | 3.0 ms | 3.0 ms | 2.0 ms | 2.0 ms | 2.0 ms |"
