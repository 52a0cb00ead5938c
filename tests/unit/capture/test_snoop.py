"""snoop: link types, times, padding, drops, damage."""

from __future__ import annotations

import struct

import pytest

from tcpsight.tables import REASONS
from tests.support.capture import read_capture


def header(data_link: int = 4, version: int = 2) -> bytes:
    return b"snoop\0\0\0" + struct.pack(">II", version, data_link)


def record(
    data: bytes, seconds: int = 7, microseconds: int = 5, *, wire: int = 0, drops: int = 0, pad: int = 0
) -> bytes:
    lengths = (wire or len(data), len(data), 24 + len(data) + pad)
    return struct.pack(">IIIIII", *lengths, drops, seconds, microseconds) + data + bytes(pad)


def test_frames_have_their_times_and_lengths():
    outcome = read_capture(header() + record(b"abc", pad=1) + record(b"defg", 2**32 - 1, 999_999, wire=1500))
    assert outcome.error is None
    assert outcome.capture is not None
    assert outcome.capture.files[0].format == "snoop"
    assert [(r.frame_number, r.time_ns, r.wire_bytes, r.link_type, r.data) for r in outcome.rows] == [
        (1, 7_000_005_000, 3, 1, b"abc"),
        (2, (2**32 - 1) * 10**9 + 999_999_000, 1500, 1, b"defg"),
    ]


@pytest.mark.parametrize(
    ("data_link", "pad", "link_type"),
    [(0, 0, 1), (4, 3, 1), (2, 0, 6), (8, 0, 10), (14, 0, 0), (26, 2, 242), (5, 0, 65535), (10, 16, 1), (10, 0, 65535)],
)
def test_link_types_are_those_of_rfc_1761_and_with_a_trailer_those_of_shomiti(data_link, pad, link_type):
    assert read_capture(header(data_link) + record(b"abcd", pad=pad)).rows[0].link_type == link_type


def test_drops_count_from_the_start_of_the_capture():
    outcome = read_capture(header() + record(b"a", drops=2) + record(b"b", drops=5) + record(b"c", drops=5))
    assert outcome.capture is not None
    assert outcome.capture.unseen.counts[REASONS.index("kernel_drop"), 0] == 5
    assert outcome.capture.interfaces[0].kernel_drops == 5


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (record(b"abc")[:-1], "ends inside a record after frame 1 (26 of 27 bytes)"),
        (record(b"abc")[:5], "ends inside a record after frame 1 (5 of 24 bytes)"),
        (struct.pack(">IIIIII", 9, 9, 30, 0, 0, 0) + bytes(40), "absurd length after frame 1"),
        (struct.pack(">IIIIII", 9, 9, 2**31, 0, 0, 0) + bytes(40), "absurd length after frame 1"),
    ],
)
def test_damage_comes_after_the_frames_before_it(damage, words):
    sound = header() + record(b"abcd")
    outcome = read_capture(sound + damage)
    assert [r.data for r in outcome.rows] == [b"abcd"]
    assert outcome.error is not None
    assert words in outcome.error.reason
    assert outcome.error.offset == len(sound)


def test_a_file_header_that_is_cut_or_of_another_version_is_said():
    assert "inside the snoop file header (12 of 16 bytes)" in str(read_capture(header()[:12]).error)
    assert "snoop version 9 is not known" in str(read_capture(header(version=9)).error)
    assert read_capture(header()).error is None
