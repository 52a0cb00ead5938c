"""What a running watch measured of a service: the lines that ``tcpsight watch --json`` writes, read from their end."""

from __future__ import annotations

import ipaddress
import json
import os
from typing import Any, NamedTuple

from tcpsight.endpoints import packed_address
from tcpsight.errors import UsageError

TAIL_BYTES = 1 << 20
"""So much of the end of a file is read: hundreds of slices of dozens of services."""

_TIMES = ("response_time_p50_ns", "response_time_p99_ns")

Service = tuple[bytes, int]
"""Address in 16 bytes, IPv4 in the last four, and port."""


class Measured(NamedTuple):
    """The last slice of a service that a watch told.

    Attributes
    ----------
    start_ns : int
        When it began.
    throughput_per_s, concurrency : float
        As in the table of intervals.
    response_time_p50_ns, response_time_p99_ns : int
        The same; −1 for unknown.
    """

    start_ns: int
    throughput_per_s: float
    concurrency: float
    response_time_p50_ns: int
    response_time_p99_ns: int


def last_slices(path: str) -> dict[Service, Measured]:
    """Read what a watch told last of each service.

    Lines that are no slice of a service (findings, half a line at either end) are left out.

    Parameters
    ----------
    path : str
        A file that ``tcpsight watch --json`` or ``--feed`` writes or has written.

    Raises
    ------
    UsageError
        It cannot be read, or its end holds no slice of any service.
    """
    try:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(size - TAIL_BYTES, 0))
            data = file.read(TAIL_BYTES)
    except (OSError, ValueError) as error:
        raise UsageError(f"--watch {path}: {getattr(error, 'strerror', None) or error}") from None
    found: dict[Service, Measured] = {}
    for line in data.split(b"\n"):
        if (told := _slice(line)) is not None:
            found[told[0]] = told[1]
    if not found:
        raise UsageError(f"--watch {path}: no slice of a service is in it; it takes what tcpsight watch --json writes")
    return found


def _slice(line: bytes) -> tuple[Service, Measured] | None:
    try:
        row: Any = json.loads(line)
        packed = packed_address(ipaddress.ip_address(row["server_address"]))
        rates = [float("nan" if row[name] is None else row[name]) for name in ("throughput_per_s", "concurrency")]
        p50, p99 = (-1 if row[name] is None else int(row[name]) for name in _TIMES)
        start_ns = int(row["start_ns"])
        if not all(-1 <= each < 2**63 for each in (start_ns, p50, p99)):
            return None
        return (packed, int(row["server_port"])), Measured(start_ns, rates[0], rates[1], p50, p99)
    except (ValueError, TypeError, KeyError, RecursionError, OverflowError):
        return None
