"""The forms in which tcpdump prints a segment, and what each of them tells."""

from __future__ import annotations

import itertools
import time

import pytest

from tcpsight.capture.text import looks_like_text
from tcpsight.errors import CaptureError, UsageError
from tcpsight.tables import (
    FLAG_ACK,
    FLAG_FIN,
    FLAG_PSH,
    FLAG_SYN,
    LINK_TYPE_TEXT_LENGTHS,
    OPTION_MSS,
    OPTION_SACK,
    OPTION_SACK_PERMITTED,
    OPTION_TIMESTAMPS,
    OPTION_UNSEQUENCED,
    OPTION_WINDOW_SCALE,
)
from tests.support.text import Reading, read, read_lines

WHEN = "2009-04-12 16:46:02.977905"
WHEN_NS = 1_239_554_762_977_905_000
PAIR = "10.0.0.1.40000 > 10.0.0.2.3306"


def only(reading: Reading):
    """Give the one header of a reading, and check that nothing else was in it."""
    assert reading.unseen == {}
    assert len(reading.headers) == 1
    return reading.headers.rows[0]


def address(header, which: str) -> str:
    octets = bytes(header[which])
    return ".".join(map(str, octets[12:])) if header["ip_version"] == 4 else octets.hex()


def test_a_length_only_line_has_times_endpoints_and_length():
    reading = read_lines(f"{WHEN} IP {PAIR}: tcp 101")
    header = only(reading)
    assert header["time_ns"] == WHEN_NS
    assert (address(header, "source_address"), header["source_port"]) == ("10.0.0.1", 40000)
    assert (address(header, "destination_address"), header["destination_port"]) == ("10.0.0.2", 3306)
    assert header["payload_bytes"] == 101
    assert header["captured_payload_bytes"] == 0
    assert header["options"] & OPTION_UNSEQUENCED


def test_a_length_only_frame_has_the_pseudo_link_type():
    assert read_lines(f"{WHEN} IP {PAIR}: tcp 0").frames.link_type.tolist() == [LINK_TYPE_TEXT_LENGTHS]


def test_a_length_beyond_the_ip_length_field_is_kept_as_offloaded():
    assert only(read_lines(f"{WHEN} IP {PAIR}: tcp 70000"))["payload_bytes"] == 70000


def test_the_new_form_is_read_in_full():
    header = only(
        read_lines(
            f"{WHEN} IP {PAIR}: Flags [S], seq 4294967295, win 64240, "
            "options [mss 1460,sackOK,TS val 3317596243 ecr 7,nop,wscale 7], length 0"
        )
    )
    assert header["flags"] == FLAG_SYN
    assert header["sequence_number"] == 4294967295
    assert (header["window"], header["mss_bytes"], header["window_scale"]) == (64240, 1460, 7)
    assert (header["timestamp_value"], header["timestamp_echo"]) == (3317596243, 7)
    assert header["options"] == OPTION_MSS | OPTION_SACK_PERMITTED | OPTION_TIMESTAMPS | OPTION_WINDOW_SCALE


def test_the_old_form_is_read_in_full():
    header = only(
        read_lines(
            f"{WHEN} IP {PAIR}: P 458022865:458022898(33) ack 453021507 win 530 <nop,nop,timestamp 8659737 8623835>"
        )
    )
    assert header["flags"] == FLAG_PSH | FLAG_ACK
    assert (header["sequence_number"], header["acknowledgment_number"]) == (458022865, 453021507)
    assert (header["payload_bytes"], header["window"]) == (33, 530)
    assert (header["timestamp_value"], header["timestamp_echo"]) == (8659737, 8623835)


def test_the_point_of_the_old_form_is_not_an_ack():
    # "." there means: none of the letters.
    reading = read_lines(f"{WHEN} IP {PAIR}: . 1:2(1) win 5")
    assert only(reading)["flags"] == 0


def test_the_old_form_may_carry_a_checksum_remark():
    header = only(read_lines(f"{WHEN} IP {PAIR}: SF [tcp sum ok] 7:9(2) win 5840 <mss 1460,nop,wscale 2>"))
    assert header["flags"] == FLAG_SYN | FLAG_FIN
    assert (header["payload_bytes"], header["mss_bytes"], header["window_scale"]) == (2, 1460, 2)


def test_sack_blocks_are_read_absolutely_and_relatively():
    first = f"{WHEN} IP {PAIR}: Flags [P.], seq 5000:5010, ack 9001, win 1, length 10"
    reply = "10.0.0.2.3306 > 10.0.0.1.40000"
    block = "options [nop,nop,sack 2 {20:30}{40:50}]"
    reading = read_lines(first, f"{WHEN} IP {reply}: Flags [.], ack 10, win 1, {block}, length 0")
    header = reading.headers.rows[1]
    assert header["options"] & OPTION_SACK
    assert header["sack_count"] == 2
    assert header["sack"][:4].tolist() == [5020, 5030, 5040, 5050]


@pytest.mark.parametrize(
    "prefix",
    [
        "IP ",
        "eth0  In  IP ",
        "eth0  Out IP ",
        "  In IP ",
        "Out IP ",
        "vlan 5, p 0, IP ",
        "IP (tos 0x0, ttl  64, id 39370, offset 0, flags [DF], proto 6, length: 66) ",
        "IP (tos 0x8, ttl 61, id 7, offset 0, flags [DF], proto TCP (6), length 62, options (NOP,TS{...})) ",
        "00:40:05:40:ef:24 > 00:60:08:9f:b1:f3, ethertype IPv4 (0x0800), length 74: ",
        "00:40:05:40:ef:24 > 00:60:08:9f:b1:f3, 802.1Q, length 650: vlan 32, p 0, IPv4, ",
        "eth0  In  ifindex 2 ea:5c:b3:49:16:e5 ethertype IPv4 (0x0800), length 80: ",
        "PPPoE  [ses 0xdde5] IP ",
        "MPLS (label 29, tc 6, [S], ttl 255) IP ",
        "",
    ],
)
@pytest.mark.parametrize("words", ["tcp 26", "Flags [P.], seq 1:27, ack 1, win 512, length 26: HTTP: GET / HTTP/1.1"])
def test_what_stands_before_the_endpoints_does_not_matter(prefix, words):
    header = only(read_lines(f"{WHEN} {prefix}{PAIR}: {words}"))
    assert (header["payload_bytes"], header["source_port"], header["destination_port"]) == (26, 40000, 3306)


def test_a_verbose_header_goes_on_in_the_next_line():
    header = only(
        read_lines(
            f"{WHEN} IP (tos 0x0, ttl 63, id 15154, offset 0, flags [DF], proto TCP (6), length 92)",
            f"    {PAIR}: Flags [P.], cksum 0x10b8 (correct), seq 7:47, ack 5, win 289, length 40",
            "\tGET / HTTP/1.1",
            "\tHost: example.com",
        )
    )
    assert (header["payload_bytes"], header["ttl"], header["ip_id"]) == (40, 63, 15154)
    assert header["checksum"] == 0x10B8


def test_ipv6_is_read():
    header = only(read_lines(f"{WHEN} IP6 fe80::1.3306 > 2001:db8::2.40000: tcp 12"))
    assert header["ip_version"] == 6
    assert address(header, "source_address") == "fe80" + 27 * "0" + "1"
    assert (header["source_port"], header["payload_bytes"]) == (3306, 12)


def test_port_names_are_resolved():
    header = only(read_lines(f"{WHEN} IP 10.0.0.1.postgresql > 10.0.0.2.mysql: tcp 3"))
    assert (header["source_port"], header["destination_port"]) == (5432, 3306)


@pytest.mark.parametrize(
    ("pair", "is_named"),
    [
        ("client.example.com.50000 > 10.0.0.2.80", True),
        ("10.0.0.1.50000 > db-1.internal.postgresql", True),
        ("10.0.0.1.50000 > 10.0.0.2.nobodyknows", True),
        ("10.0.0.1.50000 > 10.0.0.2.http", False),
        ("::1.50000 > 2001:db8::9.80", False),
        ("10.0.0.1.50000 > 10.0.0.999.80", False),
    ],
)
def test_lines_with_names_in_place_of_numbers_are_told_from_broken_ones(pair, is_named):
    line = f"{WHEN} IP {pair}: Flags [S], seq 1, win 100, length 0"
    assert read_lines(line).file.named_lines == int(is_named)


@pytest.mark.parametrize("name", ["memcache", "memcached", "redis", "http", "https", "ssh", "domain"])
def test_names_of_common_services_need_no_table_of_the_machine(name, monkeypatch):
    def nothing(*_):
        raise OSError

    monkeypatch.setattr("socket.getservbyname", nothing)
    assert len(read_lines(f"{WHEN} IP 10.0.0.1.1 > 10.0.0.2.{name}: tcp 3").headers) == 1


@pytest.mark.parametrize("pair", ["client.example.40000 > 10.0.0.2.80", "10.0.0.1.no-such-service > 10.0.0.2.80"])
def test_a_name_that_only_the_recorder_knew_makes_the_line_unreadable(pair):
    for words in ("tcp 5", "Flags [.], ack 1, win 5, length 0"):
        reading = read_lines(f"{WHEN} IP {pair}: {words}")
        assert reading.unseen == {"unreadable_text": 1}
        assert len(reading.frames) == 0


@pytest.mark.parametrize(
    ("stamp", "ns"),
    [
        ("1257766312.341907", 1_257_766_312_341_907_000),
        ("1257766312.341907001", 1_257_766_312_341_907_001),
        ("2009-11-09 11:31:52.341907", 1_257_766_312_341_907_000),
        ("2009-11-09 11:31:52.341907001", 1_257_766_312_341_907_001),
        ("    1  2009-11-09 11:31:52.341907", 1_257_766_312_341_907_000),
    ],
)
def test_times_are_read_to_the_nanosecond(stamp, ns):
    assert only(read_lines(f"{stamp} IP {PAIR}: tcp 1"))["time_ns"] == ns


def test_times_are_utc_unless_a_zone_is_given():
    line = f"2009-07-01 12:00:00.5 IP {PAIR}: tcp 1"
    utc = only(read_lines(line))["time_ns"]
    berlin = only(read_lines(line, zone="Europe/Berlin"))["time_ns"]
    assert utc - berlin == 2 * 3600 * 10**9


def test_an_hour_that_occurs_twice_does_not_go_back_in_time():
    lines = [
        f"2009-10-25 {clock} IP {PAIR}: tcp 1" for clock in ("02:59:59.9", "02:00:00.1", "02:30:00.0", "03:00:00.0")
    ]
    times = read_lines(*lines, zone="Europe/Berlin").frames.time_ns.tolist()
    assert [(b - a) // 10**8 for a, b in itertools.pairwise(times)] == [2, 17999, 18000]


def test_local_times_are_those_of_the_machine(monkeypatch: pytest.MonkeyPatch):
    for zone in ("America/New_York", "XYZ+5"):  # by a table of zones, and by a rule of its own
        monkeypatch.setenv("TZ", zone)
        time.tzset()
        try:
            local = only(read_lines(f"2024-01-01 07:00:00.000000 IP {PAIR}: tcp 1", zone="local"))["time_ns"]
        finally:
            monkeypatch.undo()
            time.tzset()
        assert local == only(read_lines(f"2024-01-01 12:00:00.000000 IP {PAIR}: tcp 1"))["time_ns"]


def test_an_unknown_zone_is_a_usage_error():
    with pytest.raises(UsageError, match="Nowhere"):
        read_lines(f"{WHEN} IP {PAIR}: tcp 1", zone="Nowhere/Land")


@pytest.mark.parametrize(
    "line",
    [
        f"16:46:02.977905 IP {PAIR}: tcp 1",
        f" 00:00:00.000012 IP {PAIR}: tcp 1",
        f"000012 IP {PAIR}: tcp 1",
        f"IP {PAIR}: tcp 1",
    ],
)
def test_times_without_a_date_are_refused_clearly(line):
    assert looks_like_text(line.encode())
    with pytest.raises(CaptureError, match="-tttt"):
        read_lines("tcpdump: listening on any", line)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("IP 10.0.0.1.53 > 10.0.0.2.4000: UDP, length 34", "not_tcp"),
        ("IP 10.0.0.1.53 > 10.0.0.2.4000: 2598* 1/3/3 A 159.18.1.3 (156)", "not_tcp"),
        ("IP 10.0.0.1 > 10.0.0.2: ICMP echo request, id 2617, seq 1579, length 80", "not_tcp"),
        ("IP 10.0.0.1 > 10.0.0.2: GREv0, length 58: IP 10.9.0.1.1 > 10.9.0.2.2: tcp 5", "truncated_frame"),
        ("IP6 fe80::1 > ff02::1: ICMP6, router advertisement, length 56", "not_tcp"),
        ("IP 10.0.0.1 > 10.0.0.2: ip-proto-6", "fragment"),
        ("IP6 fe80::1 > fe80::2: frag (1448|1448)", "fragment"),
        ("IP 10.0.0.1.1 > 10.0.0.2.2: [|tcp]", "truncated_frame"),
        ("IP [|ip]", "truncated_frame"),
        ("IP 10.0.0.1.1 > 10.0.0.2.2: Flags [S] [bad hdr length 40 - too long, > 24]", "malformed_tcp"),
        ("IP 10.0.0.1.1 > 10.0.0.2.2: tcp 37 [bad hdr length 8 - too short, < 20]", "malformed_tcp"),
        ("IP2 (invalid)", "malformed_ip"),
        ("ARP, Request who-has 10.0.0.1 tell 10.0.0.2, length 46", "not_ip"),
        ("Loopback, skipCount 0, Reply, receipt number 0, data (40 octets)", "not_ip"),
        ("IP host.example.1 > 10.0.0.2.2: Flags [.], ack 1, win 5, length 0", "unreadable_text"),
        ("IP 10.0.0.1.1 > 10.0.0.2.2: Flags [P.], seq 1:3, ack", "unreadable_text"),
    ],
)
def test_what_is_no_segment_is_counted_as_what_it_is(words, reason):
    reading = read_lines(f"{WHEN} {words}")
    assert len(reading.headers) == 0
    assert reading.unseen == {reason: 1}


def test_fragments_are_told_by_the_verbose_header():
    reading = read_lines(
        f"{WHEN} IP (tos 0x0, ttl 63, id 1, offset 0, flags [+], proto TCP (6), length 92)",
        f"    {PAIR}: Flags [P.], seq 7:47, ack 5, win 289, length 40",
    )
    assert reading.unseen == {"fragment": 1}


def test_what_tcpdump_says_of_itself_is_not_unreadable_and_its_drops_are_counted():
    reading = read_lines(
        "tcpdump: verbose output suppressed, use -v[v]... for full protocol decode",
        "listening on any, link-type LINUX_SLL2 (Linux cooked v2), snapshot length 262144 bytes",
        "",
        f"{WHEN} IP {PAIR}: tcp 1",
        "^C1 packet captured",
        "5 packets received by filter",
        "3 packets dropped by kernel",
        "2 packets dropped by interface",
    )
    assert len(reading.headers) == 1
    assert reading.unseen == {"kernel_drop": 3, "interface_drop": 2}


def test_interfaces_are_named_and_numbered_as_they_come():
    reading = read_lines(
        f"{WHEN} eth0  In  IP {PAIR}: tcp 1",
        f"{WHEN} lo    In  IP {PAIR}: tcp 2",
        f"{WHEN} eth0  Out IP {PAIR}: tcp 3",
    )
    assert reading.frames.interface_id.tolist() == [0, 1, 0]
    assert [i.name for i in reading.file.interfaces] == ["eth0", "lo"]


def test_what_is_not_printed_to_tell_copies_by_is_neutral():
    words = f"IP {PAIR}: Flags [P.], seq 10:36, ack 1, win 512, length 26"
    reading = read_lines(
        f"{WHEN} eth0  In  IP {PAIR}: Flags [P.], seq 5000:5010, ack 9001, win 512, length 10",
        f"{WHEN} veth7 Out {words}",
        f"{WHEN} eth0  In  {words}",
    )
    assert reading.headers.ip_id.tolist() == [0, 0, 0]
    assert reading.headers.checksum.tolist() == [0, 0, 0]
    assert reading.headers.sequence_number.tolist() == [5000, 5010, 5010]
    assert read_lines(f"{WHEN} IP {PAIR}: tcp 26").headers.ip_id.tolist() == [0]


def test_numbers_are_made_absolute_from_the_first_line_of_a_connection_on():
    reading = read_lines(
        f"{WHEN} IP 10.0.0.1.5 > 10.0.0.2.80: Flags [S], seq 4000000000, win 1, length 0",
        f"{WHEN} IP 10.0.0.2.80 > 10.0.0.1.5: Flags [S.], seq 77, ack 4000000001, win 1, length 0",
        f"{WHEN} IP 10.0.0.1.5 > 10.0.0.2.80: Flags [.], ack 1, win 1, length 0",
        f"{WHEN} IP 10.0.0.1.5 > 10.0.0.2.80: Flags [P.], seq 1:301, ack 1, win 1, length 300",
        f"{WHEN} IP 10.0.0.2.80 > 10.0.0.1.5: Flags [.], ack 301, win 1, length 0",
        f"{WHEN} IP 10.0.0.1.5 > 10.0.0.2.80: Flags [R], seq 4000000301, win 0, length 0",
    )
    first = 4000000000
    assert reading.headers.sequence_number.tolist() == [first, 77, first + 1, first + 1, 78, first + 301]
    assert reading.headers.acknowledgment_number.tolist() == [0, first + 1, 78, 78, first + 301, 0]


def test_text_is_recognised_and_other_text_is_not():
    assert looks_like_text(f"{WHEN} IP {PAIR}: tcp 1\n".encode())
    assert looks_like_text(f"    1  {WHEN} IP {PAIR}: Flags [S], seq 1, win 512, length 0\n".encode())
    assert looks_like_text(f"\n\ntcpdump: listening on eth0\n{WHEN} ARP, Request".encode())
    assert not looks_like_text(b"     0 1257766312.341907 1257766312.342907  0.001000 10.0.0.1:5000\n")
    assert not looks_like_text(b"2024-01-01 12:00:00.123 INFO started\n2024-01-01 12:00:01.123 INFO ready\n")
    assert not looks_like_text(b"# Time: 2009-04-12\nSELECT 1;\n")
    assert not looks_like_text(f"\0{WHEN} IP {PAIR}: tcp 1\n".encode())
    assert not looks_like_text(b"")


def test_lines_may_end_with_carriage_return_and_line_feed():
    text = f"{WHEN} IP {PAIR}: tcp 7\r\n{WHEN} IP {PAIR}: Flags [.], ack 1, win 5, length 0\r\n"
    reading = read(text.encode())
    assert reading.unseen == {}
    assert reading.headers.payload_bytes.tolist() == [7, 0]
