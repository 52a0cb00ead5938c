"""Dialects of classic pcap, with and without a magic number of their own."""

from __future__ import annotations

import struct

import pytest

from tests.support.capture import Trickle, read_capture
from tests.support.pcap import Frame, tcp_frame

FRAMES = [Frame((1_600_000_000 + n) * 10**9 + 5_000, tcp_frame("10.0.0.1", "10.0.0.2", 5000, 80, n)) for n in range(5)]


def written(
    magic: int,
    *,
    endian: str = "<",
    version: tuple[int, int] = (2, 4),
    network: int = 1,
    extra_header: bytes = b"",
    extra_record: bytes = b"",
    ticks: int = 5,
    wire_first: bool = False,
) -> bytes:
    content = struct.pack(endian + "IHHiIII", magic, *version, 0, 0, 65535, network) + extra_header
    for n, frame in enumerate(FRAMES):
        lengths = (len(frame.data), len(frame.data) + 100 * wire_first)
        lengths = lengths[::-1] if wire_first else lengths
        content += struct.pack(endian + "IIII", 1_600_000_000 + n, ticks, *lengths) + extra_record + frame.data
    return content


@pytest.mark.parametrize("endian", "<>")
@pytest.mark.parametrize(
    ("magic", "extra_header", "extra_record", "ticks"),
    [
        (0xA1B2C3D4, b"", b"", 5),  # the original
        (0xA1B2C3D4, b"", b"\3\0\0\0\0\x08\0\0", 5),  # ss990417
        (0xA1B2C3D4, b"", b"\0\0\0\0", 5),  # Nokia
        (0xA1B2CD34, b"", b"\3\0\0\0\0\x08\0\0", 5),  # ss991029
        (0xA1B2CD34, b"", b"\3\0\0\0\0\x08\0\0\0\0\0\0", 5),  # ss990915
        (0x1C0001AC, b"\1\2\3\4", b"", 5000),  # Ixia's hardware
        (0x1C0001AB, b"\1\2\3\4", b"", 5),  # Ixia's software
        (0xA1B23C4D, b"", b"", 5000),
    ],
)
def test_every_dialect_gives_the_same_frames(endian, magic, extra_header, extra_record, ticks):
    content = written(magic, endian=endian, extra_header=extra_header, extra_record=extra_record, ticks=ticks)
    outcome = read_capture(content)
    assert outcome.error is None
    assert [(r.time_ns, r.data) for r in outcome.rows] == [(f.time_ns, f.data) for f in FRAMES]
    assert read_capture(content[:-1]).error is not None


def test_the_usual_dialect_is_believed_where_only_the_header_has_arrived():
    content = written(0xA1B2C3D4)
    assert len(read_capture(Trickle(content, [24, 7])).rows) == 5


@pytest.mark.parametrize(("network", "link_type"), [(6, 1), (9, 6), (15, 10), (24, 0)])
def test_aix_writes_interface_types_and_nanoseconds(network, link_type):
    outcome = read_capture(written(0xA1B2C3D4, version=(2, 2), network=network, ticks=5000, wire_first=True))
    assert [(r.time_ns, r.link_type, r.wire_bytes) for r in outcome.rows] == [
        (f.time_ns, link_type, len(f.data) + 100) for f in FRAMES
    ]


@pytest.mark.parametrize("version", [(2, 0), (2, 2), (543, 0)])
def test_old_versions_and_dg_ux_write_the_length_on_the_wire_first(version):
    outcome = read_capture(written(0xA1B2C3D4, version=version, wire_first=True))
    assert [(r.data, r.wire_bytes) for r in outcome.rows] == [(f.data, len(f.data) + 100) for f in FRAMES]


def test_frame_check_sequences_are_told_in_the_upper_bits_of_the_link_type():
    # Four bytes of check sequence: length 2 in units of 16 bits, and the bit that says so.
    outcome = read_capture(written(0xA1B2C3D4, network=0x24000001))
    assert {r.link_type for r in outcome.rows} == {1}


@pytest.mark.parametrize(("network", "link_type"), [(0x02240002, 228), (0x02240018, 229), (0x0224001C, 28)])
def test_netbsd_raw_packets_have_an_address_family_for_a_link_type(network, link_type):
    assert {r.link_type for r in read_capture(written(0xA1B2C3D4, network=network)).rows} == {link_type}


def test_damage_does_not_make_another_dialect():
    content = bytearray(written(0xA1B2C3D4))
    second = 24 + 16 + len(FRAMES[0].data)
    content[second + 11] = 0xFF
    outcome = read_capture(bytes(content))
    assert [r.data for r in outcome.rows] == [FRAMES[0].data]
    assert "frame 2 claims an absurd length" in str(outcome.error)
