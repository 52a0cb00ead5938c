"""Streams of whole captures: what each side sent, from any kind of source, and what is missing of it."""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tcpsight
from tcpsight.connections.streams import Stream
from tcpsight.conversations.dumping import Folder, Writers
from tcpsight.errors import CaptureError, TcpsightError
from tests.support.pcap import Frame, ethernet, ip_packet, pcap_bytes, pcapng_bytes, tcp_frame, tcp_segment

START_NS = 1_700_000_000 * 10**9
MS = 10**6
A, B = "10.0.0.1", "10.0.0.9"
WRAP = 2**32

Step = tuple[str, str, int, int, bytes]
"""Who sends (``>`` the client), flags, sequence and acknowledgment number, payload."""


def frames(steps: Iterable[Step], port: int = 40_000, start_ns: int = START_NS) -> list[Frame]:
    made = []
    for i, (sender, flags, seq, ack, payload) in enumerate(steps):
        ends, ports = ((A, B), (port, 80)) if sender == ">" else ((B, A), (80, port))
        made.append(Frame(start_ns + i * MS, tcp_frame(*ends, *ports, seq, ack, flags, payload, ip_id=i + 1)))
    return made


def opened(isn: int = 1000, server_isn: int = 5000) -> list[Step]:
    return [
        (">", "S", isn, 0, b""),
        ("<", "SA", server_isn, isn + 1, b""),
        (">", "A", isn + 1, server_isn + 1, b""),
    ]


def closed(client: int, server: int) -> list[Step]:
    return [
        (">", "FA", client, server, b""),
        ("<", "FA", server, client + 1, b""),
        (">", "A", client + 1, server + 1, b""),
    ]


HELLO = [
    *opened(),
    (">", "PA", 1001, 5001, b"hello "),
    (">", "PA", 1007, 5001, b"there"),
    ("<", "PA", 5001, 1012, b"general "),
    ("<", "PA", 5009, 1012, b"kenobi"),
    (">", "PA", 1012, 5015, b"!"),
    *closed(1013, 5015),
]


@pytest.fixture
def streams_of(tmp_path):
    def open_streams(made: list[Frame] | bytes, overlaps: Any = "first"):
        path = tmp_path / "capture"
        path.write_bytes(made if isinstance(made, bytes) else pcap_bytes(made))
        return tcpsight.open(path).streams(overlaps)

    return open_streams


def only(streams):
    (conversation,) = streams
    return conversation


def test_each_side_has_its_bytes_in_order(streams_of):
    told = only(streams_of(frames(HELLO)))
    assert (told.client.read(), told.server.read()) == (b"hello there!", b"general kenobi")
    assert told.is_complete
    assert told.connection_id == 1


def test_a_dialogue_is_both_sides_as_they_could_be_read(streams_of):
    blocks = list(only(streams_of(frames(HELLO))).dialogue())
    assert [(b.direction, b.offset, b.data) for b in blocks] == [
        ("client", 0, b"hello there"),
        ("server", 0, b"general kenobi"),
        ("client", 11, b"!"),
    ]
    assert [b.time_ns for b in blocks] == [START_NS + 3 * MS, START_NS + 5 * MS, START_NS + 7 * MS]


def test_bytes_that_came_late_are_told_when_they_could_be_read(streams_of):
    steps = [
        *opened(),
        (">", "PA", 1006, 5001, b"second"),
        ("<", "A", 5001, 1001, b"early"),
        (">", "PA", 1001, 5001, b"first"),
        *closed(1012, 5006),
    ]
    blocks = list(only(streams_of(frames(steps))).dialogue())
    assert [(b.direction, b.data) for b in blocks] == [("server", b"early"), ("client", b"firstsecond")]
    assert blocks[1].time_ns == START_NS + 5 * MS


def test_blocks_are_no_larger_than_asked_and_lose_nothing(streams_of):
    payload = bytes(range(250))
    steps = [*opened(), *((">", "A", 1001 + 250 * i, 5001, payload) for i in range(40))]
    told = only(streams_of(frames(steps)))
    blocks = list(told.client.blocks(most=1000))
    assert b"".join(b.data for b in blocks) == payload * 40
    assert max(len(b.data) for b in blocks) <= 1250
    assert all(one.offset + len(one.data) == other.offset for one, other in pairwise(blocks))


def test_a_part_of_a_stream_is_read_by_offset(streams_of):
    told = only(streams_of(frames(HELLO)))
    assert told.client.read(4, 4) == b"o th"
    assert told.client.read(11) == b"!"
    assert told.client.read(99) == b""


def test_a_hole_is_never_filled_and_its_bytes_are_counted(streams_of):
    steps = [*opened(), (">", "PA", 1001, 5001, b"head"), (">", "PA", 1105, 5001, b"tail"), *closed(1109, 5001)]
    told = only(streams_of(frames(steps)))
    assert told.client.holes() == [(4, 104)]
    assert (len(told.client), told.client.missing_bytes, told.client.cut_bytes) == (108, 100, 0)
    assert [(b.data, b.missing_bytes) for b in told.dialogue()] == [(b"head", 0), (b"", 100), (b"tail", 0)]
    assert told.client.read() == b"head"
    assert not told.is_complete


def test_bytes_that_were_acknowledged_but_never_captured_are_a_hole_at_the_end(streams_of):
    steps = [*opened(), (">", "PA", 1001, 5001, b"head"), ("<", "A", 5001, 1055, b"")]
    assert only(streams_of(frames(steps))).client.holes() == [(4, 54)]


def test_bytes_that_a_snapshot_length_cut_off_are_told_apart(streams_of):
    made = frames(
        [*opened(), (">", "PA", 1001, 5001, b"x" * 100), (">", "PA", 1101, 5001, b"y" * 100), *closed(1301, 5001)]
    )
    cut = [f._replace(data=f.data[:64], wire_bytes=len(f.data)) for f in made]
    told = only(streams_of(cut))
    assert (told.client.captured_bytes, told.client.cut_bytes, told.client.missing_bytes) == (20, 180, 280)
    assert told.client.holes() == [(10, 100), (110, 300)]


@pytest.mark.parametrize(("overlaps", "content"), [("first", b"abcdefgh"), ("last", b"abCDEFGH")])
def test_the_policy_says_which_copy_counts_and_differences_are_told(streams_of, overlaps, content):
    steps = [*opened(), (">", "PA", 1001, 5001, b"abcdef"), (">", "PA", 1003, 5001, b"CDEFgh"), *closed(1009, 5001)]
    steps[4] = (">", "PA", 1003, 5001, b"CDEFgh" if overlaps == "first" else b"CDEFGH")
    told = only(streams_of(frames(steps), overlaps))
    assert told.client.read() == content
    (conflict,) = told.client.conflicts()
    assert (conflict.offset, {conflict.kept, conflict.other}) == (2, {b"cdef", b"CDEF"})
    assert conflict.frame_number == (5 if overlaps == "first" else 4)


def test_a_retransmission_of_the_same_bytes_is_no_conflict(streams_of):
    steps = [*opened(), *[(">", "PA", 1001, 5001, b"same")] * 3, *closed(1005, 5001)]
    told = only(streams_of(frames(steps)))
    assert (told.client.read(), told.client.repeated_bytes, list(told.client.conflicts())) == (b"same", 8, [])


def test_numbers_that_wrap_go_on(streams_of):
    isn = WRAP - 3
    steps = [
        *opened(isn),
        (">", "PA", isn + 1, 5001, b"ab"),
        (">", "PA", isn + 3, 5001, b"cd"),
        (">", "PA", isn + 5, 5001, b"ef"),
        *closed(isn + 7, 5001),
    ]
    told = only(streams_of(frames(steps)))
    assert told.client.read() == b"abcdef"
    assert told.is_complete


def test_a_port_that_is_used_again_is_another_conversation(streams_of):
    one = frames([*opened(), (">", "PA", 1001, 5001, b"one"), *closed(1004, 5001)])
    two = frames(
        [*opened(70_000, 90_000), (">", "PA", 70_001, 90_001, b"two"), *closed(70_004, 90_001)],
        start_ns=START_NS + 1000 * MS,
    )
    streams = streams_of(one + two)
    assert [told.client.read() for told in streams] == [b"one", b"two"]
    assert streams[len(one) + 1].client.read() == b"two"
    with pytest.raises(KeyError):
        streams[2]


def test_bytes_on_syn_and_fin_belong_to_the_stream(streams_of):
    steps = [
        (">", "S", 1000, 0, b"fast"),
        ("<", "SA", 5000, 1005, b""),
        (">", "A", 1005, 5001, b""),
        (">", "FA", 1005, 5001, b" bye"),
        ("<", "FA", 5001, 1010, b""),
    ]
    told = only(streams_of(frames(steps)))
    assert told.client.read() == b"fast bye"
    assert told.is_complete


def test_what_a_rst_carries_and_keep_alives_are_no_part_of_the_stream(streams_of):
    steps = [
        *opened(),
        (">", "PA", 1001, 5001, b"real"),
        ("<", "A", 5001, 1005, b""),
        (">", "A", 1004, 5001, b"\0"),
        ("<", "RA", 5001, 1005, b"go away"),
    ]
    told = only(streams_of(frames(steps), "last"))
    assert (told.client.read(), len(told.server)) == (b"real", 0)


def test_urgent_bytes_stay_in_their_place_and_are_marked(streams_of):
    steps = [*opened(), (">", "PAU", 1001, 5001, b"!"), ("<", "A", 5001, 1002, b"ok"), (">", "A", 1002, 5003, b"calm")]
    blocks = list(only(streams_of(frames(steps))).dialogue())
    assert [(b.data, b.is_urgent) for b in blocks] == [(b"!", True), (b"ok", False), (b"calm", False)]


def test_a_capture_that_begins_in_the_middle_has_what_came_late_before_it(streams_of):
    steps = [(">", "A", 1101, 5001, b"seen"), ("<", "A", 5001, 1105, b"yes"), (">", "A", 1095, 5004, b"before")]
    told = only(streams_of(frames(steps)))
    assert (told.client.start, told.client.read()) == (-6, b"beforeseen")
    assert not told.is_complete


def test_padding_behind_a_packet_is_not_in_the_stream(streams_of):
    segment = tcp_segment(A, B, 40_000, 80, 1001, 5001, "PA", b"ab")
    made = frames(opened())
    made.append(Frame(START_NS + 9 * MS, ethernet(ip_packet(A, B, segment)) + b"\0" * 6))
    assert only(streams_of(made)).client.read() == b"ab"


def test_two_captures_of_a_frame_are_one(streams_of):
    made = frames(HELLO)
    doubled = [Frame(f.time_ns + extra, f.data) for f in made for extra in (0, 1000)]
    told = only(streams_of(doubled))
    assert (told.client.read(), told.client.repeated_bytes) == (b"hello there!", 0)


@pytest.mark.parametrize("pack", [pcap_bytes, pcapng_bytes, lambda made: gzip.compress(pcap_bytes(made))])
def test_bytes_come_back_from_every_kind_of_file(streams_of, pack):
    told = only(streams_of(pack(frames(HELLO))))
    assert (told.client.read(), told.server.read()) == (b"hello there!", b"general kenobi")


def test_bytes_come_back_from_pipes_and_files_that_overlap(tmp_path):
    made = frames(HELLO)
    paths = [tmp_path / "one", tmp_path / "two"]
    for i, path in enumerate(paths):
        path.write_bytes(pcap_bytes(made[i::2]))
    with paths[0].open("rb") as one, paths[1].open("rb") as two, paths[1].open("rb") as again:
        for sources in (paths, [one, two], [paths[0], again]):
            with tcpsight.open(*sources).streams() as streams:
                told = only(streams)
                assert (told.client.read(), told.server.read()) == (b"hello there!", b"general kenobi")


def test_an_index_beyond_memory_goes_to_disk(streams_of, monkeypatch):
    monkeypatch.setattr("tcpsight.streams.MEMORY_BYTES", 100)
    streams = streams_of(frames(HELLO) + frames(HELLO, 40_001))
    assert [told.server.read() for told in streams] == [b"general kenobi"] * 2
    assert [told.client.find(b"there").__next__() for told in streams] == [6, 6]


def test_only_what_was_selected_is_there(tmp_path):
    path = tmp_path / "capture"
    path.write_bytes(pcap_bytes(frames(HELLO) + frames(HELLO, 40_001)))
    streams = tcpsight.open(path, frame_filter="port 40001").streams()
    assert [told.connection_id for told in streams] == [12]
    assert only(streams).client.read() == b"hello there!"
    assert len(tcpsight.open(path, servers=[":81"]).streams()) == 0


def test_a_capture_that_breaks_off_gives_what_was_there(streams_of):
    streams = streams_of(pcap_bytes(frames(HELLO))[:-3])
    assert only(streams).client.read() == b"hello there!"
    assert streams.broken is not None


def test_a_file_that_became_shorter_is_an_error_and_no_bytes(streams_of, tmp_path):
    told = only(streams_of(frames(HELLO)))
    path: Path = tmp_path / "capture"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(CaptureError, match="shorter than when it was first read"):
        told.client.read()


LARGE = [bytes([n % 256, n // 256]) * 600 for n in range(2000)]


def download(parts: list[bytes], port: int = 40_000) -> list[Frame]:
    """A response in many segments, in order."""
    ends = [5001]
    for part in parts:
        ends.append(ends[-1] + len(part))
    sent = [("<", "A", at, 1001, part) for at, part in zip(ends, parts, strict=False)]
    return frames([*opened(), *sent, *closed(1001, ends[-1])], port)


def test_bytes_of_large_files_are_taken_from_where_they_are_mapped(streams_of, tmp_path):
    streams = streams_of(download(LARGE) + download(LARGE[::-1], 40_001))
    assert streams.holding(LARGE[-1] + LARGE[0]).tolist() == [False, False]
    assert streams.holding(LARGE[700][-30:] + LARGE[701][:30]).tolist() == [True, False]
    folder = Folder(str(tmp_path / "out"))
    folder.add_all(streams, np.arange(2))
    folder.close()
    held = sorted((tmp_path / "out").iterdir(), key=lambda each: each.name.split("-")[1])
    assert [each.read_bytes() for each in held] == [b"".join(LARGE), b"".join(LARGE[::-1])]
    assert (folder.dumped.files, folder.dumped.bytes) == (2, 2 * 1200 * 2000)


def test_of_long_patterns_only_streams_that_have_both_ends_are_put_in_order(streams_of, monkeypatch):
    begin, end = b"GET / HTTP/1.1 " * 5, b"Cookie: 0123456789 " * 4
    streams = streams_of(download([begin, b"x", end]) + download([begin, end], 40_001) + download([begin], 40_002))
    asked, find = [], Stream.find

    def noting(self, pattern):
        asked.append(self)
        return find(self, pattern)

    monkeypatch.setattr(Stream, "find", noting)
    told: list[float] = []
    assert streams.holding(begin + end, told.append).tolist() == [False, True, False]
    assert len(asked) == 4  # both sides of the first two connections
    assert told == sorted(told)
    assert told[-1] == 1
    assert streams.holding(begin + b"nowhere at all " * 5).tolist() == [False] * 3
    assert len(asked) == 4


@pytest.mark.parametrize("is_packed", [False, True])
def test_many_short_runs_between_holes_are_read_as_they_are(streams_of, tmp_path, is_packed):
    said = [[bytes([65 + who, 97 + turn % 26, turn]) * (3 + turn % 4) for turn in range(200)] for who in range(3)]
    each = [download(parts, 40_000 + who) for who, parts in enumerate(said)]
    kept = len(tcp_frame(A, B, 1, 2, 0, 0, "A", b"")) + 5
    cut = [Frame(f.time_ns, f.data[:kept], len(f.data)) for made in zip(*each, strict=True) for f in made]
    content = pcap_bytes(cut)
    streams = streams_of(gzip.compress(content) if is_packed else content)
    for conversation, parts in zip(streams, said, strict=True):
        blocks = list(conversation.server.blocks())
        assert [block.data for block in blocks if not block.missing_bytes] == [part[:5] for part in parts]
        assert sum(block.missing_bytes for block in blocks) == sum(len(part) - 5 for part in parts)
        assert [block.offset for block in blocks] == sorted(block.offset for block in blocks)
    if not is_packed:
        os.truncate(tmp_path / "capture", len(content) // 2)
        with pytest.raises(CaptureError, match="shorter than when it was first read"):
            list(streams[1].server.blocks())


@pytest.mark.parametrize("size", [0, 1000, 1_234_567])
def test_streams_of_a_file_that_became_shorter_are_an_error(streams_of, tmp_path, size):
    streams = streams_of(download(LARGE))
    os.truncate(tmp_path / "capture", size)
    folder = Folder(str(tmp_path / "out"))
    with pytest.raises(CaptureError, match="shorter than when it was first read"):
        folder.add_all(streams, np.arange(1))
    with pytest.raises(CaptureError, match="shorter than when it was first read"):
        streams.holding(b"nowhere")


@pytest.mark.parametrize("size", [0, 1000, 1_234_567])
def test_a_file_that_becomes_shorter_while_streams_are_written_is_an_error(streams_of, tmp_path, size, monkeypatch):
    def cut(self, shares, parcel):
        os.truncate(tmp_path / "capture", size)
        write(self, shares, parcel)

    write = Writers.write
    monkeypatch.setattr(Writers, "write", cut)
    streams = streams_of(download(LARGE))
    with pytest.raises(TcpsightError, match="shorter than when it was first read"):
        Folder(str(tmp_path / "out")).add_all(streams, np.arange(1))


def test_a_capture_without_tcp_has_no_streams(streams_of):
    assert list(streams_of([])) == []
