"""Bytes of a stream: which frame gave them, and what copies of them say."""

from __future__ import annotations

from pathlib import Path

import pytest

import tcpsight
from tcpsight.connections import streams
from tests.support.pcap import Frame, pcap_bytes
from tests.unit.test_streams import MS, START_NS, closed, frames, opened


def client_of(made: list[Frame], folder: Path) -> streams.Stream:
    path = folder / "capture"
    path.write_bytes(pcap_bytes(made))
    (conversation,) = tcpsight.open(path).streams()
    return conversation.client


def test_which_frame_gives_a_byte_is_told_and_of_a_hole_none(tmp_path):
    steps = [*opened(), (">", "PA", 1001, 5001, b"ab"), (">", "PA", 1006, 5001, b"fgh"), *closed(1009, 5001)]
    client = client_of(frames(steps), tmp_path)
    assert [client.captured_at(offset) for offset in (0, 1, 5, 7)] == [
        (4, START_NS + 3 * MS), (4, START_NS + 3 * MS), (5, START_NS + 4 * MS), (5, START_NS + 4 * MS),
    ]  # fmt: skip
    for offset in (-1, 2, 4, 8):
        with pytest.raises(IndexError, match=f"offset {offset} was not captured"):
            client.captured_at(offset)


def test_copies_of_more_than_is_held_at_once_are_compared_one_by_one(tmp_path, monkeypatch):
    steps = [*opened(), (">", "PA", 1001, 5001, b"abcdef"), (">", "PA", 1003, 5001, b"cdEF"), *closed(1007, 5001)]
    client = client_of(frames(steps), tmp_path)
    at_once = list(client.conflicts())
    monkeypatch.setattr(streams, "BLOCK_BYTES", 3)
    assert list(client.conflicts()) == at_once
    assert [(each.offset, each.kept, each.other) for each in at_once] == [(4, b"ef", b"EF")]
