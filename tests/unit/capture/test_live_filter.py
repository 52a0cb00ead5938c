"""Programs that the kernel runs let through what the expression says."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from tcpsight.capture.live_filter import INSTRUCTION, SPECIAL, live_filter
from tcpsight.errors import UsageError

LINK_TYPES = (1, 101, 276)


class Kernel:
    """A frame as the kernel shows it to a filter."""

    def __init__(self, data: bytes, *, hardware: int = 1, direction: int = 0, protocol: int = 0x0800) -> None:
        self.data = data
        self.told = {0: protocol, 4: direction, 8: 7, 28: hardware}

    def load(self, at: int, size: int) -> int | None:
        if at >= SPECIAL:
            return self.told[at - SPECIAL]
        return int.from_bytes(self.data[at : at + size], "big") if at + size <= len(self.data) else None

    def run(self, program: bytes) -> int:
        """Run a classic BPF program as its definition says."""
        code = np.frombuffer(program, INSTRUCTION).tolist()
        a = x = at = 0
        memory = [0] * 16
        while True:
            op, jt, jf, k = code[at]
            at += 1
            kind = op & 7
            if kind == 6:
                return a if op & 0x18 == 0x10 else k
            if kind == 0 or kind == 1:
                size = {0: 4, 8: 2, 16: 1}[op & 0x18]
                found = {
                    0x00: k,
                    0x20: self.load(k, size) if op & 0xE0 == 0x20 else 0,
                    0x40: self.load(x + k, size) if op & 0xE0 == 0x40 else 0,
                    0x60: memory[k & 15],
                    0x80: len(self.data),
                    0xA0: ((self.load(k, 1) or 0) & 15) * 4 if op & 0xE0 == 0xA0 else 0,
                }[op & 0xE0]
                if found is None:
                    return 0
                a, x = (found, x) if kind == 0 else (a, found)
            elif kind in (2, 3):
                memory[k] = a if kind == 2 else x
            elif kind == 4:
                by = x if op & 8 else k
                a = {0: a + by, 0x10: a - by, 0x40: a | by, 0x50: a & by, 0x60: a << by, 0x70: a >> by}[op & 0xF0]
                a &= 0xFFFFFFFF
            elif kind == 5:
                by = x if op & 8 else k
                if op & 0xF0 == 0:
                    at += k
                else:
                    holds = {0x10: a == by, 0x20: a > by, 0x30: a >= by, 0x40: bool(a & by)}[op & 0xF0]
                    at += jt if holds else jf
            else:
                a, x = (a, a) if op & 0xF8 == 0 else (x, x)


def packet(port: int = 80, protocol: int = 6) -> bytes:
    head = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 44, 0, 0x4000, 64, protocol, 0, b"\x0a\0\0\1", b"\x0a\0\0\2")
    return head + struct.pack(">HHIIHHHH", 1000, port, 1, 1, 0x5010, 1000, 0, 0) + bytes(4)


def shown(link_type: int, data: bytes, **told: int) -> Kernel:
    return Kernel(bytes(12) + b"\x08\x00" + data if link_type == 1 else data, **told)


@pytest.mark.parametrize("link_type", LINK_TYPES)
@pytest.mark.parametrize(
    ("expression", "port", "protocol", "passes"),
    [
        (None, 1, 17, True),
        ("tcp", 80, 6, True),
        ("tcp", 80, 17, False),
        ("tcp port 80", 80, 6, True),
        ("tcp port 80", 81, 6, False),
        ("ip and tcp[13] & 0x10 != 0", 80, 6, True),
        ("host 10.0.0.2 and not udp", 80, 6, True),
    ],
)
def test_the_kernel_is_given_what_the_expression_says(link_type, expression, port, protocol, passes):
    program = live_filter(expression).program(link_type, 96)
    kept = 76 if link_type == 276 else 96  # the header that is put in front of cooked frames counts
    assert shown(link_type, packet(port, protocol)).run(program) == (kept if passes else 0)


@pytest.mark.parametrize("link_type", LINK_TYPES)
@pytest.mark.parametrize("expression", [None, "tcp", "ip"])
def test_only_one_of_the_two_copies_on_loopback_passes(link_type, expression):
    program = live_filter(expression).program(link_type, 96)
    for hardware, direction, passes in ((772, 0, True), (772, 4, False), (1, 4, True), (1, 0, True)):
        told = {"hardware": hardware, "direction": direction}
        assert bool(shown(link_type, packet(), **told).run(program)) == passes


def test_what_asks_for_tags_is_looked_at_where_the_tags_are():
    wanted = live_filter("vlan and tcp")
    assert Kernel(bytes(20)).run(wanted.program(1, 96)) == 96


@pytest.mark.parametrize(
    ("expression", "told"),
    [
        ("foo bar baz", "syntax error"),
        ("tcp and", "syntax error"),
        ("ip and ip6", "it can match nothing on this interface"),
        ("port 99999999", "illegal port"),
        ("a\0b", "NUL"),
        ("vlan and inbound", "inbound/outbound not supported with vlan"),
        ("\udcff", "not UTF-8"),
    ],
)
def test_a_filter_that_cannot_be_is_told_in_a_line(expression, told):
    with pytest.raises(UsageError, match=told) as error:
        live_filter(expression).program(1, 96)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("expression", [None, "", "  "])
def test_no_words_let_everything_through(expression):
    assert Kernel(b"").run(live_filter(expression).program(1, 96)) == 96
