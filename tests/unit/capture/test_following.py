"""Files that are still being written: waited for, rotated, cut, ended by the user or by silence."""

from __future__ import annotations

import gzip
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

import pytest

from tcpsight.capture import Following, open_capture
from tests.support.pcap import Frame, Interface, pcap_bytes, pcap_header, pcap_record, pcapng_bytes

IDLE_NS = 400_000_000


class Seen(NamedTuple):
    frame_number: int
    time_ns: int
    interface_id: int


class Reading(threading.Thread):
    """Follows a file in the background, and keeps what it gave."""

    def __init__(self, *paths: Path | BinaryIO, idle_ns: int | None = None) -> None:
        super().__init__(daemon=True)
        self.following = Following(idle_ns)
        self.rows: list[Seen] = []
        self.error: Exception | None = None
        self.restarts = 0
        self.interfaces = 0
        self._paths = paths

    def run(self) -> None:
        try:
            with open_capture(list(self._paths), following=self.following) as capture:
                for batch in capture:
                    for row in batch.rows:
                        self.rows.append(Seen(*(int(row[name]) for name in Seen._fields)))
                self.restarts = sum(f.restarts for f in capture.files)
                self.interfaces = len(capture.interfaces)
        except Exception as error:
            self.error = error

    def wait_for(self, count: int) -> None:
        """Wait until so many frames were given."""
        deadline = time.monotonic() + 30
        while len(self.rows) < count:
            assert self.is_alive(), self.error
            assert time.monotonic() < deadline, self.rows
            time.sleep(0.01)

    def end(self) -> None:
        """Say that it is enough, and wait for the end."""
        self.following.stop()
        self.join(30)
        assert not self.is_alive()
        assert self.error is None


@contextmanager
def following(*paths: Path) -> Iterator[Reading]:
    reading = Reading(*paths)
    reading.start()
    yield reading
    reading.end()


def record(number: int) -> bytes:
    return pcap_record(Frame(number * 1000, b"frame %d" % number))


def append(path: Path, content: bytes) -> None:
    with path.open("ab") as stream:
        stream.write(content)


def numbers(reading: Reading) -> list[int]:
    return [row.frame_number for row in reading.rows]


def test_what_is_added_is_given_as_it_comes(tmp_path):
    path = tmp_path / "growing"
    path.write_bytes(b"")
    with following(path) as reading:
        for piece in (pcap_header()[:10], pcap_header()[10:], record(1)[:20]):
            append(path, piece)
            time.sleep(0.05)  # so that it sees each piece by itself
        append(path, record(1)[20:] + record(2))
        reading.wait_for(2)
        append(path, record(3))
        reading.wait_for(3)
    assert [row.time_ns for row in reading.rows] == [1000, 2000, 3000]


def test_a_record_that_was_not_finished_when_the_user_had_seen_enough_is_no_damage(tmp_path):
    path = tmp_path / "growing"
    path.write_bytes(pcap_header() + record(1) + record(2)[:-3])
    with following(path) as reading:
        reading.wait_for(1)
    assert numbers(reading) == [1]


def test_damage_is_damage_all_the_same(tmp_path):
    path = tmp_path / "growing"
    path.write_bytes(pcap_header() + record(1) + b"\xff" * 100)
    reading = Reading(path)
    reading.start()
    reading.join(30)
    assert numbers(reading) == [1]
    assert "absurd length" in str(reading.error)


def test_silence_for_as_long_as_was_said_is_the_end(tmp_path):
    path = tmp_path / "growing"
    path.write_bytes(pcap_header() + record(1))
    reading = Reading(path, idle_ns=IDLE_NS)
    began = time.monotonic()
    reading.start()
    reading.wait_for(1)
    append(path, record(2))
    reading.join(30)
    assert numbers(reading) == [1, 2]
    assert time.monotonic() - began >= IDLE_NS / 1e9


def test_a_compressed_file_is_followed_through_its_members(tmp_path):
    path = tmp_path / "growing.gz"
    path.write_bytes(gzip.compress(pcap_header() + record(1)))
    with following(path) as reading:
        reading.wait_for(1)
        append(path, gzip.compress(record(2)))
        reading.wait_for(2)
        append(path, gzip.compress(record(3))[:-4])
    assert numbers(reading)[:2] == [1, 2]


def replace(path: Path, content: bytes) -> None:
    other = path.with_name("other")
    other.write_bytes(content)
    other.rename(path)


def cut(path: Path, content: bytes) -> None:
    with path.open("r+b") as stream:
        stream.truncate(0)
        # What is cut and longer again before anybody looks is not seen as cut.
        time.sleep(0.5)
        stream.write(content)


@pytest.mark.parametrize("renew", [replace, cut])
@pytest.mark.parametrize("torn", [b"", record(9)[:5]])
def test_a_file_that_is_replaced_or_cut_goes_on_from_its_new_start(
    tmp_path, renew: Callable[[Path, bytes], None], torn
):
    path = tmp_path / "growing"
    path.write_bytes(pcap_header() + record(1) + record(2) + torn)
    with following(path) as reading:
        reading.wait_for(2)
        renew(path, pcapng_bytes([Frame(3000, b"c", interface=1)], interfaces=[Interface(), Interface(ticks=9)] * 4))
        reading.wait_for(3)
        renew(path, pcap_header() + record(4))
        reading.wait_for(4)
    assert numbers(reading) == [1, 2, 3, 4]
    assert [row.time_ns for row in reading.rows] == [1000, 2000, 3000, 4000]
    assert [row.interface_id for row in reading.rows] == [0, 0, 2, 9]
    assert (reading.restarts, reading.interfaces) == (2, 10)


def test_what_was_added_to_the_old_file_before_it_was_replaced_is_not_lost(tmp_path):
    path = tmp_path / "growing"
    path.write_bytes(pcap_header() + record(1))
    with following(path) as reading:
        reading.wait_for(1)
        with path.open("ab") as old:
            path.rename(tmp_path / "growing.1")
            # The name means nothing for a while, and the writer still has the old file.
            time.sleep(0.3)
            old.write(record(2))
        path.write_bytes(pcap_header() + record(3))
        reading.wait_for(3)
    assert [row.time_ns for row in reading.rows] == [1000, 2000, 3000]


def test_of_several_files_the_last_is_followed(tmp_path):
    first, last = tmp_path / "b", tmp_path / "a"
    first.write_bytes(pcap_bytes([(1000, b"frame 1"), (2000, b"frame 2")]))
    last.write_bytes(pcap_header() + record(3))
    with following(first, last) as reading:
        reading.wait_for(3)
        append(last, record(4))
        reading.wait_for(4)
    assert [row.time_ns for row in reading.rows] == [1000, 2000, 3000, 4000]


def test_a_file_that_somebody_else_opened_cannot_be_opened_again_when_it_is_cut(tmp_path):
    path = tmp_path / "redirected"
    path.write_bytes(pcap_header() + record(1))
    with path.open("rb") as stream:
        reading = Reading(stream, idle_ns=IDLE_NS)
        reading.start()
        reading.wait_for(1)
        os.truncate(path, 0)
        reading.join(30)
        assert not reading.is_alive()
    assert (numbers(reading), reading.restarts, reading.error) == ([1], 0, None)


def test_a_pipe_ends_when_its_writer_does(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reading = Reading(path)
    reading.start()
    path.write_bytes(pcap_header() + record(1))
    reading.join(30)
    assert not reading.is_alive()
    assert numbers(reading) == [1]


def test_a_file_to_which_nothing_is_ever_written_is_told(tmp_path):
    path = tmp_path / "empty"
    path.write_bytes(b"")
    reading = Reading(path, idle_ns=1)
    reading.start()
    reading.join(30)
    assert "is empty" in str(reading.error)
