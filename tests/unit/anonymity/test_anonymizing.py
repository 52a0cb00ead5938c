"""What is left of a capture when it is anonymized: the analysis, and nothing that tells who, where or what."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest

from tcpsight.anonymity.anonymizing import Wanted
from tcpsight.anonymity.prefixes import Secrets
from tcpsight.anonymity.writing import FrameWriter
from tcpsight.capture import open_capture
from tcpsight.decode import Decoding
from tcpsight.errors import CaptureError, UsageError
from tcpsight.local.resets import checksum
from tcpsight.output.destination import Destination
from tcpsight.output.packet_files import Counts
from tcpsight.tables import Frames
from tests.support.anonymized import KEY, anonymized, differences, rows_of
from tests.support.capture import read_capture
from tests.support.thorough import some_of

MAC_1, MAC_2 = b"\xd4\x5d\x64\xaa\xbb\xc1", b"\xd4\x5d\x64\xaa\xbb\xc2"
SECRET = b"Attack at dawn, signed K."
ONE, OTHER = b"\xc6\x33\x64\x07", b"\xcb\x00\x71\x2a"
VLAN = b"\x81\x00\x0a\xbc"


def tcp_packet(payload: bytes = b"", *, flags: int = 0x18, options: bytes = b"", wrong: str = "") -> bytes:
    """Make an IPv4 packet with TCP; what is wrong of its checksum: ``tcp``, ``ip``, ``partial`` or ``zero``."""
    header = struct.pack("!HHIIHHHH", 40_001, 443, 77, 88, (20 + len(options)) // 4 << 12 | flags, 500, 0, 0) + options
    pseudo = ONE + OTHER + struct.pack("!HH", 6, len(header) + len(payload))
    whole = pseudo + header + payload
    value = checksum(whole + bytes(len(whole) % 2))
    value = {"tcp": value ^ 0x1111, "partial": 0xFFFF - checksum(pseudo), "zero": 0}.get(wrong, value)
    header = header[:16] + value.to_bytes(2, "big") + header[18:]
    ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(header) + len(payload), 321, 0, 61, 6, 0) + ONE + OTHER
    ip_sum = checksum(ip) ^ (0x2222 if wrong == "ip" else 0)
    return ip[:10] + ip_sum.to_bytes(2, "big") + ip[12:] + header + payload


def ethernet(packet: bytes, tags: bytes = b"", ether_type: bytes = b"\x08\x00") -> bytes:
    return MAC_1 + MAC_2 + tags + ether_type + packet


def block(kind: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    return struct.pack("<II", kind, len(body) + 12) + body + struct.pack("<I", len(body) + 12)


def option(code: int, value: bytes) -> bytes:
    return struct.pack("<HH", code, len(value)) + value + bytes(-len(value) % 4)


def pcapng(*frames: bytes) -> bytes:
    """Write frames with names and comments wherever there may be some."""
    section = struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1) + option(1, SECRET) + option(2, SECRET) + option(0, b"")
    interface = struct.pack("<HHI", 1, 0, 0) + option(2, SECRET) + option(3, SECRET) + option(0, b"")
    blocks = [block(0x0A0D0D0A, section), block(1, interface)]
    for place, frame in enumerate(frames):
        padded = frame + bytes(-len(frame) % 4)
        head = struct.pack("<IIIII", 0, 0, 1_000_000 + place, len(frame), len(frame))
        blocks.append(block(6, head + padded + option(1, SECRET) + option(0, b"")))
    names = struct.pack("<HH", 1, 4 + len(SECRET) + 1) + ONE + SECRET + b"\0"
    blocks.append(block(4, names + bytes(-len(names) % 4) + struct.pack("<HH", 0, 0)))
    return b"".join(blocks)


def made(tmp_path: Path, *frames: bytes) -> tuple[bytes, Path]:
    """Anonymize frames; give the copy and the original."""
    file = tmp_path / "original.pcapng"
    file.write_bytes(pcapng(*frames))
    return anonymized(file)[0], file


def test_no_byte_of_payload_names_or_lower_layers_is_left(tmp_path):
    quoted = tcp_packet(SECRET)
    icmp = b"\x45\0" + struct.pack("!H", 28 + len(quoted)) + bytes(5) + b"\x01\0\0" + OTHER + ONE + bytes(8) + quoted
    arp = b"\0\1\x08\0\6\4\0\1" + MAC_1 + ONE + MAC_2 + OTHER
    dns = b"\x45\0" + struct.pack("!H", 28 + len(SECRET)) + bytes(5) + b"\x11\0\0" + ONE + OTHER + bytes(8) + SECRET
    private = b"\xfd\x14" + SECRET[:18]
    gre = b"\x45\0" + struct.pack("!H", 24 + len(quoted)) + bytes(4) + b"\x40\x2f\0\0" + ONE + OTHER + b"\0\0\x08\0"
    copy, _ = made(
        tmp_path,
        ethernet(tcp_packet(SECRET, options=private)),
        ethernet(tcp_packet(SECRET, options=private), VLAN),
        ethernet(gre + quoted),
        ethernet(icmp),
        ethernet(dns),
        ethernet(arp, ether_type=b"\x08\x06"),
        ethernet(SECRET, ether_type=b"\x88\xcc"),
        MAC_1[:5],
    )
    for secret in (
        SECRET[:6],
        SECRET[6:12],
        SECRET[-6:],
        MAC_1[:4],
        MAC_1[2:],
        MAC_2[2:],
        ONE,
        OTHER,
        VLAN[2:] + b"\x08",
    ):
        assert secret not in copy
    assert len(read_capture(copy).rows) == 8


def test_every_frame_keeps_its_place_and_time(tmp_path):
    copy, file = made(
        tmp_path, ethernet(b"", ether_type=b"\x88\xcc"), ethernet(tcp_packet()), b"", ethernet(tcp_packet())
    )
    before, after = read_capture(file).rows, read_capture(copy).rows
    assert [(r.frame_number, r.time_ns) for r in after] == [(r.frame_number, r.time_ns) for r in before]
    assert [len(r.data) for r in after] == [14, 54, 14, 54]


def sums_of(copy: bytes) -> list[tuple[bool, int, int, int]]:
    """Tell of each frame: whether IP's checksum is right, TCP's, what it would be, and that of the pseudo header."""
    found = []
    for row in read_capture(copy).rows:
        ip, tcp = row.data[14:34], row.data[34:]
        pseudo = ip[12:20] + struct.pack("!HH", 6, row.wire_bytes - 34)
        right = checksum(pseudo + tcp[:16] + b"\0\0" + tcp[18:])
        found.append((checksum(ip) == 0, int.from_bytes(tcp[16:18], "big"), right, 0xFFFF - checksum(pseudo)))
    return found


def test_checksums_are_right_where_they_were_and_only_there(tmp_path):
    kinds = ("", "tcp", "ip", "partial", "zero")
    copy, _ = made(tmp_path, *(ethernet(tcp_packet(wrong=kind)) for kind in kinds))
    for kind, (is_ip_right, value, right, pseudo) in zip(kinds, sums_of(copy), strict=True):
        assert is_ip_right == (kind != "ip")
        if kind in ("", "ip"):
            assert value == right
        elif kind == "tcp":
            assert value not in (right, pseudo, 0)
        else:
            assert value == {"partial": pseudo, "zero": 0}[kind]


def test_checksums_of_payload_tell_copies_from_others_and_nothing_else(tmp_path):
    one, other = tcp_packet(b"payload one."), tcp_packet(b"payload two.")
    copy, _ = made(tmp_path, *map(ethernet, (one, one, other)))
    values = [value for _, value, _, _ in sums_of(copy)]
    assert values[0] == values[1] != values[2]
    again = anonymized(tmp_path / "original.pcapng", key=bytes(32))[0]
    assert sums_of(again)[0][1] != values[0]


@pytest.mark.parametrize("shift_ns", [-(10**14), 10**15])
def test_times_are_shifted_and_with_them_nothing_but_times(examples_dir, tmp_path, shift_ns):
    source = examples_dir / "mariadb-lock.pcap"
    copy = tmp_path / "copy.pcapng"
    copy.write_bytes(anonymized(source, Wanted(shift_ns=shift_ns))[0])
    before, after = rows_of(str(source)), rows_of(str(copy))
    for name in ("response_time_ns", "connection_id"):
        assert (before["requests"][name] == after["requests"][name]).all()
    assert (before["requests"]["arrival_ns"] + shift_ns == after["requests"]["arrival_ns"]).all()


def test_the_first_frame_is_put_where_it_is_asked_for(examples_dir):
    copy, _ = anonymized(examples_dir / "mariadb-lock.pcap", Wanted(start_ns=10**18))
    assert read_capture(copy).rows[0].time_ns == 10**18


def test_mapped_ports_change_no_role(examples_dir, tmp_path):
    source, copy = examples_dir / "mariadb-lock.pcap", tmp_path / "copy.pcapng"
    copy.write_bytes(anonymized(source, Wanted(maps_ports=True))[0])
    before, after = rows_of(str(source)), rows_of(str(copy))
    assert differences(before, after, Secrets(KEY), maps_ports=True) == []
    table = Secrets(KEY).ports()
    assert (table[before["connections"]["server_port"]] == after["connections"]["server_port"]).all()


@pytest.mark.peers
def test_the_analysis_of_every_capture_of_the_corpus_stays_the_same(corpus_dir, tmp_path):
    """All columns of connections, requests and network, but for addresses and what is made of them."""
    # The same endpoints are in two kinds of tunnels, which only the tunnels tell apart.
    known = {"tunnel-direct-bypass.pcap"}
    compared, different = 0, []
    copy = tmp_path / "copy.pcapng"
    files = some_of(sorted(path for path in (corpus_dir / "captures").rglob("*") if path.is_file()), 8)
    for file in files:
        try:
            before = rows_of(str(file))
        except CaptureError:
            continue  # no capture, though called one
        content, _ = anonymized(file)
        copy.write_bytes(content)
        if not read_capture(content).rows:
            assert not any(len(rows) for rows in before.values())
            continue
        found = differences(before, rows_of(str(copy)), Secrets(KEY))
        compared += 1
        if found and file.name not in known:
            different.append((file.name, found[:3]))
    assert not different
    assert compared > 0.9 * len(files) > 90


@pytest.mark.peers
def test_no_payload_and_no_hardware_address_of_the_corpus_is_left(corpus_dir):
    looked_at = 0
    for file in sorted((corpus_dir / "captures").rglob("*.pcap"))[::7]:
        copy = anonymized(file)[0]
        for row in read_capture(file).rows[:50]:
            if row.link_type != 1 or len(row.data) < 200:
                continue
            looked_at += 1
            for begin in (0, len(row.data) - 12):  # hardware addresses, and the end of the payload
                part = row.data[begin : begin + 12]
                assert len(set(part)) < 6 or part not in copy, (file, row.frame_number)
    assert looked_at > 100


def test_each_address_becomes_another(examples_dir):
    rows = rows_of(str(examples_dir / "mariadb-lock.pcap"))["connections"]
    for name in ("client_address", "server_address"):
        assert not (Secrets(KEY).addresses(rows[name])[:, 12:] == rows[name][:, 12:]).all(axis=1).any()
    assert np.isin(rows["ip_version"], (4,)).all()


def test_what_was_dropped_is_told_and_interfaces_have_numbers_for_names(tmp_path):
    destination_bytes = io.BytesIO()
    destination = Destination(destination_bytes)
    writer = FrameWriter(destination, "pcapng")
    frames = Frames.allocate(2)
    frames.data = b"\0" * 14
    frames.captured_bytes[:] = frames.wire_bytes[:] = 14
    frames.interface_id[:] = (1, 0)
    writer.write(frames)
    writer.finish(Counts(None, None, 7))
    destination.close()
    found = read_capture(destination_bytes.getvalue())
    assert found.capture is not None
    assert [(each.name, each.kernel_drops) for each in found.capture.interfaces] == [
        ("interface 0", 7),
        ("interface 1", None),
    ]
    assert b"Linux" not in destination_bytes.getvalue()  # nor of the machine where it was made


def test_frames_of_several_interfaces_do_not_fit_into_pcap():
    writer = FrameWriter(Destination(io.BytesIO()), "pcap")
    frames = Frames.allocate(2)
    frames.data = b"\0" * 14
    frames.interface_id[:] = (0, 1)
    with pytest.raises(UsageError, match=r"name the file \.pcapng"):
        writer.write(frames)


def timestamps(value: int, echo: int) -> bytes:
    return b"\1\1\x08\x0a" + struct.pack("!II", value, echo)


def test_no_clock_is_left_as_it_was_whatever_the_flags_and_offsets_differ(tmp_path):
    """A RST without ACK has the other side's clock, too; 0 says that there is none."""
    flags = [0x10, 0x04, 0x02, 0x00]
    copy, _ = made(
        tmp_path, *(ethernet(tcp_packet(flags=each, options=timestamps(1000, 777_000_111))) for each in flags)
    )
    path = tmp_path / "copy.pcapng"
    path.write_bytes(copy)
    with open_capture([path]) as capture:
        found = np.concatenate([Decoding().feed(frames).rows for frames in capture])
    assert len(found) == 4
    assert len(set(found["timestamp_value"].tolist())) == len(set(found["timestamp_echo"].tolist())) == 1
    assert found["timestamp_value"][0] != 1000
    assert found["timestamp_echo"][0] != 777_000_111
    assert (int(found["timestamp_value"][0]) - 1000) % 2**32 != (int(found["timestamp_echo"][0]) - 777_000_111) % 2**32


def test_segments_between_two_low_ports_are_counted_when_ports_are_mapped(tmp_path):
    file = tmp_path / "original.pcapng"
    file.write_bytes(pcapng(ethernet(tcp_packet())))
    low = tcp_packet()
    file.with_name("low.pcapng").write_bytes(pcapng(ethernet(low[:20] + struct.pack("!H", 12_000) + low[22:])))
    for name, number in (("original", 0), ("low", 1)):
        assert anonymized(tmp_path / f"{name}.pcapng", Wanted(maps_ports=True))[1].near == number
    assert anonymized(tmp_path / "low.pcapng", Wanted())[1].near == 0
