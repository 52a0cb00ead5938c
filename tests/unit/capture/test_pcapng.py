"""pcapng: sections, interfaces, clocks, packet blocks, drop counters, damage."""

from __future__ import annotations

import io
import struct
from fractions import Fraction
from math import floor

import pytest

from tcpsight.capture import open_capture
from tcpsight.tables import REASONS
from tests.support.capture import Trickle, read_capture
from tests.support.pcap import (
    Frame,
    Interface,
    enhanced_packet,
    interface_description,
    interface_statistics,
    obsolete_packet,
    pcapng_block,
    pcapng_bytes,
    pcapng_option,
    section_header,
    simple_packet,
)

INSTANT = 1_700_000_000_123_456_789
HEAD = section_header() + interface_description(Interface(ticks=9))


def dropped(outcome, reason: str) -> int:
    return int(outcome.capture.unseen.counts[REASONS.index(reason), 0])


@pytest.mark.parametrize("endian", "<>")
def test_both_byte_orders_are_read(endian):
    outcome = read_capture(pcapng_bytes([(INSTANT, b"abcde"), Frame(INSTANT + 1, b"", 9)], endian=endian))
    assert [(r.time_ns, r.wire_bytes, r.data) for r in outcome.rows] == [(INSTANT, 5, b"abcde"), (INSTANT + 1, 9, b"")]
    assert outcome.capture is not None
    assert outcome.capture.files[0].format == "pcapng"


@pytest.mark.parametrize(
    "ticks", [None, *range(20), 28, 29, 127, *(0x80 | n for n in (0, 1, 10, 20, 32, 33, 40, 63, 64, 127))]
)
@pytest.mark.parametrize("count", [0, 1, 999, 1_700_000_000_123_456, 2**63, 2**64 - 1])
def test_every_resolution_is_exact_and_far_times_are_clamped(ticks, count):
    resolution = 6 if ticks is None else ticks
    per_second = 2 ** (resolution & 0x7F) if resolution & 0x80 else 10**resolution
    content = section_header() + interface_description(Interface(ticks=ticks)) + enhanced_packet(Frame(0, b"x"), count)
    outcome = read_capture(content)
    assert outcome.rows[0].time_ns == min(floor(Fraction(count, per_second) * 10**9), 2**62 - 1)
    assert outcome.capture is not None
    assert outcome.capture.interfaces[0].ticks_per_second == per_second


@pytest.mark.parametrize("offset", [-3600, 0, 1_700_000_000, -(10**10), -(2**63), 2**63 - 1])
def test_a_time_offset_is_added_in_seconds(offset):
    content = section_header() + interface_description(Interface(ticks=9, offset_seconds=offset))
    found = read_capture(content + enhanced_packet(Frame(0, b"x"), 5)).rows[0].time_ns
    limit = 2**62 - 1
    assert found == max(-limit, min(5 + offset * 10**9, limit))


def test_interfaces_have_their_own_link_type_and_clock():
    both = [Interface(1, 6, name="eth0", snaplen=96), Interface(101, 9, name="tun0")]
    frames = [Frame(1_000, b"a", interface=1), Frame(2_000, b"b", interface=0)]
    outcome = read_capture(pcapng_bytes(frames, interfaces=both))
    assert [(r.time_ns, r.interface_id, r.link_type) for r in outcome.rows] == [(1_000, 1, 101), (2_000, 0, 1)]
    assert outcome.capture is not None
    assert [(i.name, i.snaplen) for i in outcome.capture.interfaces] == [("eth0", 96), ("tun0", 0)]


def test_a_new_section_numbers_its_interfaces_anew_and_may_change_the_byte_order():
    first = pcapng_bytes([(1, b"a")], interfaces=[Interface(1, 9), Interface(2, 9)])
    second = pcapng_bytes([(2, b"b")], endian=">", interfaces=[Interface(3, 9)])
    outcome = read_capture(first + second + first)
    assert [(r.interface_id, r.link_type) for r in outcome.rows] == [(0, 1), (2, 3), (3, 1)]
    assert [r.frame_in_file for r in outcome.rows] == [1, 2, 3]


def test_a_file_of_many_sections_is_not_cut_into_as_many_batches():
    content = b"".join(
        section_header(endian=endian)
        + interface_description(Interface(link_type=n % 5), endian=endian)
        + enhanced_packet(Frame(0, bytes([n])), n, endian=endian)
        + interface_statistics(0, endian=endian, interface_drops=1)
        for n, endian in zip(range(200), "<>><" * 50, strict=True)
    )
    whole = read_capture(content)
    assert [(r.data, r.time_ns, r.link_type, r.interface_id) for r in whole.rows] == [
        (bytes([n]), 1000 * n, n % 5, n) for n in range(200)
    ]
    assert dropped(whole, "interface_drop") == 200
    with open_capture([io.BytesIO(content)]) as capture:
        assert len(list(capture)) == 1
    for sizes, options in (([1], {}), ([50, 3], {"batch_frames": 7}), ([1 << 20], {"buffer_bytes": 100})):
        assert read_capture(Trickle(content, sizes), **options).rows == whole.rows


def test_a_simple_packet_has_the_time_of_the_frame_before_and_the_first_interface():
    simple = simple_packet(b"abcdef") + simple_packet(b"ab", wire_bytes=9)
    outcome = read_capture(HEAD + enhanced_packet(Frame(0, b"x"), 77) + simple)
    # Padding cannot be told from data where the frame was cut short of its wire length.
    assert [(r.time_ns, r.wire_bytes, r.data) for r in outcome.rows[1:]] == [(77, 6, b"abcdef"), (77, 9, b"ab\0\0")]


def test_a_simple_packet_is_cut_at_the_snaplen_of_its_interface():
    content = section_header() + interface_description(Interface(snaplen=3)) + simple_packet(b"abc", wire_bytes=60)
    assert read_capture(content).rows[0].data == b"abc"


def test_the_obsolete_packet_block_is_read_and_its_drops_are_counted():
    blocks = obsolete_packet(Frame(0, b"abc"), 55, drops=3) + obsolete_packet(Frame(0, b"d"), 56, drops=0xFFFF)
    outcome = read_capture(HEAD + blocks)
    assert [(r.time_ns, r.data) for r in outcome.rows] == [(55, b"abc"), (56, b"d")]
    assert dropped(outcome, "kernel_drop") == 3


def test_unknown_blocks_are_passed_over():
    other = pcapng_block(0x0BAD, b"custom") + pcapng_block(4, b"names") + pcapng_block(0x80000001, b"")
    assert len(read_capture(HEAD + other + enhanced_packet(Frame(0, b"x"), 1) + other).rows) == 1


def test_secrets_names_journal_and_custom_blocks_are_passed_over():
    others = b"".join(pcapng_block(kind, b"x" * 999) for kind in (4, 9, 10, 0x0A, 0xBAD, 0x40000BAD, 0x80000001))
    outcome = read_capture(section_header() + others + HEAD[28:] + others + enhanced_packet(Frame(0, b"x"), 1) + others)
    assert len(outcome.rows) == 1
    assert outcome.error is None


def test_frames_without_a_time_are_counted():
    outcome = read_capture(HEAD + enhanced_packet(Frame(0, b"x"), 77) + simple_packet(b"ab") * 3)
    assert dropped(outcome, "untimed_frame") == 3
    assert outcome.capture is not None
    assert outcome.capture.unseen.counts[REASONS.index("untimed_frame"), 2] == 2


@pytest.mark.parametrize("ticks", [9, 6, 3, 0, 0x80, 0x80 | 20])
def test_times_beyond_the_limits_are_clamped_and_counted(ticks):
    head = section_header() + interface_description(Interface(ticks=ticks, offset_seconds=-5))
    outcome = read_capture(head + enhanced_packet(Frame(0, b"x"), 5) + enhanced_packet(Frame(0, b"x"), 2**64 - 1))
    assert outcome.rows[1].time_ns == 2**62 - 1
    assert dropped(outcome, "unrepresentable_time") == 1
    assert outcome.capture is not None
    assert outcome.capture.unseen.counts[REASONS.index("unrepresentable_time"), 2] == 2


def test_ten_thousand_interfaces_keep_their_names_and_clocks():
    described = [Interface(1, 9, n, f"port{n}") for n in range(10_000)]
    frames = [Frame(n * 10**9 + 7, b"x", interface=n) for n in (9_999, 0, 5_000)]
    outcome = read_capture(pcapng_bytes(frames, interfaces=described))
    assert [(r.time_ns, r.interface_id) for r in outcome.rows] == [(f.time_ns, f.interface) for f in frames]
    assert outcome.capture is not None
    assert outcome.capture.interfaces[9_999].name == "port9999"


@pytest.mark.parametrize(
    "options",
    [
        b"\x09\0",
        b"\x09\0\xff\xff" + bytes(8),
        b"\x09\0\x02\0\x09\x09\0\0",  # a resolution of two bytes
        b"\x0e\0\x04\0\1\1\1\1",  # an offset of four
        b"\0\0\0\0" + pcapng_option(9, b"\x09"),  # behind the end
        b"\x63\0\0\0" * 5000,
    ],
)
def test_options_that_lie_change_nothing(options):
    described = pcapng_block(1, struct.pack("<HHI", 1, 0, 0) + options)
    outcome = read_capture(section_header() + described + enhanced_packet(Frame(0, b"x"), 1_000_000))
    assert outcome.rows[0].time_ns == 10**9
    assert outcome.capture is not None
    assert outcome.capture.interfaces[0].ticks_per_second == 10**6


def test_options_that_lie_leave_the_counters_unknown():
    lying = pcapng_block(5, struct.pack("<III", 0, 0, 0) + struct.pack("<HHI", 7, 4, 9) + struct.pack("<HH", 7, 99))
    outcome = read_capture(HEAD + enhanced_packet(Frame(0, b"x"), 1) + lying)
    assert outcome.error is None
    assert outcome.capture is not None
    assert outcome.capture.interfaces[0].kernel_drops is None


def test_counters_of_several_interfaces_and_sections_are_kept_apart():
    two = HEAD + interface_description(Interface(ticks=9))
    first = two + interface_statistics(1, kernel_drops=3) + interface_statistics(0, kernel_drops=2)
    again = interface_statistics(1, kernel_drops=10)
    outcome = read_capture(first + again + HEAD + interface_statistics(0, kernel_drops=100))
    assert outcome.capture is not None
    assert [i.kernel_drops for i in outcome.capture.interfaces] == [2, 10, 100]
    assert dropped(outcome, "kernel_drop") == 112


def test_the_last_drop_counters_of_an_interface_hold():
    statistics = interface_statistics(interface_drops=2, kernel_drops=5) + interface_statistics(
        interface_drops=3, kernel_drops=9
    )
    outcome = read_capture(HEAD + statistics)
    assert dropped(outcome, "interface_drop") == 3
    assert dropped(outcome, "kernel_drop") == 9
    assert outcome.capture is not None
    assert outcome.capture.interfaces[0].interface_drops == 3
    assert outcome.capture.interfaces[0].kernel_drops == 9


def test_drops_that_nobody_counted_are_unknown_and_not_zero():
    outcome = read_capture(HEAD)
    assert outcome.capture is not None
    assert outcome.capture.interfaces[0].kernel_drops is None


@pytest.mark.parametrize("endian", "<>")
def test_drop_counts_of_packets_are_added_up_where_there_are_no_statistics(endian):
    lost = pcapng_option(2, b"flag", endian=endian) + pcapng_option(4, struct.pack(endian + "Q", 4), endian=endian)
    head = section_header(endian=endian) + interface_description(Interface(ticks=9), endian=endian)
    packets = enhanced_packet(Frame(0, b"abc"), 1, endian=endian, options=lost) * 2
    assert dropped(read_capture(head + packets), "kernel_drop") == 8
    statistics = interface_statistics(endian=endian, kernel_drops=6)
    assert dropped(read_capture(head + packets + statistics), "kernel_drop") == 6


@pytest.mark.parametrize(
    ("block", "reason"),
    [
        (struct.pack("<II", 6, 0xFFFFFFF0) + bytes(20), "a block claims an absurd length"),
        (struct.pack("<II", 6, 8) + bytes(20), "a block claims an absurd length"),
        (struct.pack("<II", 6, 33) + bytes(40), "a block claims an absurd length"),
        (struct.pack("<II", 77, 16) + bytes(8), "the two lengths of a block disagree"),
        (enhanced_packet(Frame(0, b"x", interface=1), 0), "a frame names an interface that the file did not describe"),
        (
            pcapng_block(6, struct.pack("<IIIII", 0, 0, 0, 5, 5) + b"abcd"),
            "a frame claims more bytes than its block holds",
        ),
        (pcapng_block(6, bytes(16)), "a block claims an absurd length"),
        (pcapng_block(1, bytes(4)), "an interface description is too short"),
        (pcapng_block(5, bytes(8)), "an interface statistics block is too short"),
        (pcapng_block(0x0A0D0D0A, bytes(16)), "a section states no byte order"),
        (section_header().replace(b"\x01\x00\x00\x00", b"\x07\x00\x00\x00"), "pcapng version 7 is not known"),
        (section_header()[:-4] + bytes(4), "the two lengths of a section header disagree"),
        (section_header()[:4] + b"\xff\xff\xff\x7f" + section_header()[8:], "a section header has an absurd length"),
    ],
)
def test_a_damaged_block_ends_the_file_after_the_frames_before_it(block, reason):
    before = HEAD + enhanced_packet(Frame(0, b"abc"), 1)
    outcome = read_capture(before + block)
    assert [r.data for r in outcome.rows] == [b"abc"]
    assert outcome.error is not None
    assert reason in outcome.error.reason
    assert outcome.error.offset == len(before)


def test_interfaces_are_limited_so_that_a_file_of_nothing_else_does_not_fill_the_memory():
    outcome = read_capture(section_header() + interface_description(Interface()) * 65_537)
    assert "more than 65536 interfaces" in str(outcome.error)


def test_a_cut_block_is_named_with_its_place():
    content = HEAD + enhanced_packet(Frame(0, b"abc"), 1)
    outcome = read_capture(content + content[:20])
    assert len(outcome.rows) == 1
    assert outcome.error is not None
    assert outcome.error.offset == len(content)
    assert "ends inside a block after frame 1 (20 of 28 bytes)" in outcome.error.reason


def test_no_two_times_lie_farther_apart_than_a_duration_can_say():
    before = interface_description(Interface(offset_seconds=-(2**63)))
    after = interface_description(Interface(offset_seconds=2**63 - 1))
    frames = [enhanced_packet(Frame(0, b"x", interface=i), ticks) for i, ticks in ((0, 0), (1, 2**64 - 1))]
    first, last = (row.time_ns for row in read_capture(section_header() + before + after + b"".join(frames)).rows)
    assert 0 < last - first < 2**63
