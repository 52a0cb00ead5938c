"""Attacks on whoever analyses, from the bytes of a capture to what is printed.

Times are not asserted; ``make attacks`` measures memory and time at full size.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest

from tcpsight.connections import ConnectionTracking
from tests.cli.running import COMMAND, TABLES, Here, Outcome, assert_one_line
from tests.fuzz.floods import (
    ESCAPES,
    OBEYED,
    bomb,
    garbage,
    many_interfaces,
    overlapping,
    syn_flood,
    with_comments,
)
from tests.support.pcap import Frame, pcap_bytes, tcp_frame
from tests.support.traffic import CLIENT, MS, PORT, SERVER, START_NS, Talk, answered

MEGABYTE = 1 << 20


@pytest.fixture
def here(capsysbinary) -> Here:
    return Here(capsysbinary)


class Measured(NamedTuple):
    """What a process did, and its memory at its peak."""

    outcome: Outcome
    peak_bytes: int


# A process is charged with what its parent held when it was made: so a small one makes it, not the tests.
LAUNCHER = """
import os, sys
child = os.fork()
if child == 0:
    os.execv(sys.argv[2], sys.argv[2:])
_, status, usage = os.wait4(child, 0)
with open(sys.argv[1], "w") as told:
    told.write(str(usage.ru_maxrss * 1024))
sys.exit(os.waitstatus_to_exitcode(status))
"""


def measured(tmp_path: Path, *arguments: str | Path) -> Measured:
    out, err, peak = tmp_path / "out", tmp_path / "err", tmp_path / "peak"
    command = [sys.executable, "-S", "-c", LAUNCHER, str(peak), *COMMAND, *map(str, arguments)]
    with out.open("wb") as first, err.open("wb") as second:
        status = subprocess.run(command, stdout=first, stderr=second, check=False).returncode
    return Measured(Outcome(status, out.read_bytes(), err.read_text()), int(peak.read_text()))


def test_every_syn_of_a_flood_is_a_connection(tmp_path):
    path = tmp_path / "flood.pcap"
    path.write_bytes(b"".join(syn_flood(30_000)))
    done = measured(tmp_path, "connections", path, "--format", "csv")
    assert done.outcome.status == 0
    assert set(done.outcome.column("state")) == {"unanswered"}
    assert len(set(done.outcome.column("connection_id"))) == 30_000
    assert done.peak_bytes <= 10 * path.stat().st_size + 200 * MEGABYTE


def test_a_flood_expires_by_capture_time_and_leaves_room(tmp_path):
    # 50 a second, given up after 130 s: 6500 are open at a time.
    path = tmp_path / "slow.pcap"
    path.write_bytes(b"".join(syn_flood(20_000, per_second=50)))
    done = measured(tmp_path, "connections", path, "--format", "csv")
    assert done.outcome.status == 0
    assert len(done.outcome.rows()) == 20_000


def test_the_seed_of_the_hash_is_another_in_every_run(monkeypatch, here, tmp_path):
    seeds = []

    class Seen(ConnectionTracking):
        def __init__(self, *arguments, hash_seed: int, **others) -> None:
            seeds.append(hash_seed)
            super().__init__(*arguments, hash_seed=hash_seed, **others)

    monkeypatch.setattr("tcpsight.rooms.ConnectionTracking", Seen)
    path = tmp_path / "flood.pcap"
    path.write_bytes(b"".join(syn_flood(500)))
    assert len({here("connections", path, "--format", "csv").out for _ in range(3)}) == 1
    assert len(set(seeds)) == 3


def test_garbage_outside_the_windows_changes_no_request(here, tmp_path):
    frames = Talk(answered(5, 1, 3, 20, 2)).frames()
    clean, attacked = tmp_path / "clean.pcap", tmp_path / "attacked.pcap"
    clean.write_bytes(pcap_bytes(frames, nanoseconds=True))
    attacked.write_bytes(pcap_bytes(garbage(frames, Random(3), 300), nanoseconds=True))
    for command, columns in (
        ("requests", "arrival_ns,completion_ns,response_time_ns,request_bytes,response_bytes"),
        ("connections", "state,requests,unanswered,client_bytes,server_bytes,client_gap_bytes,server_gap_bytes"),
    ):
        expected, done = (here(command, path, "--format", "csv", "--columns", columns) for path in (clean, attacked))
        assert done.status == 0
        assert done.out == expected.out


def test_bytes_sent_again_with_other_content_are_counted_once(here, tmp_path):
    path = tmp_path / "overlapping.pcap"
    path.write_bytes(pcap_bytes(overlapping(Random(4))))
    (row,) = here("connections", path, "--format", "csv").rows()
    assert (row["client_bytes"], row["client_retransmitted_bytes"], row["client_gap_bytes"]) == ("1000", "2010", "0")
    (request,) = here("requests", path, "--format", "csv").rows()
    assert (request["request_bytes"], request["response_bytes"]) == ("1000", "100")


@pytest.mark.parametrize("form", ["gzip", "zstd", "xz", "bzip2"])
def test_a_bomb_is_given_up_in_little_memory(tmp_path, form):
    path = tmp_path / f"bomb.{form}"
    path.write_bytes(bomb(form, 100))
    done = measured(tmp_path, "connections", path, "--format", "csv")
    assert done.outcome.status == 2
    assert_one_line(done.outcome.err, str(path), "times its size")
    assert done.peak_bytes <= 10 * path.stat().st_size + 200 * MEGABYTE


@pytest.mark.parametrize("command", ["report", *TABLES])
def test_times_at_both_ends_of_the_range_give_no_negative_duration(tmp_path, command):
    frames = Talk(answered(5, 1)).frames()
    ends = [Frame(time_ns, frame.data) for time_ns, frame in zip([0, (2**32 - 1) * 10**9] * 8, frames, strict=False)]
    path = tmp_path / "ends.pcap"
    path.write_bytes(pcap_bytes(ends))
    done = measured(tmp_path, command, path, *([] if command == "report" else ["--format", "csv"]))
    assert done.outcome.status == 0
    assert len(done.outcome.out) < MEGABYTE
    assert done.peak_bytes <= 10 * path.stat().st_size + 200 * MEGABYTE
    if command != "report":
        for row in done.outcome.rows():
            assert not [name for name, value in row.items() if value.startswith("-") and name.endswith("_ns")]


@pytest.mark.parametrize("jump", [2**31 - 1, 2**31, 2**31 + 1, -(2**31), 2**30])
def test_one_number_half_the_space_away_moves_no_stream(here, tmp_path, jump):
    frames = Talk(answered(5, 1, 3)).frames()
    stray = tcp_frame(CLIENT, SERVER, 40_000, PORT, 1021 + jump, 9101, "PA", bytes(20))
    middle = [*frames[:5], Frame(frames[4].time_ns + MS, stray), *frames[5:]]
    path = tmp_path / "jump.pcap"
    path.write_bytes(pcap_bytes(middle))
    (row,) = here("connections", path, "--format", "csv").rows()
    assert (row["client_bytes"], row["server_bytes"], row["requests"]) == ("60", "300", "3")
    assert row["client_gap_bytes"] == "0"


def test_ten_thousand_interfaces_are_read_and_few_are_named(tmp_path):
    path = tmp_path / "interfaces.pcapng"
    path.write_bytes(many_interfaces(10_000))
    for arguments in (("connections", path, "--format", "csv"), ("report", path)):
        done = measured(tmp_path, *arguments)
        assert done.outcome.status == 0
        assert len(done.outcome.err) < 5_000
        assert done.peak_bytes <= 10 * path.stat().st_size + 200 * MEGABYTE


WAYS = [
    ("report", "text"),
    ("report", "json"),
    *((table, form) for table in TABLES for form in ("table", "csv", "jsonl")),
]


@pytest.mark.parametrize(("command", "form"), WAYS)
def test_what_a_terminal_would_obey_never_reaches_it(here, tmp_path, command, form):
    for name, content in (("comments", with_comments()), ("names", many_interfaces(7))):
        path = tmp_path / f"{name}.pcapng"
        path.write_bytes(content)
        done = here(command, path, "--format", form)
        assert done.status == 0
        assert not OBEYED & set(done.text + done.err)


def test_the_names_that_are_attacks_are_what_they_are_meant_to_be():
    assert set(ESCAPES) >= OBEYED
    assert ESCAPES.encode() in with_comments()
    assert many_interfaces(3).count(ESCAPES.encode()) == 6
    assert START_NS > 0
