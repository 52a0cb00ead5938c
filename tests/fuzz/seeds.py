"""What mutations begin with: small captures of every format made here, and those of the corpus where it is there."""

from __future__ import annotations

import io
import lzma
import struct
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from random import Random

import pyarrow
import pyarrow.parquet

from tests.fuzz.floods import overlapping
from tests.fuzz.mutation import options, pcap_parts
from tests.fuzz.mutation_files import PACKERS
from tests.fuzz.rooms import packed_frames
from tests.reference.decode_strategies import halves
from tests.support.pcap import (
    Frame,
    Interface,
    interface_statistics,
    obsolete_packet,
    pcap_bytes,
    pcapng_bytes,
    section_header,
    simple_packet,
    tcp_frame,
)
from tests.support.traffic import MS, START_NS, Talk, answered, capture, udp_frame
from tests.support.two_points import Points

REGRESSIONS = Path(__file__).parent / "regressions"
CORPUS = Path(__file__).resolve().parents[3] / "shared" / "corpus" / "captures"
FIXTURES = Path(__file__).resolve().parents[3] / "shared" / "fixtures"
LAB = Path(__file__).resolve().parents[1] / "truth" / "lab" / "captures"
MOST_BYTES = 24_000
FRAMES_OF_EACH = 8

TEXT = b"""2023-11-14 22:13:20.000001 IP 10.0.0.1.5000 > 10.0.0.2.80: Flags [S], seq 1, win 100, options [mss 1460,sackOK,TS val 1 ecr 0,nop,wscale 7], length 0
2023-11-14 22:13:20.000002 IP 10.0.0.2.80 > 10.0.0.1.5000: Flags [S.], seq 9, ack 2, win 100, length 0
2023-11-14 22:13:20.000003 IP 10.0.0.1.5000 > 10.0.0.2.80: Flags [P.], seq 1:6, ack 1, win 100, length 5
2023-11-14 22:13:20.500003 IP 10.0.0.2.80 > 10.0.0.1.5000: Flags [P.], seq 1:101, ack 6, win 100, length 100: HTTP
1699999999.500003 IP6 ::1.80 > ::2.5000: Flags [F.], seq 1:101, ack 6, win 100, length 100
2023-11-14 22:13:21.000001 IP 10.0.0.1.5000 > 10.0.0.2.80: tcp 33
2023-11-14 22:13:22.000001 IP (tos 0x0, ttl 64, id 1, offset 0, flags [DF], proto TCP (6), length 60)
    10.0.0.1.5000 > 10.0.0.2.80: Flags [S], cksum 0x1 (correct), seq 1, win 100, length 0
\t0x0000:  4500 0028 0001 0000 4006 0000 0a00 0001
\t0x0010:  0a00 0002 1388 0050 0000 0001 0000 0002
\t0x0020:  5010 0064 0000 0000
3 packets dropped by kernel
"""  # noqa: E501

CONDITIONS = (
    "response_time_ns > 5ms",
    "server_bytes > 8kB and duration < 400ms",
    "not (state = closed or state != open)",
    "client_address = 10.0.0.0/8 and server_port in (80, 3306)",
    "start between 2023-11-14T22:13:20Z and 2024-01-01",
    "connect_ns is null or is_farewell",
    "community_id ~ '1:*'",
    "client_port >= 1024 or 1 < 2",
)
EXPRESSIONS = (
    "tcp port 3306 and host 10.0.0.1",
    "ip6 or (vlan 5 and tcp)",
    "tcp[tcpflags] & (tcp-syn|tcp-fin) != 0",
    "ether[100:4] = 0x7fffffff / 3 % 2",
    "net 10.0.0.0/8 and not port 80 and len <= 100",
    "mpls 5 and geneve and pppoes",
    "ip[6:2] & 0x1fff = 0 and greater 60",
    "portrange 1-65535 or proto 6 or ip protochain 6",
)
WORDS = (
    "[::1]:80",
    ":3306",
    "10.0.0.1:80",
    "1.5s",
    "200ms",
    "1e3s",
    "10min",
    "auto",
    "2026-05-01T12:00",
    "1700000000.5",
    "Europe/Vienna",
    "request_first,response_last",
    "yesterday",
    "now",
    "-1",
    "UTC",
)


@cache
def made() -> tuple[bytes, ...]:
    """Give a small capture of each format, the same every time."""
    talks = [Talk(answered(1, 5, 20)), Talk(answered(2), client_port=40_001, is_closed=False)]
    six = Talk(answered(3), client="2001:db8::1", server="2001:db8::9", client_port=40_002, server_port=80)
    frames = [*capture([*talks, six]), udp_frame()]
    hard = [*frames, *_with_options()]
    interfaces = [Interface(1, 9, name="eth0"), Interface(1, None, 5, name="a\x1b[31m")]
    blocks = pcapng_bytes(frames[:20], interfaces=interfaces) + simple_packet(frames[3].data)
    blocks += obsolete_packet(frames[4], 5) + interface_statistics(0, kernel_drops=4, interface_drops=2)
    raw = [Frame(f.time_ns, f.data[14:]) for f in frames]
    plain = [
        pcap_bytes(hard),
        pcap_bytes(frames, endian=">", nanoseconds=True),
        pcap_bytes(raw, link_type=101),
        blocks,
        blocks + pcapng_bytes(frames[:5], endian=">"),
        section_header(),
        TEXT,
        snoop(frames),
        erf(frames),
        netmon(frames),
    ]
    return (*plain, *(pack(plain[0]) for pack in PACKERS))


def _with_options() -> list[Frame]:
    chance = Random(1)
    ends = ("10.0.0.1", "10.0.0.9", 40_005, 80)
    return [
        Frame(START_NS + i * MS, tcp_frame(*ends, 100 * i, 5, "PA", bytes(50), options=options(chance)))
        for i in range(6)
    ]


def snoop(frames: list[Frame]) -> bytes:
    parts = [b"snoop\0\0\0" + struct.pack(">II", 2, 4)]
    for f in frames:
        size = len(f.data)
        seconds, ns = divmod(f.time_ns, 10**9)
        pad = -size % 4
        parts.append(struct.pack(">IIIIII", size, size, 24 + size + pad, 0, seconds, ns // 1000) + f.data + bytes(pad))
    return b"".join(parts)


def erf(frames: list[Frame]) -> bytes:
    parts = []
    for f in frames:
        seconds, ns = divmod(f.time_ns, 10**9)
        head = struct.pack("<IIBBHHH", (ns << 32) // 10**9, seconds, 2, 4, 0, 0, 0)
        parts.append(head[:10] + struct.pack(">HHH", 18 + len(f.data), 0, len(f.data)) + bytes(2) + f.data)
    return b"".join(parts)


def netmon(frames: list[Frame]) -> bytes:
    records = [struct.pack("<QII", f.time_ns // 1000 % 2**30, len(f.data), len(f.data)) + f.data for f in frames]
    offsets, at = [], 128
    for record in records:
        offsets.append(at)
        at += len(record)
    head = b"GMBU" + struct.pack("<BBH8H2I", 0, 2, 1, 2020, 9, 2, 15, 12, 34, 56, 789, at, 4 * len(records))
    return head.ljust(128, b"\0") + b"".join(records) + struct.pack(f"<{len(offsets)}I", *offsets)


@cache
def captures() -> tuple[bytes, ...]:
    """Give captures to begin with: those made here, and the small ones of the corpus."""
    paths = [*sorted(CORPUS.rglob("*")), *sorted((FIXTURES / "tcpdump-text").rglob("*"))]
    found = [path.read_bytes() for path in paths if path.is_file() and path.stat().st_size <= MOST_BYTES]
    return (*made(), *found)


def frames(contents: Sequence[bytes]) -> tuple[bytes, ...]:
    """Give the first frames of classic captures, packed."""
    found = []
    for content in contents:
        parts = pcap_parts(content)
        if parts is not None and parts[2]:
            link_type = struct.unpack_from(parts[0] + "H", parts[1], 20 if parts[0] == "<" else 22)[0]
            found.append(packed_frames([(link_type, r.frame) for r in parts[2][:FRAMES_OF_EACH]]))
    # Frames are dealt out to three interfaces, and fragments belong together on one.
    found.append(packed_frames([(1, half) for number in (1, 2) for half in halves(number) for _ in range(3)]))
    return tuple(found)


def headers() -> tuple[bytes, ...]:
    """Give programs that make headers."""
    chance = Random(2)
    orderly = [
        b"".join(bytes([i % 2, 4 * (i % 2), i % 6, 3 + i % 4]) + bytes(11) + b"\0" for i in range(n))
        for n in (4, 20, 100)
    ]
    return (*orderly, *(chance.randbytes(16 * n) for n in (1, 5, 20, 60, 200)))


def exchanges() -> tuple[bytes, ...]:
    """Give programs of exchanges, as `judging.exchanges_in` reads them: a policed one, a shaped one, any."""
    begin = bytes([4, 0, 0, 0, 1, 0, 4 | 8, 0, 30, 0, 1, 0, 3, 0, 1, 0, 1, 0, 7, 0, 1, 100, 1, 0])
    policed = begin + bytes([8, 59, 3, 0, 1, 0, 3, 0, 30, 0, 1, 0]) * 2
    policed += bytes([8, 9, 15, 0, 1, 0, 2 | 8, 3, 15, 0, 1, 0, 3, 3, 40, 0, 1, 0, 1 | 8, 1, 20, 16, 1, 0]) * 12
    shaped = begin + bytes([8, 0, 11, 0, 1, 0, 3, 0, 3, 0, 1, 0]) * 90
    ended = bytes([5, 0, 9, 0, 1, 0, 5 | 8, 0, 9, 0, 1, 0])
    chance = Random(3)
    return (policed, shaped, policed + shaped + ended, *(chance.randbytes(6 * n) for n in (5, 30, 100)))


@cache
def lab(most_bytes: int = 60_000) -> dict[tuple[str, str], bytes]:
    """Give the recorded scenarios that are small, by (name, capture point)."""
    found = {(path.parent.name, path.name.split(".")[0]): path for path in sorted(LAB.glob("*/*.pcap.xz"))}
    contents = {key: lzma.decompress(path.read_bytes()) for key, path in found.items()}
    return {key: content for key, content in contents.items() if len(content) <= most_bytes}


def judged() -> tuple[bytes, ...]:
    """Give captures in which there is something to find."""
    return (*made(), *(content for (_, point), content in lab().items() if point != "middle"))


def spoken() -> tuple[bytes, ...]:
    """Give captures with payload: overlaps, holes, probes, frames that were cut."""
    frames = overlapping(Random(4))
    cut = [Frame(f.time_ns, f.data[:-20] if len(f.data) > 100 else f.data, wire_bytes=len(f.data)) for f in frames]
    lacking = [f for i, f in enumerate(frames) if i % 3]
    return (*made(), *map(pcap_bytes, (frames, cut, lacking)))


def pairs() -> tuple[bytes, ...]:
    """Give two captures of the same traffic, packed as `told.run_split` reads them."""
    points = (
        Points().several(3, 2),
        Points(seed=2, loss=0.1, jitter_ns=MS).several(2, 8),
        Points(seed=3, offset_ns=-(10**9), drift_ppm=50, translated=("192.0.2.7", 100), ip_ids=False).several(4, 3),
        Points(seed=4, set_ns={40 * MS: 10**9}).several(2, 10),
    )
    both = [each.captures() for each in points]
    kept = lab(20_000)
    both += [
        (kept[name, "client"], kept[name, "server"])
        for name, _ in kept
        if {(name, "client"), (name, "server")} <= {*kept}
    ]
    return tuple(len(ours).to_bytes(4, "little") + ours + theirs for ours, theirs in dict.fromkeys(both))


def tables() -> tuple[bytes, ...]:
    """Give tables of concurrency and throughput, each behind the byte that chooses its columns."""
    rows = [(n, 1000 * n / (1 + 0.03 * (n - 1) + 0.0002 * n * (n - 1))) for n in range(1, 25)]
    plain = "\n".join(f"{n} {x:.1f}" for n, x in rows)
    begin = "start_ns,length_ns,is_partial,is_gap,arrivals,concurrency,throughput_per_s"
    series = "\n".join(
        f"{10**18 + i * 10**9},1000000000,{i % 9 == 0:d},0,5,{n},{x:.3f}" for i, (n, x) in enumerate(rows)
    )
    named = "clients;tps\n" + plain.replace(" ", ";")
    parquet = io.BytesIO()
    columns = {"concurrency": [float(n) for n, _ in rows], "throughput_per_s": [x for _, x in rows]}
    pyarrow.parquet.write_table(pyarrow.table(columns), parquet)
    texts = (plain, f"# measured\n{plain}", f"{begin}\n{series}", named, "1 0\n2 1e-300\n-3 4\nnan inf\n", "n x\n")
    return (*(bytes([4 * (i == 3)]) + text.encode() for i, text in enumerate(texts)), b"\0" + parquet.getvalue())


def programs() -> tuple[bytes, ...]:
    """Give programs of capture filters, as `run_program` reads them."""
    load, jump, give = struct.pack("=HBBI", 0x28, 0, 0, 12), struct.pack("=HBBI", 0x15, 0, 1, 2048), [6, 0, 0, 9]
    ends = struct.pack("=HBBI", *give)
    frame = tcp_frame("10.0.0.1", "10.0.0.9", 1, 80, payload=bytes(20))
    parts = [b"\4" + load + jump + ends + ends, b"\1" + ends, b"\2" + struct.pack("=HBBI", 0xB1, 0, 0, 14) + ends]
    return tuple(part + frame for part in parts)


def packed() -> tuple[bytes, ...]:
    """Give compressed data."""
    return tuple(pack(content) for pack in PACKERS for content in (b"", b"abc", bytes(100_000), made()[0]))
