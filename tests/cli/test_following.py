"""``--follow``: rows of a file that is still being written, until somebody has seen enough."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli.conftest import TALKS
from tests.cli.running import COMMAND, process
from tests.support.pcap import Frame, pcap_bytes, pcap_header, pcap_record
from tests.support.traffic import capture

FRAMES = capture(TALKS)
HALF = len(FRAMES) // 2


@contextmanager
def followed(*arguments: str | Path) -> Iterator[subprocess.Popen[bytes]]:
    command = [*COMMAND, *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        try:
            yield running
        finally:
            running.kill()


def lines_of(running: subprocess.Popen[bytes], count: int) -> list[bytes]:
    assert running.stdout is not None
    return [running.stdout.readline() for _ in range(count)]


def append(path: Path, frames: list[Frame]) -> None:
    with path.open("ab") as stream:
        stream.write(b"".join(pcap_record(frame, nanoseconds=True) for frame in frames))


@pytest.mark.parametrize("format", ["csv", "jsonl", "table"])
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_rows_come_when_they_are_final_and_the_rest_at_the_end(tmp_path, format, end):
    path = tmp_path / "growing.pcap"
    path.write_bytes(pcap_bytes(FRAMES[:HALF], nanoseconds=True))
    heading = format != "jsonl"
    with followed("segments", path, "--follow", "--format", format) as running:
        first = lines_of(running, HALF + heading)
        append(path, FRAMES[HALF:])
        more = lines_of(running, len(FRAMES) - HALF)
        append(path, [FRAMES[0]])
        path.open("ab").write(pcap_record(FRAMES[0])[:9])
        last = lines_of(running, 1)
        running.send_signal(end)
        rest, err = running.communicate(timeout=30)
    assert running.returncode == 0, err
    assert rest == b""
    assert all(first + more + last)


def test_a_report_of_a_followed_file_comes_at_its_end(pcap):
    with followed("report", pcap, "--follow") as running:
        time.sleep(2)  # that it does not end can only be waited for
        assert running.poll() is None
        running.send_signal(signal.SIGINT)
        page, err = running.communicate(timeout=30)
    assert running.returncode == 0, err
    assert b"10.0.0.9:3306" in page


def test_a_file_to_which_nothing_is_added_for_so_long_is_complete(pcap):
    expected = process("requests", pcap, "--format", "csv")
    done = process("requests", pcap, "--format", "csv", "--follow-idle", "300ms")
    assert (done.status, sorted(done.out.splitlines())) == (0, sorted(expected.out.splitlines()))


def test_a_file_that_was_replaced_is_told(tmp_path):
    path = tmp_path / "growing.pcap"
    path.write_bytes(pcap_bytes(FRAMES[:HALF], nanoseconds=True))
    with followed("segments", path, "--follow", "--format", "csv") as running:
        lines_of(running, HALF + 1)
        other = tmp_path / "other"
        other.write_bytes(pcap_header(nanoseconds=True))
        append(other, FRAMES[HALF:])
        other.rename(path)
        lines_of(running, len(FRAMES) - HALF)
        running.send_signal(signal.SIGINT)
        _, err = running.communicate(timeout=30)
    assert running.returncode == 0
    assert f"note: {path}: replaced or cut while it was followed, once; read on from its new start" in err.decode()
