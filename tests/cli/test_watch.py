"""``watch``: slices of a file, a pipe and a growing file, as lines and as JSON."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import RESPONSE_TIMES_MS, TALKS
from tests.cli.running import COMMAND, Outcome, assert_one_line, process
from tests.cli.test_following import append, followed
from tests.support.pcap import Frame, pcap_bytes, pcap_header, pcap_record
from tests.support.traffic import MS, START_NS, Talk, answered, capture

TENTH = ("--interval", "10ms", "--lateness", "100ms")


def objects(done: Outcome) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.text.splitlines()]


def test_json_has_an_object_for_each_slice_and_service_with_all_columns_of_intervals(here, pcap):
    rows = objects(here("watch", pcap, "--json", *TENTH))
    expected = objects(here("intervals", pcap, "--interval", "10ms", "--by", "service", "--format", "jsonl"))
    assert list(rows[0]) == list(expected[0])
    assert sum(row["arrivals"] + row["late"] for row in rows) == len(RESPONSE_TIMES_MS)
    assert {row["server_port"] for row in rows if not row["is_other"]} == {3306, 80}
    # The others have a row where there is something of theirs, and before there is any service.
    assert [row["start_ns"] for row in rows if row["is_other"]] == [START_NS]


def test_a_replay_tells_what_intervals_tell_once_all_is_answered(here, pcap):
    told = [row for row in objects(here("watch", pcap, "--json", "--interval", "10ms", "--lateness", "1h"))
            if not row["is_other"]]  # fmt: skip
    whole = objects(here("intervals", pcap, "--interval", "10ms", "--by", "service", "--format", "jsonl"))
    by_key = {(row["start_ns"], row["server_port"]): row for row in whole if not row["is_other"]}
    assert told
    assert all(by_key[row["start_ns"], row["server_port"]] == row for row in told)


def test_a_file_a_pipe_and_a_read_option_are_the_same(here, pcap):
    expected = here("watch", pcap, "--json", *TENTH)
    assert here("watch", "-r", pcap, "--json", *TENTH).out == expected.out
    piped = process("watch", "-", "--json", *TENTH, stdin=pcap.read_bytes())
    assert (piped.status, piped.out) == (0, expected.out)


def test_words_behind_the_source_are_a_filter(here, pcap):
    rows = objects(here("watch", pcap, "--json", *TENTH, "tcp", "port", "80"))
    assert {row["server_port"] for row in rows if not row["is_other"]} == {80}


def test_a_second_file_is_said_to_be_taken_as_a_filter(here, pcap):
    told = here("watch", pcap, pcap).err
    assert "is taken as a filter, not as the file of that name" in told.splitlines()[0]
    assert "is taken as a filter" not in here("watch", pcap, "tcp", "port", "80").err


def test_lines_have_the_columns_that_were_asked_for(here, pcap):
    lines = here("watch", pcap, "--interval", "1s", "--columns", "time,count,min,max,95_max,p99,late").text.splitlines()
    assert lines[0].split() == ["time", "count", "min", "max", "95_max", "p99", "late"]
    times = [ms * 1000 for ms in RESPONSE_TIMES_MS]
    # Of six the fastest 95 percent are five.
    assert lines[1].split()[1:5] == ["6", str(times[0]), "50.0", "ms"] or lines[1].split()[1:3] == ["6", "1000"]
    assert "5000" in lines[1].split()


def test_by_service_lines_name_the_service(here, pcap):
    text = here("watch", pcap, "--by", "service").text
    assert "10.0.0.9:3306" in text
    assert "10.0.0.9:80" in text


def test_it_ends_after_so_many_slices_or_so_much_time(here, pcap):
    assert len({row["start_ns"] for row in objects(here("watch", pcap, "--json", *TENTH, "-n", "3"))}) == 3
    few = here("watch", pcap, *TENTH, "-n", "1")
    assert few.text
    assert "time stamp" not in few.err
    some = objects(here("watch", pcap, "--json", *TENTH, "--duration", "20ms"))
    assert some[-1]["start_ns"] + some[-1]["length_ns"] - some[0]["start_ns"] >= 20 * MS
    assert len({row["start_ns"] for row in some}) < 5


def test_a_hung_server_is_seen_while_it_hangs(here, tmp_path):
    path = tmp_path / "hung.pcap"
    hung = Talk([*answered(1).__iter__()], is_closed=False)
    silent = Talk([], client_port=40_001, start_ns=START_NS)
    frames = sorted(
        [*capture([hung, silent]), *Talk([waits(20)], client_port=40_002, is_closed=False).frames(),
         *Talk(answered(*[1] * 3), client_port=40_003, start_ns=START_NS + 60 * MS).frames()],
        key=lambda frame: frame.time_ns,
    )  # fmt: skip
    path.write_bytes(pcap_bytes(frames, nanoseconds=True))
    rows = objects(here("watch", path, "--json", "--interval", "10ms", "--lateness", "10ms"))
    # The request that nobody answers waits in every slice from the one in which it came.
    came = next(i for i, row in enumerate(rows) if row["unanswered"])
    assert all(row["unanswered_backlog"] == 1 for row in rows[came:-1])
    assert sum(row["unanswered"] for row in rows) == 1


def waits(after_ms: int) -> Any:
    from tests.support.traffic import Exchange

    return Exchange(after_ms * MS, None)


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_a_growing_file_is_told_slice_by_slice_and_the_last_one_at_the_end(tmp_path, end):
    path = tmp_path / "growing.pcap"
    frames = [Frame(f.time_ns + i * 50 * MS, f.data) for i, f in enumerate(capture(TALKS))]
    path.write_bytes(pcap_header(nanoseconds=True))
    with followed("watch", path, "--follow", "--json", "--interval", "100ms") as running:
        assert running.stdout is not None
        append(path, frames[:20])
        first = json.loads(running.stdout.readline())
        append(path, frames[20:])
        time.sleep(1)  # so that the slices come one by one, before the end
        running.send_signal(end)
        # Not by `communicate`, which passes by what reading a line took out of the pipe.
        rest, status = running.stdout.read(), running.wait(timeout=30)
    assert status == 0
    rows = [first, *map(json.loads, rest.splitlines())]
    assert sum(row["completions"] for row in rows) == len(RESPONSE_TIMES_MS)
    assert rows[-1]["is_partial"]


def test_silence_of_a_pipe_that_brings_what_was_just_captured_ends_slices():
    command = [*COMMAND, "watch", "-", "--json", "--interval", "200ms"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        shift = time.time_ns() - START_NS
        running.stdin.write(pcap_header(nanoseconds=True))
        for frame in Talk(answered(1, 2, 3), is_closed=False).frames():
            running.stdin.write(pcap_record(Frame(frame.time_ns + shift, frame.data), nanoseconds=True))
        running.stdin.flush()
        rows = [json.loads(running.stdout.readline()) for _ in range(3)]
        running.stdin.close()
        running.wait(timeout=30)
    assert sum(row["arrivals"] for row in rows) == 3
    assert rows[1]["length_ns"] == 200 * MS


def test_silence_of_a_pipe_that_brings_something_old_ends_nothing(pcap):
    command = [*COMMAND, "watch", "-", "--json", *TENTH]
    data = pcap.read_bytes()
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdin is not None
        running.stdin.write(data[: len(data) // 2])
        running.stdin.flush()
        time.sleep(1.5)  # silence is what is tried
        out, _ = running.communicate(data[len(data) // 2 :], timeout=30)
    assert out == process("watch", pcap, "--json", *TENTH).out


def test_findings_are_told_beside_the_lines_unless_they_are_not_wanted(here, examples_dir):
    path = examples_dir / "mariadb-lock.pcap"
    told = here("watch", path)
    assert "tcpsight: warning: 10.1.1.1:3306: stall: 9 requests waited for up to 1.50 s" in told.err
    quiet = here("watch", path, "--no-findings")
    assert "stall" not in quiet.err
    assert quiet.out == told.out


def test_what_was_found_is_saved_with_its_packets(here, examples_dir, tmp_path):
    done = here("watch", examples_dir / "mariadb-lock.pcap", "--record", tmp_path / "found")
    (saved,) = (tmp_path / "found").iterdir()
    assert saved.name.endswith("-stall.pcapng.zst")
    assert str(saved) in done.err
    assert "9 requests waited for up to 1.50 s" in here("findings", saved, "--format", "csv").text


def test_a_signal_saves_what_is_kept(tmp_path):
    path = tmp_path / "growing.pcap"
    frames = capture(TALKS)
    path.write_bytes(pcap_bytes(frames, nanoseconds=True))
    with followed("watch", path, "--follow", "--json", *TENTH, "--record", tmp_path / "kept") as running:
        assert running.stdout is not None
        running.stdout.readline()
        running.send_signal(signal.SIGUSR1)
        append(path, [Frame(START_NS + 10**9, frames[0].data)])
        deadline = time.monotonic() + 20
        while not list((tmp_path / "kept").glob("*-asked.pcapng.zst")) and time.monotonic() < deadline:
            time.sleep(0.05)
        running.send_signal(signal.SIGINT)
        running.communicate(timeout=30)
    (saved,) = (tmp_path / "kept").iterdir()
    assert process("requests", saved, "--format", "csv").text.count("\n") == 1 + len(RESPONSE_TIMES_MS)


def text_of(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        text: str = answer.read().decode()
    return text


def test_metrics_are_answered_and_feeds_written(tmp_path, pcap):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    lines = tmp_path / "lines.jsonl"
    arguments = ("--follow", "--json", *TENTH, "--listen", f"127.0.0.1:{port}", "--feed", lines)
    with followed("watch", pcap, *arguments) as running:
        assert running.stdout is not None
        running.stdout.readline()
        told, deadline = 'tcpsight_requests_total{service="10.0.0.9:3306"} 5', time.monotonic() + 20
        while told not in text_of(f"http://127.0.0.1:{port}/metrics"):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        running.send_signal(signal.SIGINT)
        rest, err = running.communicate(timeout=30)
    assert running.returncode == 0, err
    # All that standard output was told, but for the first line, which was read before.
    assert lines.read_bytes().endswith(rest)


def test_a_closed_pipe_ends_it_quietly(pcap):
    done = subprocess.run(
        f"{COMMAND[0]} -m tcpsight watch {pcap} --json --interval 1ms | head -1",
        shell=True, capture_output=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0
    assert done.stderr == b""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "-i"),
        (("-i", "lo", "-r", "x.pcap"), "choose one"),
        (("nowhere.pcap",), "No such file"),
        (("PCAP", "tcp", "prot", "80"), "--filter"),
        (("PCAP", "--columns", "nonsense"), "no column 'nonsense'"),
        (("PCAP", "--columns", "101_max"), "no column '101_max'"),
        (("PCAP", "--json", "--columns", "time"), "--columns"),
        (("PCAP", "--start-end", "request_last,response_last"), "response_first"),
        (("PCAP", "--feed", "gopher://x"), "gopher"),
        (("PCAP", "--listen", "nonsense"), "127.0.0.1:9470"),
        (("PCAP", "--interval", "0s"), "interval"),
        (("-i", "no-such-if"), "no-such-if"),
    ],
)
def test_what_makes_no_sense_is_one_line(here, pcap, arguments, words):
    done = here("watch", *(pcap if each == "PCAP" else each for each in arguments))
    assert (done.status, done.text) == (2, "")
    assert_one_line(done.err, words)


def test_a_folder_that_cannot_be_made_is_one_line(here, pcap, tmp_path):
    (tmp_path / "file").write_text("")
    done = here("watch", pcap, "--record", Path(tmp_path / "file" / "below"))
    assert done.status == 2
    assert_one_line(done.err, "--record")
