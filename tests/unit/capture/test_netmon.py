"""Microsoft Network Monitor: versions, local and universal times, media types, tables, damage."""

from __future__ import annotations

import struct

import pytest

from tests.support.capture import Trickle, read_capture

START = (2020, 9, 2, 15, 12, 34, 56, 789)  # year, month, day of the week, day, hour, minute, second, millisecond
START_NS = 1_600_173_296_789_000_000


def capture(
    records: list[bytes], version: tuple[int, int] = (2, 0), network: int = 1, listed: int | None = None
) -> bytes:
    frames = b"".join(records)
    magic = b"RTSS" if version[0] == 1 else b"GMBU"
    count = len(records) if listed is None else listed
    head = magic + struct.pack("<BBH8H2I", version[1], version[0], network, *START, 128 + len(frames), 4 * count)
    return head.ljust(128, b"\0") + frames + struct.pack(f"<{count}I", *range(count))


def first(data: bytes, delta: int = 5, wire: int = 0) -> bytes:
    return struct.pack("<IHH", delta, wire or len(data), len(data)) + data


def second(data: bytes, delta: int = 5, wire: int = 0, trailer: bytes = b"") -> bytes:
    return struct.pack("<QII", delta % 2**64, wire or len(data), len(data)) + data + trailer


def test_version_1_counts_milliseconds():
    outcome = read_capture(capture([first(b"abc"), first(b"de", 2**32 - 1, 60)], (1, 1)))
    assert outcome.error is None
    assert outcome.capture is not None
    assert outcome.capture.files[0].format == "Network Monitor"
    assert [(r.time_ns - START_NS, r.wire_bytes, r.data) for r in outcome.rows] == [
        (5_000_000, 3, b"abc"),
        ((2**32 - 1) * 10**6, 60, b"de"),
    ]


@pytest.mark.parametrize("delta", [0, 5, -5, 10**12, -(10**12)])
def test_version_2_counts_microseconds_also_before_the_start(delta):
    for stored in (delta, -((-delta * 10) // 10)):
        assert read_capture(capture([second(b"abc", stored)])).rows[0].time_ns == START_NS + delta * 1000


def test_local_times_are_in_the_zone_that_the_user_names():
    outcome = read_capture(capture([second(b"abc", 0)]), input_timezone="Europe/Berlin")
    assert outcome.rows[0].time_ns == START_NS - 2 * 3600 * 10**9


@pytest.mark.parametrize(
    ("network", "link_type"), [(0, 1), (1, 1), (2, 6), (3, 10), (9, 101), (0xE071, 113), (6, 65535), (0xFFE0, 65535)]
)
def test_later_versions_name_the_medium_of_every_frame(network, link_type):
    for minor, more in ((1, b""), (2, bytes(4))):
        content = capture([second(b"abc", trailer=struct.pack("<H", network) + more)], (2, minor))
        assert [(r.link_type, r.data) for r in read_capture(content).rows] == [(link_type, b"abc")]


def test_version_2_3_says_the_time_of_every_frame_in_utc():
    ticks = (START_NS // 100) + 116_444_736_000_000_000 + 7
    content = capture([second(b"abc", trailer=struct.pack("<HIQB", 1, 0, ticks, 0))], (2, 3))
    assert read_capture(content, input_timezone="Asia/Tokyo").rows[0].time_ns == START_NS + 700


def test_records_about_the_machine_are_no_frames():
    trailers = [struct.pack("<H", network) for network in (0xFFFD, 1, 0xFFFE)]
    outcome = read_capture(capture([second(b"abc", trailer=t) for t in trailers], (2, 1)))
    assert [(r.frame_number, r.data) for r in outcome.rows] == [(1, b"abc")]


def test_a_pipe_is_read_in_the_order_of_the_frames():
    assert len(read_capture(Trickle(capture([second(b"abc")] * 5), [1, 30])).rows) == 5


def test_damage_and_cuts_come_after_the_frames_before_them():
    content = capture([second(b"abc")] * 2)
    outcome = read_capture(content[: 128 + 19 + 10])
    assert len(outcome.rows) == 1
    assert "ends inside a record after frame 1 (10 of 16 bytes)" in str(outcome.error)
    outcome = read_capture(content[: 128 + 19])
    assert len(outcome.rows) == 1
    assert "before its frame table; the capture was cut short" in str(outcome.error)
    outcome = read_capture(capture([second(b"abc")] * 2, listed=3))
    assert len(outcome.rows) == 2
    assert "lists 3 records and holds 2" in str(outcome.error)
    broken = capture([second(b"abc"), struct.pack("<QII", 0, 0, 2**31) + bytes(40)])
    assert "absurd length after frame 1" in str(read_capture(broken).error)


def test_a_header_that_makes_no_sense_is_said():
    content = capture([second(b"abc")])
    assert "inside the Network Monitor file header (50 of 128 bytes)" in str(read_capture(content[:50]).error)
    assert "version 7.0 is not known" in str(read_capture(content[:5] + b"\x07" + content[6:]).error)
    assert "is no date" in str(read_capture(content[:8] + bytes(16) + content[24:]).error)
