"""Hex lines: the bytes themselves, under the addresses and ports of the text line."""

from __future__ import annotations

import pytest

from tests.support.text import read, read_lines

WHEN = "2009-04-12 16:46:02.977905"
PAIR = "127.0.0.1.55300 > 127.0.0.1.3306"
PACKET = (
    bytes.fromhex(
        "4508 0055 8050 4000 4006 bc48 7f00 0001 7f00 0001"
        "d804 0cea 1b4c dfd1 1b00 8f43 8018 0212 fe49 0000 0101 080a 0084 2319 0083 96db"
    )
    + b"\x1d\0\0\0\x03insert into t values (12345)"
)
ETHERNET = bytes(range(0x60, 0x6C)) + b"\x08\x00"


def dump(data: bytes, ascii_column: bool = False, indent: str = "\t") -> list[str]:
    lines = []
    for at in range(0, len(data), 16):
        row = data[at : at + 16]
        text = row.hex(" ", -2)
        if ascii_column:
            printable = "".join(chr(b) if 32 < b < 127 else "." for b in row)
            text = f"{text:<39}  {printable}"
        lines.append(f"{indent}0x{at:04x}:  {text}")
    return lines


@pytest.mark.parametrize("words", ["tcp 33", "P 458022865:458022898(33) ack 453021507 win 530 <nop,nop,timestamp 1 2>"])
@pytest.mark.parametrize("indent", ["\t", "         "])
@pytest.mark.parametrize("ascii_column", [False, True])
def test_hex_lines_become_the_frame(words, indent, ascii_column):
    reading = read_lines(f"{WHEN} IP {PAIR}: {words}", *dump(PACKET, ascii_column, indent), "")
    assert reading.unseen == {}
    assert reading.frame_bytes(0) == PACKET
    frame, header = reading.frames.rows[0], reading.headers.rows[0]
    assert (frame["link_type"], frame["wire_bytes"]) == (101, 0x55)
    assert (header["sequence_number"], header["payload_bytes"]) == (458022865, 33)
    assert header["captured_payload_bytes"] == 33


def test_hex_lines_cut_by_the_snaplen_give_a_cut_frame():
    reading = read_lines(f"{WHEN} IP {PAIR}: tcp 33", *dump(PACKET[:60]))
    header = reading.headers.rows[0]
    assert (header["payload_bytes"], header["captured_payload_bytes"]) == (33, 8)


def test_a_link_header_is_recognised():
    reading = read_lines(f"{WHEN} IP {PAIR}: tcp 33", *dump(ETHERNET + PACKET))
    assert reading.frames.link_type.tolist() == [1]
    assert reading.frame_bytes(0) == ETHERNET + PACKET
    assert reading.frames.wire_bytes.tolist() == [14 + 0x55]


def test_a_link_header_that_begins_like_an_ip_header_is_still_one():
    mac = b"\x45\x00\x00\x55\x00\x01" + bytes(6)
    reading = read_lines(f"{WHEN} IP {PAIR}: tcp 33", *dump(mac + b"\x08\x00" + PACKET))
    assert reading.frames.link_type.tolist() == [1]


def test_a_vlan_tag_and_cooked_headers_are_recognised():
    tagged = ETHERNET[:12] + b"\x81\x00\x00\x20\x08\x00" + PACKET
    cooked = b"\0\0\0\1\0\6" + bytes(8) + b"\x08\x00" + PACKET
    cooked2 = b"\x08\x00\0\0\0\0\0\2\0\1\4\6" + bytes(8) + PACKET
    loopback = b"\2\0\0\0" + PACKET
    for data, link_type in ((tagged, 1), (cooked, 113), (cooked2, 276), (loopback, 0)):
        reading = read_lines(f"{WHEN} IP {PAIR}: tcp 33", *dump(data))
        assert reading.frames.link_type.tolist() == [link_type]
        assert reading.headers.payload_bytes.tolist() == [33]


def test_addresses_and_ports_of_the_text_line_overrule_the_bytes():
    reading = read_lines(f"{WHEN} IP 192.0.2.1.7 > 192.0.2.9.mysql: tcp 33", *dump(PACKET))
    header = reading.headers.rows[0]
    assert bytes(header["source_address"])[12:] == bytes([192, 0, 2, 1])
    assert bytes(header["destination_address"])[12:] == bytes([192, 0, 2, 9])
    assert (header["source_port"], header["destination_port"]) == (7, 3306)
    assert header["sequence_number"] == 458022865


def test_a_name_that_is_unknown_leaves_the_bytes_alone():
    reading = read_lines(f"{WHEN} IP client.example.40000 > db.example.mysql: tcp 33", *dump(PACKET))
    assert reading.unseen == {}
    assert (reading.headers.source_port[0], reading.headers.destination_port[0]) == (55300, 3306)
    reading = read_lines(f"{WHEN} IP 127.0.0.1.no-such-service > 127.0.0.1.3306: tcp 33", *dump(PACKET))
    assert reading.headers.source_port.tolist() == [55300]


def test_frames_without_ip_are_counted_as_such_with_their_bytes():
    arp = bytes.fromhex("00010800060400010040") + bytes(18)
    reading = read_lines(f"{WHEN} ARP, Request who-has 10.0.0.1 tell 10.0.0.2, length 28", *dump(arp))
    assert reading.unseen == {"not_ip": 1}
    reading = read_lines(f"{WHEN} a > b, ethertype Unknown (0x0900), length 60: ", *dump(PACKET))
    assert reading.unseen == {"not_ip": 1}


def test_dumps_of_details_are_not_the_frame():
    reading = read_lines(
        f"{WHEN} IP 127.0.0.1.55300 > 127.0.0.1.179: Flags [P.], seq 5:38, ack 7, win 1, length 33: BGP",
        "\t  no Attribute 99 decoder",
        *dump(b"\x01\x02\x03\x04", indent="\t    "),
        *dump(bytes(range(40)), indent="\t    "),
    )
    assert reading.unseen == {}
    assert reading.headers.sequence_number.tolist() == [5]


def test_a_missing_hex_line_cuts_the_frame_and_is_counted():
    lines = dump(PACKET)
    reading = read_lines(f"{WHEN} IP {PAIR}: tcp 33", *lines[:2], *lines[3:])
    assert reading.frame_bytes(0) == PACKET[:32]
    assert reading.unseen["unreadable_text"] == len(lines) - 3


def test_hex_lines_without_a_text_line_are_counted():
    assert read_lines(*dump(PACKET)).unseen == {"unreadable_text": len(dump(PACKET))}


def test_a_hex_block_without_end_is_bounded():
    endless = "".join(f"\t0x{at:04x}:  {'4500 ' * 7}4500\n" for at in range(16, 400_000, 16))
    reading = read(f"{WHEN} IP {PAIR}: tcp 33\n{dump(PACKET)[0]}\n{endless}".encode())
    assert reading.frames.captured_bytes.tolist() == [256 * 1024]
