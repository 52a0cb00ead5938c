"""ERF: recognised without a magic number, record types, extension headers, losses, damage."""

from __future__ import annotations

import struct
from random import Random

import pytest

from tcpsight.capture.erf import looks_like_erf
from tcpsight.tables import REASONS
from tests.support.capture import Trickle, read_capture

SECOND = 1_600_000_000


def record(
    data: bytes,
    kind: int = 2,
    *,
    seconds: int = SECOND,
    fraction: int = 0,
    flags: int = 4,
    lost: int = 0,
    wire: int = 0,
) -> bytes:
    before = {2: b"\0\0", 11: b"\0\0", 5: bytes(4), 4: bytes(4), 9: bytes(8)}.get(kind & 0x7F, b"")
    body = before + data
    lengths = struct.pack(">HHH", 16 + len(body), lost, wire or len(data))
    return struct.pack("<IIBB", fraction, seconds, kind, flags) + lengths + body


def test_frames_have_their_times_and_lengths():
    half = record(b"abc", fraction=2**31) + record(b"defgh", seconds=SECOND + 1, fraction=1, wire=1500) + record(b"x")
    outcome = read_capture(half)
    assert outcome.error is None
    assert outcome.capture is not None
    assert outcome.capture.files[0].format == "ERF"
    assert [(r.frame_number, r.time_ns - SECOND * 10**9, r.wire_bytes, r.data) for r in outcome.rows] == [
        (1, 500_000_000, 3, b"abc"),
        (2, 1_000_000_000, 1500, b"defgh"),
        (3, 0, 1, b"x"),
    ]


@pytest.mark.parametrize(
    ("kind", "data", "link_type"),
    [
        (2, b"ethernet", 1),
        (11, b"coloured", 1),
        (1, b"\x0f\x00\x08\x00", 104),
        (1, b"\xff\x03\x00\x21", 50),
        (5, b"\xff\x03\x00\x21", 50),
        (4, b"\xaa\xaa\x03", 100),
        (22, b"\x45", 228),
        (23, b"\x60", 229),
        (3, b"cell", 0xFFFF),
        (27, b"meta", 0xFFFF),
    ],
)
def test_record_types_become_link_types(kind, data, link_type):
    outcome = read_capture(record(data, kind) * 3)
    assert {(r.link_type, r.data) for r in outcome.rows} == {(link_type, data)}


def test_extension_headers_are_passed_over():
    plain = record(b"abc")
    extended = bytearray(plain[:16] + b"\x83" + bytes(7) + b"\x04" + bytes(7) + plain[16:])
    extended[8] |= 0x80
    extended[10:12] = struct.pack(">H", len(extended))
    assert [r.data for r in read_capture(bytes(extended) * 3).rows] == [b"abc"] * 3


def test_extension_headers_that_never_end_leave_nothing_of_the_frame():
    endless = bytearray(record(b"\xff" * 13, 1))
    endless[8] |= 0x80
    assert [r.data for r in read_capture(bytes(endless) * 3).rows] == [b""] * 3


def test_interfaces_are_told_apart_by_the_flags():
    outcome = read_capture(b"".join(record(b"a", flags=4 | port) for port in (0, 1, 0, 3)))
    assert [r.interface_id for r in outcome.rows] == [0, 1, 0, 2]


def test_padding_is_no_frame_and_losses_are_counted():
    padding = struct.pack("<QBBHHH", 0, 48, 0, 0x1000, 0, 0)
    outcome = read_capture(record(b"a", lost=3) + padding + record(b"b", lost=4) + record(b"c", 11, lost=9))
    assert [(r.frame_number, r.data) for r in outcome.rows] == [(1, b"a"), (2, b"b"), (3, b"c")]
    assert outcome.capture is not None
    assert outcome.capture.unseen.counts[REASONS.index("interface_drop"), 0] == 7


def test_damage_and_cuts_come_after_the_frames_before_them():
    sound = record(b"abcd") * 5
    outcome = read_capture(sound + record(b"efgh")[:-1])
    assert len(outcome.rows) == 5
    assert "ends inside a record after frame 5" in str(outcome.error)
    outcome = read_capture(sound + bytes(20))
    assert len(outcome.rows) == 5
    assert "shorter than its header after frame 5" in str(outcome.error)


def test_a_pipe_that_trickles_is_recognised_when_four_records_have_begun():
    assert len(read_capture(Trickle(record(b"abcd") * 5, [1])).rows) == 5


def test_noise_is_not_taken_for_erf():
    chance = Random(1)
    for size in (16, 20, 100, 1000):
        assert not any(looks_like_erf(chance.randbytes(size), is_whole=True) for _ in range(200))
    assert not looks_like_erf(bytes(1000), is_whole=True)
