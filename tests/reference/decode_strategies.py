"""Frames that Hypothesis makes up: whole ones of every link type, and what is left when something bent them."""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st

from tcpsight.tables import LINK_TYPE_TEXT_LENGTHS, Frames
from tests.reference.decode_records import LINKS
from tests.support import layers
from tests.support.encapsulations import CASES
from tests.support.layers import IPV4, IPV6, MPLS, Typed, ethernet, typed

RAW_LINK_TYPES = (12, 14, 101, LINK_TYPE_TEXT_LENGTHS)
LINK_TYPES = (1, 0, 108, 113, 228, 229, 276, *RAW_LINK_TYPES)
EVERY_LINK_TYPE = tuple(LINKS)
TAGS = (0x8100, 0x88A8, 0x9100, 0x9200)
EXTENSION_HEADERS = (0, 43, 44, 51, 60, 135, 139, 140)


class Piece(NamedTuple):
    """One frame: its captured bytes and what its record says of it."""

    data: bytes
    wire_bytes: int
    link_type: int


# True in one of eight; Hypothesis likes the ends of a range, so the rare case lies inside.
RARELY = st.integers(0, 7).map(lambda n: n == 5)


def filler(size: int) -> st.SearchStrategy[bytes]:
    """Give bytes that differ from their neighbours: cheaper than drawing each, and as good where no value matters."""
    return st.integers(0, 255).map(lambda seed: bytes((seed + 37 * i) & 255 for i in range(size)))


def words(count: int) -> st.SearchStrategy[bytes]:
    return filler(4 * count)


def option(kind: int, length: int) -> st.SearchStrategy[bytes]:
    return filler(length - 2).map(lambda value: bytes([kind, length]) + value)


def tcp_options() -> st.SearchStrategy[bytes]:
    """Options as stacks write them, and loose bytes; padded to whole words."""
    good = st.sampled_from(
        [(2, 4), (3, 3), (4, 2), (5, 10), (5, 18), (5, 26), (5, 34), (5, 14), (8, 10), (30, 12), (254, 2)]
    )
    one = st.one_of(good.flatmap(lambda shape: option(*shape)), st.just(b"\1"), st.just(b"\1\1"), st.just(b"\0"))
    loose = st.tuples(st.integers(0, 9), st.integers(0, 40)).map(bytes)
    aligned = words(2).map(lambda value: b"\1\1\x08\x0a" + value)
    stacks = st.lists(st.one_of(one, one, one, loose, st.binary(max_size=5)), max_size=6).map(b"".join)
    return st.one_of(aligned, stacks.map(lambda o: (o + bytes(-len(o) % 4))[:40]))


@st.composite
def tls_records(draw: st.DrawFn) -> bytes:
    """Give what may be TLS records, whole or cut."""
    parts = []
    for _ in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from((22, 20, 21, 23, 23, 23, 24)))
        version = draw(st.sampled_from((0x0303, 0x0303, 0x0303, 0x0301, 0x0305, 0x0203)))
        length = draw(st.sampled_from((1, 19, 26, 53, 53, 69, 0, 517, 2**14 + 2048, 2**14 + 2049)))
        length = 1 if kind == 20 and draw(st.booleans()) else length
        message = draw(st.sampled_from((0, 1, 2, 11, 16, 20)))
        body = bytes([message]) + bytes(max(length - 1, 0))
        parts.append(struct.pack(">BHH", kind, version, length) + body[: min(length, 80)])
    return b"".join(parts)[: draw(st.sampled_from((400, 400, 400, 6, 5, 11)))]


@st.composite
def tcp_segments(draw: st.DrawFn) -> bytes:
    options = draw(tcp_options())
    words_of_header = draw(st.integers(0, 15)) if draw(RARELY) else 5 + len(options) // 4
    flags = draw(st.integers(0, 0xFFF))
    head = draw(words(3)) + struct.pack(">H", words_of_header << 12 | flags) + draw(words(2))[:6]
    return head + options + draw(st.integers(0, 20).map(bytes) | tls_records())


@st.composite
def extension_headers(draw: st.DrawFn, behind: int) -> tuple[int, bytes]:
    """Give the first next-header value, and a chain of extension headers that ends in `behind`."""
    chain = b""
    for kind in draw(st.lists(st.sampled_from(EXTENSION_HEADERS), max_size=10)):
        size = draw(st.integers(0, 3))
        body = draw(words(2 if kind == 44 else 1 + size if kind == 51 else 2 + 2 * size))
        body = bytes([behind, size]) + body[2:]
        if kind == 44 and not draw(RARELY):
            body = body[:2] + bytes([0, draw(st.sampled_from([0, 2, 4, 6]))]) + body[4:]
        if kind == 51:
            body = bytes([behind, size]) + draw(words(2 + size))[2:]
        chain, behind = body + chain, kind
    return behind, chain


@st.composite
def ip_packets(draw: st.DrawFn) -> bytes:
    payload = draw(tcp_segments())
    protocol = draw(st.sampled_from([17, 51, 0, 59, 50])) if draw(RARELY) else 6
    lie = draw(st.sampled_from(["zero", "any"])) if draw(RARELY) else None
    if draw(st.booleans()):
        if draw(st.booleans()):
            protocol, chain = draw(extension_headers(protocol))
            payload = chain + payload
        length = len(payload) if lie is None else 0 if lie == "zero" else draw(st.integers(0, 0xFFFF))
        return struct.pack(">IHBB", 6 << 28, length, protocol, draw(st.integers(0, 255))) + draw(words(8)) + payload
    if protocol == 51:
        payload = struct.pack(">BBxx", draw(st.sampled_from([6, 6, 6, 0, 17])), 2) + draw(words(3)) + payload
    options = draw(st.integers(0, 10).flatmap(words)) if draw(RARELY) else b""
    size = draw(st.integers(0, 15)) if draw(RARELY) else 5 + len(options) // 4
    total = 20 + len(options) + len(payload)
    length = total if lie is None else 0 if lie == "zero" else draw(st.integers(0, 0xFFFF))
    fragment = draw(st.integers(0, 0xFFFF)) if draw(RARELY) else draw(st.sampled_from([0, 0x4000, 0x8000]))
    head = struct.pack(">BBHHHBB", 0x40 | size, 0, length, draw(st.integers(0, 0xFFFF)), fragment, 64, protocol)
    return head + draw(words(2))[:2] + draw(words(2)) + options + payload


@st.composite
def link_headers(draw: st.DrawFn, link_type: int, version: int) -> bytes:
    """Give what stands before an IP packet of this version under this link type."""
    if link_type in RAW_LINK_TYPES or link_type in (228, 229):
        return b""
    if link_type in (0, 108):
        family = draw(st.sampled_from([2] if version == 4 else [10, 24, 28, 30]))
        return struct.pack(draw(st.sampled_from("<>")) + "I", family)
    protocol = 0x0800 if version == 4 else 0x86DD
    tags = b""
    for tag in draw(st.lists(st.sampled_from(TAGS), max_size=10 if draw(RARELY) else 1)):
        tags, protocol = draw(words(1))[:2] + struct.pack(">H", protocol) + tags, tag
    if draw(RARELY):
        protocol = draw(st.integers(0, 0xFFFF))
    if link_type == 1:
        return draw(words(3)) + struct.pack(">H", protocol) + tags
    hardware = draw(st.sampled_from([770, 803, 824])) if draw(RARELY) else draw(st.sampled_from([1, 772, 778]))
    if link_type == 113:
        return struct.pack(">HHH8sH", 0, hardware, 6, draw(words(2)), protocol) + tags
    return struct.pack(">HHIHBB8s", protocol, 0, 3, hardware, 0, 6, draw(words(2))) + tags


FOR_ANYTHING = (
    *(lambda inner, tag=tag: layers.tagged(tag, inner) for tag in TAGS),
    lambda inner: layers.tagged(0x893F, inner, bytes(6)),
    layers.backbone,
    layers.fabricpath,
    layers.trill,
    layers.macsec,
    layers.gre,
    lambda inner: layers.gre(inner, 0x3000, 6),
    lambda inner: layers.gre(inner, 0x8000),
    lambda inner: layers.erspan(inner, 2),
    lambda inner: layers.erspan(inner, 4),
    layers.vxlan,
    layers.geneve,
    lambda inner: layers.geneve(inner, bytes(8), 6),
    layers.l2tp3,
    lambda inner: layers.l2tp3(inner, bytes(8), is_udp=True),
    layers.tzsp,
)
FOR_IP = (
    layers.labelled,
    lambda inner: layers.labelled(inner, 5),
    layers.pseudowire,
    layers.pppoe,
    layers.multilink,
    layers.nsh,
    layers.ip_in_ip,
    lambda inner: layers.ip_in_ip(inner, 6),
    layers.pptp,
    layers.vxlan_gpe,
    layers.gtp,
    lambda inner: layers.gtp(inner, ((0x85, b"\1\2"), (0xC0, b"\3\4" + bytes(4)))),
    layers.teredo,
    layers.l2tp,
    lambda inner: layers.l2tp(inner, 0x4A02),
)
FOR_LABELS = (layers.pppoe, layers.nsh, lambda inner: layers.over_udp(6635, inner.data))


@st.composite
def packed(draw: st.DrawFn, inner: Typed) -> tuple[int, bytes]:
    """Put headers before a packet, one kind after another; give the link type that the last one needs."""
    for _ in range(draw(st.integers(0, 14 if draw(RARELY) else 4))):
        fitting = FOR_ANYTHING
        if inner.protocol in (IPV4, IPV6):
            fitting += FOR_IP
        elif inner.protocol == MPLS:
            fitting += FOR_LABELS
        inner = draw(st.sampled_from(fitting))(inner)
    kind = draw(st.integers(0, 3))
    if kind == 0:
        return 127, layers.radiotap(layers.wifi(inner), draw(st.sampled_from([0, 0, 0, 0x10, 0x20, 0x40])))
    if kind == 1 and inner.protocol in (IPV4, IPV6, MPLS):
        return 9, layers.ppp(inner, framing=b"\xff\3").data
    return 1, ethernet(inner).data


def linked_packets(packet: bytes) -> st.SearchStrategy[tuple[int, bytes]]:
    """Put a link header before a packet."""
    version = packet[0] >> 4
    fitting = [t for t in LINK_TYPES if t not in ((229,) if version == 4 else (228,))]
    return st.sampled_from(fitting).flatmap(
        lambda link_type: link_headers(link_type, version).map(lambda head: (link_type, head + packet))
    )


@st.composite
def pieces(draw: st.DrawFn) -> Piece:
    """Give a frame: made well, then perhaps padded, cut, misreported or mutated."""
    made = st.sampled_from(list(CASES.values())).map(lambda case: (case.link_type, case.data))
    plain, nested = ip_packets().flatmap(linked_packets), ip_packets().map(typed).flatmap(packed)
    link_type, whole = draw(st.one_of(plain, nested, made))
    data = bytearray(whole)
    if draw(RARELY):
        data += bytes(draw(st.integers(1, 12)))
    if draw(RARELY):
        for at in draw(st.lists(st.integers(0, len(data) - 1), max_size=3)):
            data[at] = draw(st.integers(0, 255))
    if draw(RARELY):
        link_type = draw(st.one_of(st.sampled_from(EVERY_LINK_TYPE), st.integers(0, 0xFFFF)))
    wire_bytes = len(data)
    if draw(RARELY):
        wire_bytes = draw(st.one_of(st.integers(0, 120), st.sampled_from([2**16, 2**31 - 1, 2**31 + 60, 2**32 - 1])))
    if draw(RARELY):
        del data[draw(st.integers(0, len(data))) :]
    return Piece(bytes(data), wire_bytes, link_type)


def fragment(version: int, number: int, begin: int, data: bytes, *, is_last: bool) -> bytes:
    """Give an IP packet with one fragment of a packet with TCP."""
    if version == 4:
        bits = begin >> 3 | (0 if is_last else 0x2000)
        head = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(data), number, bits, 64, 6, 0, b"abcd", b"efgh")
        return head + data
    head = struct.pack(">IHBB16s16s", 6 << 28, 8 + len(data), 44, 64, b"a" * 16, b"b" * 16)
    return head + struct.pack(">BBHI", 6, 0, begin | (not is_last), number) + data


def halves(number: int) -> tuple[bytes, bytes]:
    """Give the two frames of a small segment."""
    segment = struct.pack(">HHIIBBHHH", number, 80, 1, 2, 0x50, 0x18, 9, 9, 0) + bytes(12)
    both = fragment(4, number, 0, segment[:16], is_last=False), fragment(4, number, 16, segment[16:], is_last=True)
    return bytes(12) + b"\x08\0" + both[0], bytes(12) + b"\x08\0" + both[1]


@st.composite
def fragments(draw: st.DrawFn) -> bytes:
    """Give one of the few fragments there are: most often one that fits others."""
    version, number = draw(st.sampled_from([4, 4, 6])), draw(st.integers(1, 2))
    size = draw(st.sampled_from([40, 40, 40, 44, 1480]))
    options = draw(st.sampled_from([0, 0, 2, 9]))
    segment = struct.pack(">HHIIBBHHH", number, 80, 1, 2, 0x50 + (options << 4), 0x18, 9, 9, 0)
    segment += bytes([draw(st.integers(0, 3))]) * (size - 20)
    begin = draw(st.sampled_from([0, 0, 8, 16, 16, 24]))
    end = draw(st.sampled_from([16, 16, 24, size, size]))
    if begin >= end:
        begin, end = 0, begin or 16
    is_last = (end == size) != draw(RARELY)
    packet = fragment(version, number, begin, segment[begin:end], is_last=is_last)
    if draw(RARELY):
        packet = fragment(version, number, draw(st.integers(0, 8191)) << 3, segment[begin:end], is_last=is_last)
    return packet


@st.composite
def fragment_batches(draw: st.DrawFn) -> Frames:
    """Give batches of fragments, some of them in tunnels, cut, on other interfaces or much later."""
    made = []
    for packet in draw(st.lists(fragments(), max_size=12)):
        inner = typed(packet)
        if draw(RARELY):
            inner = layers.gre(inner) if draw(st.booleans()) else layers.ip_in_ip(inner)
        data = ethernet(inner).data
        held = draw(st.integers(14, len(data))) if draw(RARELY) else len(data)
        made.append(Piece(data[:held], len(data), 1))
    frames = frames_of(made)
    frames.interface_id[:] = [int(draw(RARELY)) for _ in made]
    steps = st.sampled_from([0, 1, 10**9, 10**9, 29 * 10**9, 31 * 10**9, -(10**9), -(31 * 10**9)])
    frames.time_ns[:] = np.cumsum([draw(steps) if draw(RARELY) else 1000 for _ in made])
    return frames


def frames_of(made: list[Piece], gap: int = 0) -> Frames:
    """Lay frames out in one buffer, `gap` bytes apart, numbered from 1."""
    frames = Frames.allocate(len(made))
    data = bytearray()
    for i, piece in enumerate(made):
        data += b"\x45" * gap
        frames.rows[i] = (
            i + 1,
            1000 * i,
            len(data),
            i + 7,
            len(piece.data),
            piece.wire_bytes,
            i % 3,
            piece.link_type,
            5,
        )
        data += piece.data
    frames.data = bytes(data)
    return frames


def frame_batches() -> st.SearchStrategy[Frames]:
    """Give batches of such frames."""
    return st.builds(frames_of, st.lists(pieces(), max_size=4), st.integers(0, 20))
