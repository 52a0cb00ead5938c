"""What TLS records a payload begins with, by their headers."""

from __future__ import annotations

import pytest

from tcpsight.tables import TLS_RECORDS
from tests.support.pcap import tcp_frame
from tests.unit.decode.frames import decode_one

ENDS = ("10.0.0.1", "10.0.0.2", 40_000, 443)


def record(kind: int, length: int, begins: bytes = b"\x00") -> bytes:
    return bytes([kind, 3, 3, *length.to_bytes(2, "big")]) + begins + bytes(length - len(begins))


HELLO, KEYS, CHANGE = record(22, 300, b"\x01"), record(22, 70, b"\x10"), record(20, 1, b"\x01")
FINISHED = record(23, 53)


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (HELLO, ("hello", 305, 0)),
        (CHANGE + HELLO, ("hello", 311, 0)),
        (CHANGE, ("change", 6, 0)),
        (KEYS + CHANGE + record(22, 40, b"\x01"), ("handshake", 126, 0)),
        (KEYS + CHANGE + record(22, 40) + record(23, 99), ("handshake", 126, 0)),
        (CHANGE + FINISHED, ("finished", 64, 0)),
        (CHANGE + record(23, 69) + record(23, 99), ("finished", 80, 0)),
        (CHANGE + record(23, 900) + record(23, 281) + FINISHED + record(23, 99), ("finished", 1255, 0)),
        (record(21, 2), ("alert", 0, 0)),
        (record(21, 26), ("alert", 0, 0)),
        (record(21, 2) + record(21, 2), ("none", 0, 0)),
        (record(23, 19), ("closing", 24, 1)),
        (record(23, 250), ("alike", 255, 1)),
        (record(23, 250) + record(23, 250), ("alike", 255, 2)),
        (record(23, 250) + record(23, 251), ("data", 0, 0)),
        (record(23, 250) + b"GET", ("data", 0, 0)),
        (record(23, 250)[:100], ("data", 0, 0)),
        (b"\x16\x02\x00\x00\x10\x01" + bytes(16), ("none", 0, 0)),
        (b"GET / HTTP/1.1", ("none", 0, 0)),
    ],
)
def test_records_tell_what_a_payload_is(payload, expected):
    header = decode_one(tcp_frame(*ENDS, payload=payload))
    assert (TLS_RECORDS[header["tls"]], int(header["tls_bytes"]), int(header["tls_records"])) == expected


def test_headers_of_records_that_were_captured_are_enough():
    whole = tcp_frame(*ENDS, payload=CHANGE + FINISHED + record(23, 99))
    header = decode_one(whole[: len(whole) - 53 - 104])
    assert (TLS_RECORDS[header["tls"]], int(header["tls_bytes"])) == ("finished", 64)
