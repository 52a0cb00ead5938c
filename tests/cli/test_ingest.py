"""A lake tells what its captures told, to the byte; it is added to whole or not at all, and only what is new."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.cli.running import COMMAND, Here, Outcome, assert_one_line, process
from tests.support.pcap import pcap_bytes, tcp_frame
from tests.support.thorough import some_of

EXAMPLES = Path("examples")
LOCK = EXAMPLES / "mariadb-lock.pcap"
REDIS = EXAMPLES / "redis-benchmark.pcap"
ANSWERS = [
    ("report", []),
    ("report", ["--format", "json"]),
    ("report", ["--since", "2026-11-21T22:50:24Z", "--until", "2026-11-21T22:50:29Z"]),
    ("report", ["--server", ":3306"]),
    ("requests", ["--format", "csv"]),
    ("requests", ["--format", "csv", "--account"]),
    ("requests", ["--format", "csv", "--leave-out", "first"]),
    ("requests", ["--format", "csv", "--start-end", "request_first,response_last"]),
    ("connections", ["--format", "csv"]),
    ("network", ["--format", "csv"]),
    ("network", ["--format", "jsonl", "--record", "flow"]),
    ("findings", ["--format", "csv"]),
    ("intervals", ["--format", "csv", "--by", "client"]),
    ("buckets", ["--format", "csv"]),
    ("usl", []),
    ("sql", []),
]


def lines(done: Outcome) -> list[bytes]:
    """Give the rows that a command wrote, in an order of their own."""
    assert done.status == 0
    return sorted(done.out.splitlines())


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    return tmp_path / "lake"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, Path]:
    """Give lakes of some examples."""
    folder = tmp_path_factory.mktemp("lakes")
    lakes = {}
    for path in (LOCK, EXAMPLES / "apache-wrk.pcap", EXAMPLES / "two-points-client.pcap.zst"):
        lakes[path] = folder / path.name
        done = process("ingest", path, "-o", lakes[path])
        assert done.status == 0, done.err
    return lakes


@pytest.mark.parametrize(("command", "options"), ANSWERS)
def test_a_lake_tells_what_the_capture_tells(here: Here, made: dict[Path, Path], command: str, options: list[str]):
    query = ["select * from requests r join connections using (connection_id) order by all"] if command == "sql" else []
    for path, lake in made.items():
        told = [here(command, *query, source, *options) for source in (path, lake)]
        assert told[0].status == told[1].status == 0
        assert len(told[0].out) > 100
        assert told[0].out == told[1].out
        assert told[0].err == told[1].err


@pytest.mark.parametrize("workers", ["1", "5"])
def test_workers_change_nothing_of_it(here: Here, made: dict[Path, Path], lake: Path, workers: str):
    assert here("ingest", LOCK, "-o", lake, "--workers", workers).status == 0
    for command in ("requests", "network", "findings"):
        told = [here(command, source, "--format", "csv").out for source in (made[LOCK], lake)]
        assert told[0] == told[1]


@pytest.mark.parametrize(
    "options",
    [[], ["--server", ":3306"], ["--since", "2026-11-21T22:50:24Z"], ["--leave-out", "first"]],
    ids=["all", "a service", "a part", "some"],
)
def test_counts_that_were_kept_are_those_of_the_requests(here: Here, made: dict[Path, Path], options: list[str]):
    added = "select start_ns, server_port, low_ns, high_ns, middle_ns, sum(requests) as n from sketches group by all"
    of_requests = (
        """select sum(n), count(*) filter (n <> coalesce((select count(*) from requests r
        where r.server_port = s.server_port and r.response_time_ns >= low_ns and r.response_time_ns < high_ns
        and r.arrival_ns >= s.start_ns and r.arrival_ns < s.start_ns + 60_000_000_000), 0)) as wrong,
        (select count(*) from requests) from ("""
        + added
        + ") s"
    )
    told = [here("sql", of_requests, source, *options, "--format", "csv").rows()[0] for source in (LOCK, made[LOCK])]
    assert told[0] == told[1]
    total, wrong, requests = told[0].values()
    assert wrong == "0"
    assert total == requests
    assert int(requests) > 1000


def test_captures_that_were_added_one_by_one_are_told_as_one(here: Here, lake: Path):
    assert here("ingest", REDIS, "-o", lake).status == 0
    done = here("ingest", REDIS, LOCK, "-o", lake)
    assert done.text.startswith("1 file added; 1 file in it already: ")
    for command in ("requests", "connections", "network", "findings", "intervals"):
        whole = here(command, LOCK, REDIS, "--format", "csv")
        told = here(command, lake, "--format", "csv")
        # What ended less than a minute before the next capture becomes final in that, if both are read at once.
        assert lines(told) == lines(whole), command
        assert told.err == whole.err
    page = [here("report", *sources, "--format", "json").out for sources in ((LOCK, REDIS), (lake,))]
    facts = [json.loads(each) for each in page]
    for each in facts:
        each["capture"]["files"].sort(key=lambda file: file["path"])
    assert facts[0]["services"] == facts[1]["services"]
    assert facts[0]["capture"]["files"] == facts[1]["capture"]["files"]


def test_what_is_in_it_is_not_added_again_under_another_name(here: Here, lake: Path, tmp_path: Path):
    assert here("ingest", LOCK, "-o", lake).status == 0
    before = sorted((path, path.stat().st_mtime_ns) for path in lake.rglob("*.parquet"))
    shutil.copy(LOCK, tmp_path / "renamed.pcap")
    done = here("ingest", tmp_path / "renamed.pcap", LOCK, "-o", lake)
    assert done.status == 0
    assert done.text == "nothing new: 2 files in the lake already\n"
    assert sorted((path, path.stat().st_mtime_ns) for path in lake.rglob("*.parquet")) == before


def test_a_file_that_has_grown_is_refused(here: Here, lake: Path, tmp_path: Path):
    path, data = tmp_path / "growing.pcap", REDIS.read_bytes()
    frame = 24
    while frame < 100_000:
        frame += 16 + int.from_bytes(data[frame + 8 : frame + 12], "little")
    path.write_bytes(data[:frame])
    assert here("ingest", path, "-o", lake).status == 0
    path.write_bytes(data)
    done = here("ingest", path, "-o", lake)
    assert done.status == 2
    assert_one_line(done.err, "has grown since it was ingested", "complete")


def test_a_capture_that_breaks_off_is_not_added(here: Here, lake: Path, tmp_path: Path):
    cut = tmp_path / "cut.pcap"
    cut.write_bytes(LOCK.read_bytes()[:300_000])
    done = here("ingest", cut, "-o", lake)
    assert done.status == 2
    assert_one_line(done.err, "cut.pcap", "cut short")
    assert not list(lake.rglob("*.parquet"))
    assert not list(lake.glob(".partial*"))
    # Others in spite of it.
    done = here("ingest", cut, REDIS, tmp_path / "missing.pcap", "-o", lake, "--skip-bad")
    assert done.status == 0
    assert (
        here("requests", lake, "--format", "csv").out
        == here("requests", cut, REDIS, "--skip-bad", "--format", "csv").out
    )


def test_killed_in_the_middle_it_leaves_what_there_was(here: Here, lake: Path):
    assert here("ingest", REDIS, "-o", lake).status == 0
    before = here("report", lake).out
    manifest = (lake / "manifest.json").read_bytes()
    with subprocess.Popen([*COMMAND, "ingest", str(LOCK), "-o", str(lake)], stdout=subprocess.DEVNULL) as adding:
        deadline = time.monotonic() + 30
        while not list(lake.glob(".partial-*")):
            assert time.monotonic() < deadline
            assert adding.poll() is None
        adding.send_signal(signal.SIGKILL)
    assert (lake / "manifest.json").read_bytes() == manifest
    assert list(lake.glob(".partial-*"))
    assert here("report", lake).out == before
    assert here("ingest", LOCK, "-o", lake).status == 0
    assert not list(lake.glob(".partial-*"))
    told = [here("requests", *sources, "--format", "csv") for sources in ((lake,), (LOCK, REDIS))]
    assert lines(told[0]) == lines(told[1])


def test_two_cannot_add_at_the_same_time(here: Here, lake: Path):
    import fcntl

    lake.mkdir()
    descriptor = os.open(lake / ".lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    done = here("ingest", LOCK, "-o", lake)
    os.close(descriptor)
    assert done.status == 2
    assert_one_line(done.err, "somebody else adds to this lake now")


def test_a_full_disk_adds_nothing(here: Here, lake: Path):
    import resource

    assert here("ingest", REDIS, "-o", lake).status == 0
    before = here("report", lake).out
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))  # noqa: E731
    done = process("ingest", LOCK, "-o", lake, preexec_fn=limit)
    assert done.status != 0
    assert_one_line(done.err, "File too large")
    assert not list(lake.glob(".partial-*"))
    assert here("report", lake).out == before


def test_a_folder_of_something_else_is_no_lake(here: Here, tmp_path: Path):
    (tmp_path / "mine.txt").write_text("mine")
    done = here("ingest", LOCK, "-o", tmp_path)
    assert done.status == 2
    assert_one_line(done.err, "is not empty, and no lake")
    assert not (tmp_path / "manifest.json").exists()


def frames_of(path: Path, frames: list[tuple[int, bytes]]) -> Path:
    path.write_bytes(pcap_bytes(frames, nanoseconds=True))
    return path


def exchange(time_ns: int, client: tuple[str, int], server: tuple[str, int]) -> list[tuple[int, bytes]]:
    """Give a request and its response, without handshake or end."""
    sent = tcp_frame(client[0], server[0], client[1], server[1], 1, 1, payload=b"q" * 10)
    got = tcp_frame(server[0], client[0], server[1], client[1], 1, 11, payload=b"a" * 20)
    return [(time_ns, sent), (time_ns + 1_000_000, got)]


def test_a_file_without_frames_may_grow(here: Here, lake: Path, tmp_path: Path):
    growing, nothing = frames_of(tmp_path / "growing.pcap", []), tmp_path / "nothing.pcap"
    nothing.write_bytes(b"")
    done = here("ingest", growing, nothing, REDIS, "-o", lake, "--skip-bad")
    assert done.status == 0, done.err
    frames_of(growing, exchange(10**18, ("10.0.0.1", 999), ("10.0.0.2", 80)))
    done = here("ingest", growing, LOCK, "-o", lake)
    assert done.status == 0, done.err
    assert done.text.startswith("2 files added: ")


def test_files_that_cannot_be_opened_are_not_called_known(here: Here, lake: Path, tmp_path: Path):
    missing = tmp_path / "missing.pcap"
    done = here("ingest", missing, "-o", lake, "--skip-bad")
    assert done.status == 2
    assert_one_line(done.err, "missing.pcap", "No such file")
    done = here("ingest", missing, REDIS, "-o", lake, "--skip-bad")
    assert done.text.startswith("1 file added: ")
    assert "bad_file: 1" in done.err
    assert "missing.pcap: left out" in done.err
    assert "bad_file: 1" in here("requests", lake).err
    done = here("ingest", missing, REDIS, "-o", lake, "--skip-bad")
    assert done.text == "nothing new: 1 file in the lake already\n"
    assert done.status == 0
    assert "missing.pcap: left out" in done.err


def test_a_fifo_is_refused_at_once(here: Here, lake: Path, tmp_path: Path):
    os.mkfifo(tmp_path / "fifo")
    done = here("ingest", tmp_path / "fifo", "-o", lake)
    assert done.status == 2
    assert_one_line(done.err, "a lake is made of files")


def test_files_that_no_manifest_names_are_removed(here: Here, lake: Path, made: dict[Path, Path]):
    """Other tools, which read all Parquet files, would count them."""
    assert here("ingest", REDIS, "-o", lake).status == 0
    part = min(made[LOCK].glob("requests/*/*/*.parquet"))
    stray = lake / part.relative_to(made[LOCK])
    stray.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(part, stray)
    mine = stray.with_name("mine.parquet")
    shutil.copy(part, mine)
    assert here("ingest", REDIS, "-o", lake).status == 0
    assert not stray.exists()
    assert mine.exists()
    assert here("requests", lake).out == here("requests", REDIS).out


def test_many_services_and_days_need_few_open_files(here: Here, lake: Path, tmp_path: Path):
    import resource

    frames = []
    for day in range(18):
        for service in range(36 if day < 7 else 1):
            time_ns = (1_700_000_000 + day * 86_400) * 10**9 + service * 10**7
            frames += exchange(time_ns, ("10.0.0.1", 2000 + day), (f"10.1.0.{service}", 80))
    path = frames_of(tmp_path / "many.pcap", frames)
    limit = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (220, 220))  # noqa: E731
    done = process("ingest", path, "-o", lake, preexec_fn=limit)
    assert done.status == 0, done.err
    # Services and days beyond the largest have a folder in common; of the later days there is one service only.
    assert len(list(lake.glob("requests/*/*"))) == 7 * (32 + 1) + (16 - 7) + 1
    for command in some_of(("requests", "connections", "network"), 3):
        done = process(command, lake, "--format", "csv", preexec_fn=limit)
        assert done.status == 0, done.err
        assert done.out == here(command, path, "--format", "csv").out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["segments"], "keeps no segments"),
        (["streams", "-c", "list"], "keeps no"),
        (["watch"], "keeps no frames"),
        (["requests", "--filter", "tcp"], "no frames to filter"),
        (["requests", str(LOCK)], "read by itself"),
        (["requests", "--timeout-ended", "5s"], "decided by ingest"),
        (["connections", "--max-connections", "500"], "decided by ingest"),
    ],
)
def test_what_only_packets_tell_is_refused(here: Here, made: dict[Path, Path], arguments: list[str], said: str):
    done = here(arguments[0], made[LOCK], *arguments[1:])
    assert done.status == 2
    assert_one_line(done.err, said)


@pytest.mark.parametrize("option", [["--since", "2026-11-21"], ["--leave-out", "first"], ["--follow"]])
def test_options_that_would_leave_holes_are_refused(here: Here, lake: Path, option: list[str]):
    assert here("ingest", LOCK, "-o", lake, *option).status == 2
    assert here("ingest", "-", "-o", lake).status == 2


def test_other_tools_read_its_files(made: dict[Path, Path]):
    import duckdb

    query = (
        f"select service, day, count(*), max(response_time_ns), any_value(client_address) like '10.%' "
        f"from read_parquet('{made[LOCK]}/requests/**/*.parquet', hive_partitioning = true) group by all"
    )
    answer = duckdb.sql(query)
    assert answer is not None
    (row,) = answer.fetchall()
    assert row[0] == "10.1.1.1_3306"
    assert str(row[1]) == "2026-11-21"
    assert row[2:] == (4706, 1_500_280_404, True)
