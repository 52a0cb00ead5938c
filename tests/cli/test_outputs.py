"""Where the answer goes: standard output, files that appear whole or not at all, devices, pipes that close early.

Longer than other files: one rule about outputs after another.
"""

from __future__ import annotations

import array
import contextlib
import fcntl
import io
import json
import os
import select
import shlex
import signal
import subprocess
import sys
import termios
import threading
import time
from itertools import product
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tcpsight.cli.running import INTERRUPTED
from tests.cli.running import COMMAND, FORMATS, TABLES, assert_one_line, environment, process
from tests.support.pcap import Frame, pcap_bytes, pcap_header
from tests.support.thorough import some_of
from tests.support.traffic import MS, START_NS, Talk, answered, capture

LEFT_BEHIND = ".tcpsight-*"


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Enough rows that no format fits into the buffer of a pipe."""
    talks = [
        Talk(answered(*[1] * 40, after_ms=1), client_port=1024 + i, start_ns=START_NS + i * MS) for i in range(250)
    ]
    path = tmp_path_factory.mktemp("large") / "large.pcap"
    path.write_bytes(pcap_bytes(capture(talks), nanoseconds=True))
    return path


def test_every_format_holds_the_same_rows(here, pcap):
    text = here("requests", pcap, "--format", "table").text
    csv = here("requests", pcap, "--format", "csv")
    lines = here("requests", pcap, "--format", "jsonl").text.splitlines()
    parquet = pq.read_table(io.BytesIO(here("requests", pcap, "--format", "parquet").out))
    arrow = pa.ipc.open_stream(here("requests", pcap, "--format", "arrow").out).read_all()
    assert len(text.splitlines()) == 7
    times = [int(value) for value in csv.column("response_time_ns")]
    assert sorted(times) == [n * MS for n in (1, 2, 3, 4, 5, 50)]
    assert [json.loads(line)["response_time_ns"] for line in lines] == times
    assert parquet["response_time_ns"].to_pylist() == times
    assert arrow["response_time_ns"].to_pylist() == times
    assert parquet.to_pylist() == arrow.to_pylist() == [json.loads(line) for line in lines]


@pytest.mark.parametrize("command", ["report", *TABLES])
def test_nothing_but_the_answer_is_on_standard_output(here, pcap, tmp_path, command):
    format = "json" if command == "report" else "csv"
    plain = here(command, pcap, "--format", format)
    noisy = here(command, pcap, "--format", format, "--progress")
    target = tmp_path / "answer"
    to_file = here(command, pcap, "--format", format, "-o", target)
    assert plain.out == noisy.out == target.read_bytes()
    assert to_file.out == b""
    assert b"note" not in plain.out


def test_notes_are_on_standard_error(here, pcap):
    done = here("intervals", pcap, "--format", "csv")
    assert done.err.startswith("tcpsight: note: interval ")


@pytest.mark.parametrize("command", ["report", "intervals"])
def test_requests_that_no_slice_has_are_told(here, tmp_path, command):
    frames = Talk(answered(5, 5, 5)).frames()
    # The first request, by the clock, came before its connection.
    frames[3] = Frame(START_NS - 10 * MS, frames[3].data)
    path = tmp_path / "backwards.pcap"
    path.write_bytes(pcap_bytes(frames))
    words = "note: requests that arrived in no slice: 1"
    assert words in here(command, path).err
    assert words not in here(command, path, "--since", str(START_NS // 10**9)).err


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet", "arrow"])
def test_the_suffix_of_the_file_chooses_the_format(here, pcap, tmp_path, suffix):
    target = tmp_path / f"out.{suffix}"
    assert here("requests", pcap, "-o", target).status == 0
    assert target.read_bytes() == here("requests", pcap, "--format", suffix).out


@pytest.mark.parametrize(("command", "format"), some_of([*product(TABLES, FORMATS)], 3))
def test_a_reader_who_has_seen_enough_ends_it_quietly(large, command, format):
    if command == "intervals":
        options = ["--interval", "10us"]
    else:
        options = []
    run = subprocess.Popen(
        [*COMMAND, command, str(large), "--format", format, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert run.stdout is not None
    assert run.stderr is not None
    assert run.stdout.read(10)
    run.stdout.close()
    err = run.stderr.read().decode()
    assert run.wait(60) == 0
    assert all(line.startswith("tcpsight: note:") for line in err.splitlines()), err


def test_a_report_to_a_closed_pipe_ends_quietly(large):
    reading, writing = os.pipe()
    os.close(reading)
    run = subprocess.run(
        [*COMMAND, "report", str(large)], stdout=writing, stderr=subprocess.PIPE, check=False, timeout=60
    )
    os.close(writing)
    assert (run.returncode, run.stderr) == (0, b"")


def test_head_takes_the_first_line(large):
    line = " ".join([*COMMAND, "requests", str(large), "--format", "csv"])
    done = subprocess.run(
        ["bash", "-c", f"{line} | head -1; echo ${{PIPESTATUS[0]}}"], capture_output=True, check=False, timeout=60
    )
    assert done.stderr == b""
    head, status = done.stdout.decode().splitlines()
    assert head.startswith("connection_id,")
    assert status == "0"


@pytest.mark.parametrize("command", ["report", *TABLES])
def test_a_full_disk_is_one_line(pcap, command):
    done = process(command, pcap, "-o", "/dev/full")
    assert done.status == 2
    assert_one_line(done.err, "/dev/full", "No space left on device")


@pytest.mark.parametrize("command", ["report", *TABLES])
def test_a_full_disk_behind_standard_output_is_one_line(pcap, command):
    with Path("/dev/full").open("wb") as full:
        run = subprocess.run(
            [*COMMAND, command, str(pcap)], stdout=full, stderr=subprocess.PIPE, check=False, timeout=60
        )
    assert run.returncode == 2
    assert_one_line(run.stderr.decode(), "standard output", "No space left on device")


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["compat", "mk-tcp-model", "--config", "/dev/null", "PCAP"],
        ["compat", "tcprstat", "-l", "10.0.0.9", "-r", "PCAP"],
        ["compat", "yconalyzer", "-p", "3306", "-r", "PCAP"],
        ["compat", "usl", "-o", "none", "-c", "tcpdump", "PCAP"],
    ],
    ids=lambda words: words[1] if words[1:] else words[0],
)
def test_a_full_disk_behind_what_is_printed_is_one_line(pcap, words):
    with Path("/dev/full").open("wb") as full:
        command = [*COMMAND, *(str(pcap) if word == "PCAP" else word for word in words)]
        run = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, check=False, timeout=60)
    assert run.returncode == 2
    assert_one_line(run.stderr.decode().splitlines(keepends=True)[-1], "standard output", "No space left on device")
    assert "Traceback" not in run.stderr.decode()


@pytest.mark.parametrize("command", ["report", *TABLES])
def test_devices_and_pipes_are_written_straight(here, pcap, tmp_path, command):
    assert here(command, pcap, "-o", "/dev/null").status == 0
    assert Path("/dev/null").is_char_device()
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(fifo.read_bytes()))
    reader.start()
    assert here(command, pcap, "-o", fifo).status == 0
    reader.join(30)
    assert fifo.is_fifo()
    target = tmp_path / "file"
    assert here(command, pcap, "-o", target).status == 0
    assert read == [target.read_bytes()]


@pytest.mark.parametrize("command", ["report", *TABLES])
def test_a_run_that_fails_leaves_the_old_file_and_nothing_else(here, tmp_path, command):
    target, empty = tmp_path / "answer.csv", tmp_path / "empty.pcap"
    target.write_text("old\n")
    empty.write_bytes(pcap_header())
    assert here(command, empty, "-o", target).status == 2
    assert here(command, tmp_path / "missing.pcap", "-o", target).status == 2
    assert target.read_text() == "old\n"
    assert not list(tmp_path.glob(LEFT_BEHIND))


def test_a_wrong_column_leaves_the_old_file(here, pcap, tmp_path):
    target = tmp_path / "answer.csv"
    target.write_text("old\n")
    assert here("requests", pcap, "-o", target, "--sort", "nonsense").status == 2
    assert here("requests", pcap, "-o", target, "--columns", "nonsense").status == 2
    assert target.read_text() == "old\n"
    assert not list(tmp_path.glob(LEFT_BEHIND))


def test_a_folder_that_is_not_there_is_one_line(here, pcap, tmp_path):
    done = here("requests", pcap, "-o", tmp_path / "missing" / "out.csv")
    assert done.status == 2
    assert_one_line(done.err, "No such file or directory")


@pytest.mark.parametrize("command", ["report", *TABLES])
@pytest.mark.parametrize("meant", ["itself", "symbolic link", "hard link", "one of several"])
def test_a_capture_is_never_written_over(here, pcap, tmp_path, command, meant):
    content, output, sources = pcap.read_bytes(), tmp_path / "link.csv", [pcap]
    if meant == "symbolic link":
        output.symlink_to(pcap)
    elif meant == "hard link":
        output.hardlink_to(pcap)
    else:
        output = pcap
    if meant == "one of several":
        sources = [tmp_path / "missing.pcap", pcap]
    done = here(command, *sources, "-o", output)
    assert (done.status, done.out) == (2, b"")
    assert_one_line(done.err, str(output), str(pcap), "is the input")
    assert pcap.read_bytes() == content
    assert not list(tmp_path.glob(LEFT_BEHIND))


@pytest.mark.parametrize("command", ["report", *TABLES])
def test_a_capture_that_is_redirected_is_never_written_over(pcap, command):
    content = pcap.read_bytes()
    with pcap.open("rb") as reading, pcap.open("ab") as writing:
        into = subprocess.run(
            [*COMMAND, command, "-", "-o", str(pcap)], stdin=reading, capture_output=True, check=False
        )
        onto = subprocess.run([*COMMAND, command, str(pcap)], stdout=writing, stderr=subprocess.PIPE, check=False)
    for run in (into, onto):
        assert run.returncode == 2
        assert_one_line(run.stderr.decode(), "is the input")
    assert pcap.read_bytes() == content


def test_a_device_may_be_input_and_output(here):
    done = here("requests", "/dev/null", "-o", "/dev/null")
    assert_one_line(done.err, "empty")


def wait_until_read(pipe):
    """Wait until the command has taken what is in its input: then it has opened its output and waits for more."""
    unread = array.array("i", [1])
    while unread[0]:
        time.sleep(0.01)
        fcntl.ioctl(pipe, termios.FIONREAD, unread)


def insist(run, number):
    """Send a signal until the command ends: Python can miss one that comes just before it blocks in a read."""
    while True:
        run.send_signal(number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            return run.wait(1)


@pytest.mark.parametrize("command", ["report", "requests", "intervals"])
def test_an_interrupted_run_says_so_and_leaves_nothing_behind(tmp_path, command):
    target = tmp_path / "answer.parquet"
    target.write_text("old\n")
    options = [] if command == "report" else ["--format", "parquet"]
    run = subprocess.Popen(
        [*COMMAND, command, "-", "-o", str(target), *options], stdin=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert run.stdin is not None
    assert run.stderr is not None
    run.stdin.write(pcap_bytes(capture([Talk(answered(1, 2, 3))])))
    run.stdin.flush()
    wait_until_read(run.stdin)
    run.send_signal(signal.SIGINT)
    while not select.select([run.stderr], [], [], 20)[0]:
        run.send_signal(signal.SIGINT)
    assert run.stderr.readline().decode() == f"{INTERRUPTED}\n"
    assert run.poll() is None
    assert insist(run, signal.SIGINT) == 130
    assert run.stderr.read().decode().splitlines()[-1] == "tcpsight: interrupted"
    run.stdin.close()
    assert target.read_text() == "old\n"
    assert not list(tmp_path.glob(LEFT_BEHIND))


CAPTURING = """
import signal, sys
held = open(sys.argv[1], "rb").read()
early = int(sys.argv[2])
def end(*_):
    sys.stdout.buffer.write(held[early:])
    sys.stdout.flush()
    sys.exit(0)
signal.signal(signal.SIGINT, end)
sys.stdout.buffer.write(held[:early])
sys.stdout.flush()
print("written", file=sys.stderr, flush=True)
signal.pause()
"""


@pytest.mark.parametrize("command", ["report", *TABLES])
@pytest.mark.parametrize("early", [4, 700])
def test_an_interrupt_of_the_whole_pipeline_ends_the_capture_and_gives_its_answer(here, pcap, command, early):
    """Whether or not the one that captures has written a frame before: it holds back what fits into its buffer."""
    format = "json" if command == "report" else "csv"
    reading, writing = os.pipe()
    arguments = [sys.executable, "-c", CAPTURING, str(pcap), str(early)]
    writer = subprocess.Popen(arguments, stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    assert writer.stderr is not None
    run = subprocess.Popen(
        [*COMMAND, command, "-", "--format", format], stdin=reading, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert writer.stderr.readline() == b"written\n"
    wait_until_read(reading)
    for each in (run, writer):
        each.send_signal(signal.SIGINT)
    out, err = run.communicate(timeout=30)
    os.close(reading)
    assert (writer.wait(30), run.returncode) == (0, 0)
    assert err.decode().splitlines()[0] == INTERRUPTED
    assert err.decode().count("interrupted") == 1
    expected = here(command, pcap, "--format", format).out
    assert out == (expected.replace(os.fsencode(pcap), b"-") if command == "report" else expected)


def test_a_terminated_run_leaves_nothing_behind(tmp_path):
    target = tmp_path / "answer.csv"
    run = subprocess.Popen([*COMMAND, "requests", "-", "-o", str(target)], stdin=subprocess.PIPE)
    assert run.stdin is not None
    run.stdin.write(pcap_bytes(capture([Talk(answered(1, 2, 3))])))
    run.stdin.flush()
    wait_until_read(run.stdin)
    assert insist(run, signal.SIGTERM) == 143
    run.stdin.close()
    assert list(tmp_path.iterdir()) == []


def test_rows_reach_a_pipe_while_the_capture_still_grows():
    run = subprocess.Popen(
        [*COMMAND, "segments", "-", "--format", "csv"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert run.stdin is not None
    assert run.stdout is not None
    talk = Talk(answered(1, 2, 3))
    run.stdin.write(pcap_bytes(talk.frames()))
    run.stdin.flush()
    # These come out though the input has not ended.
    assert run.stdout.readline().startswith(b"frame_number,")
    assert run.stdout.readline().startswith(b"1,")
    run.stdin.close()
    rest = run.stdout.read()
    assert run.wait(60) == 0
    assert rest.count(b"\n") == len(talk.frames()) - 1


def test_text_is_ascii_where_the_terminal_is(pcap):
    done = process("report", pcap, env=environment(PYTHONIOENCODING="ascii", PYTHONUTF8="0", LC_ALL="C"))
    assert done.status == 0
    assert done.out.isascii()
    assert b"ms" in done.out


@pytest.mark.parametrize("command", ["requests", "findings", "compare", "split", "sql"])
def test_micro_is_written_u_where_the_terminal_has_no_other(examples_dir, command):
    path = examples_dir / "mariadb-lock.pcap"
    arguments = {"compare": [path, path], "split": [path, path], "sql": ["from requests", path]}.get(command, [path])
    ascii_only = environment(PYTHONIOENCODING="ascii", PYTHONUTF8="0", LC_ALL="C")
    done = process(command, *arguments, env=ascii_only)
    assert done.status == 0
    assert done.out.isascii()
    assert done.err.isascii()
    assert b" us" in done.out
    assert "by up to 12.8 us" in done.err


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("command", ["requests --format csv", "report"])
def test_a_closed_standard_stream_disturbs_nobody(tmp_path, pcap, closed, command):
    target = tmp_path / "answer"
    words = " ".join([*map(shlex.quote, COMMAND), *command.split()[:1], shlex.quote(str(pcap)), *command.split()[1:]])
    subprocess.run(f"{words} -o {shlex.quote(str(target))} {closed}", shell=True, check=True)
    assert target.stat().st_size > 0
    done = subprocess.run(f"{words} {closed}", shell=True, check=False, capture_output=True)
    assert done.returncode == 0
    assert b"Traceback" not in done.stderr


def test_a_report_into_a_json_file_is_json_unless_text_is_asked_for(here, pcap, tmp_path):
    path = tmp_path / "report.json"
    assert here("report", pcap, "-o", path).status == 0
    assert path.read_bytes() == here("report", pcap, "--format", "json").out
    assert here("report", pcap, "-o", path, "--format", "text").status == 0
    assert path.read_bytes().startswith(b"Capture") or b"Service" in path.read_bytes()


@pytest.mark.parametrize("format", ["parquet", "arrow"])
def test_formats_for_programs_are_not_written_to_a_terminal(here, pcap, monkeypatch, format):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    done = here("requests", pcap, "--format", format)
    assert (done.status, done.out) == (2, b"")
    assert_one_line(done.err, "name a file with -o")


@pytest.mark.parametrize("command", ["report", "requests"])
def test_an_empty_source_is_one_line(here, command):
    done = here(command, "")
    assert done.status == 2
    assert_one_line(done.err, "a SOURCE is empty")
