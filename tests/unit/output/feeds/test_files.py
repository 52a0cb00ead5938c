"""Lines to files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tcpsight.errors import TcpsightError
from tcpsight.output.feeds import feed as feeds_feed
from tcpsight.output.feeds import open_feed
from tcpsight.output.feeds.files import FileLines
from tcpsight.output.feeds.lines import UpdateLines
from tcpsight.output.feeds.targets import parse_target
from tests.support.updates import updates, wait_until


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch):
    monkeypatch.setattr(feeds_feed, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(feeds_feed, "LONGEST_PAUSE_S", 0.01)


def lines(*which: int) -> bytes:
    return b"".join(UpdateLines().encode(updates()[i]) for i in which)


def test_a_file_is_added_to(tmp_path: Path):
    path = tmp_path / "out.jsonl"
    path.write_bytes(b"before\n")
    for i in (0, 1):
        feed = open_feed(str(path))
        feed.send(updates()[i])
        feed.close(10)
    assert path.read_bytes() == b"before\n" + lines(0, 1)


def test_a_file_that_was_rotated_away_is_made_anew(tmp_path: Path):
    path, old = tmp_path / "out.jsonl", tmp_path / "out.jsonl.1"
    feed = open_feed(f"jsonl:{path}")
    feed.send(updates()[0])
    wait_until(lambda: feed.counts.sent == 1)
    path.rename(old)
    feed.send(updates()[1])
    feed.close(10)
    assert (old.read_bytes(), path.read_bytes()) == (lines(0), lines(1))


def test_a_file_that_cannot_be_opened_is_told_at_once(tmp_path: Path):
    for path in (tmp_path, tmp_path / "no" / "such"):
        with pytest.raises(TcpsightError, match=str(path)):
            open_feed(str(path))


def test_a_full_disk_costs_updates_that_are_counted():
    feed = open_feed("/dev/full")
    feed.send(updates()[0])
    wait_until(lambda: feed.counts.failures >= 2)
    feed.close(1)
    assert feed.counts[:2] == (0, 1)
    assert "No space left" in feed.last_failure


def test_a_line_that_was_half_written_is_completed_before_the_next(tmp_path: Path, monkeypatch):
    path = tmp_path / "out.jsonl"
    receiver = FileLines(parse_target(str(path)))
    room = [100]

    def write(file: int, data: bytes) -> int:
        if not room[0]:
            raise OSError(28, "No space left on device")
        done = real(file, data[: room[0]])
        room[0] -= done
        return done

    real = os.write
    monkeypatch.setattr(os, "write", write)
    for i in (0, 0):
        with pytest.raises(OSError, match="No space"):
            receiver.deliver(updates()[i])
    room[0] = 50
    with pytest.raises(OSError, match="No space"):
        receiver.deliver(updates()[0])
    assert path.read_bytes() == lines(0)[:150]
    # The update was given up meanwhile, and another comes.
    room[0] = 10_000
    receiver.deliver(updates()[2])
    receiver.deliver(updates()[3])
    assert path.read_bytes() == lines(0, 2, 3)
    # The same one again completes it, and no more.
    room[0] = 10
    with pytest.raises(OSError, match="No space"):
        receiver.deliver(updates()[4])
    room[0] = 10_000
    receiver.deliver(updates()[4])
    receiver.close()
    assert path.read_bytes() == lines(0, 2, 3, 4)


def test_a_fifo_is_fed_when_somebody_reads_it(tmp_path: Path):
    path = tmp_path / "fifo"
    os.mkfifo(path)
    feed = open_feed(str(path))
    feed.send(updates()[0])
    wait_until(lambda: feed.counts.failures >= 2)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    wait_until(lambda: feed.counts.sent == 1)
    assert os.read(reader, 1 << 20) == lines(0)
    os.close(reader)
    feed.send(updates()[1])
    wait_until(lambda: feed.counts.failures >= 3)
    feed.close(1)
    assert feed.counts[:2] == (1, 1)
