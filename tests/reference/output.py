"""Slow, obvious twins of the output kernels: one row at a time, with the standard library."""

from __future__ import annotations

import ipaddress
import json
import math
from typing import Any

import numpy as np
from hypothesis import strategies as st

from tcpsight.tables import INT64_MIN, Column, Table, column


class Everything(Table):
    """A table with a column of every kind that an output may meet."""

    name = column("S12", "", "text from a capture")
    signed_8 = column("int8", "", "narrow", null=-1)
    signed_16 = column("int16", "B", "narrow")
    signed_32 = column("int32", "ns", "a duration", null=-1)
    signed_64 = column("int64", "epoch ns", "an instant", null=INT64_MIN)
    plain_64 = column("int64", "", "never unknown")
    unsigned_8 = column("uint8", "", "narrow")
    unsigned_16 = column("uint16", "", "a port")
    unsigned_32 = column("uint32", "", "wide", null=0)
    unsigned_64 = column("uint64", "", "widest")
    real = column("float64", "ns", "unknown if NaN or −1", null=-1)
    share_fraction = column("float64", "", "unknown if NaN")
    is_set = column("uint8", "bool", "a truth value")
    state = column("uint8", "", "an enumeration", names=("open", "closed", "half_closed"))
    known_state = column("uint8", "", "an enumeration with unknowns", null=255, names=("open", "closed"))
    client_address = column("uint8", "address", "an address", width=16)
    server_address = column("uint8", "address", "another, or none", null=0, width=16)
    ip_version = column("uint8", "", "4 or 6", internal=True)
    edges = column("uint32", "", "several numbers", width=3)
    padding = column("uint8", "", "", width=5, internal=True)


class Lone(Table):
    """A table whose address has no version beside it."""

    address = column("uint8", "address", "an address", width=16)
    peer = column("uint8", "address", "an address, or none", null=0, width=16)
    count = column("int64", "", "a number")


def address_text(address: bytes, version: int | None) -> str:
    """Write an address as RFC 5952 wants it; without a version ``::ffff:`` means IPv4."""
    is_mapped = address[:12] == bytes(10) + b"\xff\xff"
    if version == 6 or (not version and not is_mapped):
        # Python before 3.13 writes mapped addresses in hexadecimal.
        return f"::ffff:{ipaddress.IPv4Address(address[12:])}" if is_mapped else str(ipaddress.IPv6Address(address))
    return str(ipaddress.IPv4Address(address[12:]))


def cell(c: Column, row: np.void) -> Any:
    """Give the value that an output shows, None for unknown."""
    value = row[c.name]
    if c.is_address:
        if c.null is not None and not value.any():
            return None
        version = int(row["ip_version"]) if "ip_version" in (row.dtype.names or ()) else None
        return address_text(value.tobytes(), version)
    if c.width > 1:
        return value.tolist()
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if value != value or (c.null is not None and value == c.null):
        return None
    if c.names is not None:
        return c.names[value] if value < len(c.names) else "?"
    return bool(value) if c.is_boolean else value.item()


def records(table: Table) -> list[dict[str, Any]]:
    """Give each row as a dictionary of what outputs show."""
    return [{c.name: cell(c, row) for c in table.columns if not c.internal} for row in table.rows]


def json_lines(table: Table) -> str:
    """Write rows as JSON lines; JSON has no infinity."""
    finite = [
        {name: None if isinstance(value, float) and math.isinf(value) else value for name, value in record.items()}
        for record in records(table)
    ]
    return "".join(json.dumps(record, ensure_ascii=False, separators=(",", ":")) + "\n" for record in finite)


def csv_text(table: Table) -> str:
    """Write rows as CSV with a header line."""
    lines = [[c.name for c in table.columns if not c.internal]]
    lines += [[csv_cell(value) for value in record.values()] for record in records(table)]
    return "".join(",".join(line) + "\n" for line in lines)


def csv_cell(value: Any) -> str:
    """Write one value; RFC 4180 §2 says when it is quoted."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return " ".join(map(str, value))
    if isinstance(value, str) and (value == "" or set(value) & set(',"\r\n')):
        return '"' + value.replace('"', '""') + '"'
    return str(value)


_NAMES = (
    b"",
    b"plain",
    b'say "hi"',
    b"a,b",
    b"line\nfeed",
    b"back\\slash",
    "ü€".encode(),
    b"\xff\xfe",
    b"\x1b[31m",
    b"nul\0in",
)
_ADDRESSES = (
    bytes(16),
    bytes(15) + b"\x01",
    bytes(10) + b"\xff\xff\x0a\x00\x00\x01",
    bytes(12) + b"\x0a\x00\x00\x01",
    bytes.fromhex("20010db8000000000001000000000001"),
    bytes.fromhex("20010db8000100000001000000010001"),
    bytes.fromhex("fe80000000000000000000000000abcd"),
    bytes.fromhex("00010000000000000000000000000000"),
    b"\xff" * 16,
)


def fill(table: Table, seed: int) -> None:
    """Fill a table with values that are often special: unknown, extreme, repeated."""
    rng = np.random.default_rng(seed)
    n = len(table)
    for c in table.columns:
        values = table.rows[c.name]
        if c.is_address:
            addresses = [*_ADDRESSES, *(rng.bytes(16) for _ in range(3))]
            values[:] = np.frombuffer(b"".join(addresses), np.uint8).reshape(-1, 16)[rng.integers(0, len(addresses), n)]
        elif c.name == "ip_version":
            values[:] = rng.choice([4, 6], n)
        elif values.dtype.kind == "S":
            values[:] = np.array(_NAMES)[rng.integers(0, len(_NAMES), n)]
        elif values.dtype.kind == "f":
            reals = [np.nan, np.inf, -np.inf, -1, 0, -0.0, 0.1, 1e300, 5e-324, 1e16, 123456.789]
            values[:] = rng.choice(reals, n)
        else:
            info = np.iinfo(values.dtype)
            # An enumeration whose number has no name, too.
            numbers = [0, 1, 2, 3, 9, 10, 99, 100, info.min, info.max, c.null or 0]
            some = np.array(numbers).astype(values.dtype) if info.max < 2**63 else np.array(numbers, values.dtype)
            values[...] = rng.choice(some, values.shape)


@st.composite
def tables(draw: st.DrawFn, table_type: type[Table] = Everything, most: int = 30) -> Table:
    """Draw a table."""
    table = table_type.allocate(draw(st.integers(0, most)))
    fill(table, draw(st.integers(0, 2**32 - 1)))
    return table
