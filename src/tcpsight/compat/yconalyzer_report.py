"""The report of yconalyzer, byte for byte.

Averages are whole numbers, and each table has quirks of its own. Percentages and throughputs were computed with C's
``float``, and are so here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from tcpsight.compat.yconalyzer_accounting import CLOSING, CONNECTED, Accounting, Bucket, address, milliseconds
from tcpsight.compat.yconalyzer_options import IN_PROGRESS_LAYOUT, OLD_LAYOUT, Options

DISCARDED_AFTER = 4
"""SYN-ACKs after which a server has given a connection up."""

HEADS = {
    "duration": (
        "  Duration       NumConns        AvClient    AvServer   EstRtt  AvThruput\n"
        "  (msecs)                        (bytes)     (bytes)    (msecs)  (KB/s)\n"
    ),
    "throughput": (
        "Throughput      NumConns    AvgClient   AvgServer  AvgDuration   EstRTT\n"
        "   KB/s                      (bytes)     (bytes)     (msecs)    (msecs)\n"
    ),
    "client bytes": (
        "ClientBytes    NumConns        AvClient  AvServer  AvDuration EstRtt  AvThruput\n"
        "     (KB)                     (bytes)    (bytes)   (msecs)  (msecs)  (KB/s)\n"
    ),
}
HEADS["server bytes"] = HEADS["client bytes"].replace("Client", "Server", 1)

DRILLED = {
    "duration": ("duration was ", "msecs"),
    "throughput": ("throuput was ", "KB/sec"),
    "client bytes": ("client sent data ", "KB"),
    "server bytes": ("client sent data ", "KB"),
}

RULE = "===========\n"


def considered(options: Options) -> Iterator[str]:
    """Give the lines that repeat the limits."""
    for size, text in (
        (options.most_client_bytes, "client sends < {} bytes to the server"),
        (options.most_server_bytes, "server sends < {} bytes to the client"),
        (options.least_client_bytes, "clients sends > {} bytes to the server"),
        (options.least_server_bytes, "server sends > {} bytes to the client"),
    ):
        if size:
            yield f"Considering connections where {text.format(size)}\n"


def report(accounting: Accounting, options: Options) -> Iterator[str]:
    """Give the report, in pieces.

    Parameters
    ----------
    accounting : Accounting
        All that was counted; its `last_us` is the end of the capture.
    options : Options
        What was asked for.
    """
    if options.layout == IN_PROGRESS_LAYOUT:
        yield from _in_progress(accounting, options)
        return
    seconds = milliseconds(accounting.since_us, accounting.last_us) / 1000
    yield f"Results of monitoring port {options.port} for {seconds:f} seconds\n"
    if options.layout == OLD_LAYOUT:
        yield from _summary(accounting, is_old=True)
        yield "\n"
        return
    yield f"Start time: {time.ctime(accounting.first_us // 10**6)}\n"
    yield f"End time: {time.ctime(accounting.last_us // 10**6)}\n"
    yield from _summary(accounting, is_old=False)
    yield "\n\n"
    yield from _table(accounting, options)


def _summary(accounting: Accounting, *, is_old: bool) -> Iterator[str]:
    total = accounting.total
    count = total.connections
    least = max(count, 1)
    dropped = [c for c in accounting.open.values() if c.state < CONNECTED]
    going = [c for c in accounting.open.values() if c.state >= CONNECTED]
    discarded = sum(c.syn_acks >= DISCARDED_AFTER for c in going)
    yield f"Total Connections{'' if is_old else ' (terminated by FIN)'}: {count}\n"
    yield f"Avg Client Data: {total.client_bytes // least} bytes\n"
    yield f"Avg Server Data: {total.server_bytes // least} bytes\n"
    yield f"Avg conn {'time' if is_old else 'duration'}: {total.duration_ms // least} msecs\n"
    if not is_old:
        yield f"Avg Round Trip Time: {total.rtt_ms // least} msecs\n"
    yield f"Total number of SYNs: {accounting.syns} (duplicates: {accounting.repeated_syns})\n"
    if not is_old:
        yield f"Connections terminated by RESET: {accounting.resets}\n"
    yield f"Number of SYNs taken to establish connections: {accounting.syns_to_establish}\n"
    if count:
        average = np.float32(accounting.syns_to_establish) / np.float32(count)
        yield f"Avg no. of SYNs to establish a connection: {average:5.2f}\n"
    unique = "that never completed" if is_old else "dropped by the server"
    yield f"Number of unique connections {unique}: {len(dropped)}\n"
    yield f"Number of SYNs from incomplete connections: {sum(c.attempts for c in dropped)}\n"
    note = "" if is_old else f" ({discarded} may have been discarded by the client)"
    yield f"Number of established connections in progress: {len(going)}{note}\n"
    if not is_old:
        yield f"Number of connections in closing state: {sum(c.state == CLOSING for c in going)}\n"
    yield "Distribution of SYNs to establsh connections (nSYNs:nConns): "
    yield from (f"{attempts}:{number}," for attempts, number in sorted(accounting.attempts.items()))


def _table(accounting: Accounting, options: Options) -> Iterator[str]:
    yield HEADS[options.kind]
    if accounting.total.connections == 0:
        yield "No connections\n"
        return
    line = _ROWS[options.kind, options.is_raw]
    rule = RULE if options.is_raw else ""
    yield rule
    for place in range(options.buckets + 1):
        yield f"{_range(place, options)}{line(_figures(accounting, place))}\n"
    yield rule
    if options.drill_low != -1:
        yield from _drilled(accounting, options)


class _Figures(NamedTuple):
    """What a row tells: whole averages; no round trip where none was estimated."""

    connections: int
    percent: np.float32
    client: int
    server: int
    duration: int
    rtt: int | None
    throughput: int
    bucket: Bucket


_EMPTY = Bucket()


def _figures(accounting: Accounting, place: int) -> _Figures:
    bucket = accounting.buckets.get(place, _EMPTY)
    count = bucket.connections
    percent = np.float32(count) * np.float32(100) / np.float32(accounting.total.connections)
    sums = (bucket.client_bytes, bucket.server_bytes, bucket.duration_ms, bucket.rtt_ms, bucket.throughput)
    client, server, duration, rtt, throughput = (total // max(count, 1) for total in sums)
    return _Figures(count, percent, client, server, duration, rtt if accounting.has_rtt else None, throughput, bucket)


def _range(place: int, options: Options) -> str:
    low = (place + options.lowest_bucket) * options.bucket_size
    high = low + options.bucket_size
    is_last = place == options.buckets
    if options.is_raw:
        return f"{low}+," if is_last else f"{low},{high},"
    width = 4 if options.kind == "throughput" else 5
    return f"{low:{width}d}+{'':{width + 3}}" if is_last else f"{low:{width}d} - {high:<{width}d} "


def _mean_throughput(of: _Figures) -> np.float32:
    return np.float32(of.bucket.throughput) / np.float32(of.connections)


def _duration_row(of: _Figures) -> str:
    head = f"{of.connections:8d}({of.percent:5.2f}%) "
    if not of.connections:
        return f"{head}     -         -         -"
    rtt = " -   " if of.rtt is None else f"{of.rtt:4d} "
    return f"{head}{of.client:8d}  {of.server:8d}      {rtt}    {_mean_throughput(of):.2f}"


def _raw_duration_row(of: _Figures) -> str:
    head = f"{of.connections},{of.percent:.2f}%,"
    if not of.connections:
        return f"{head},,,"
    rtt = "" if of.rtt is None else of.rtt
    return f"{head}{of.client},{of.server},{rtt},{_mean_throughput(of):.2f}"


def _throughput_row(of: _Figures) -> str:
    head = f"{of.connections:6d}({of.percent:5.2f}%) "
    if not of.connections:
        return f"{head}       -            -"
    rtt = "   -" if of.rtt is None else f"{of.rtt:4d}"
    return f"{head}{of.client:8d}    {of.server:8d}    {of.duration:6d}        {rtt}"


def _raw_throughput_row(of: _Figures) -> str:
    head = f"{of.connections},{of.percent:.2f}%,"
    if not of.connections:
        return f"{head},,,"
    return f"{head}{of.client},{of.server},{of.duration},{',,' if of.rtt is None else f'{of.rtt},'}"


def _bytes_row(of: _Figures) -> str:
    head = f"{of.connections:6d}({of.percent:5.2f}%)  "
    if not of.connections:
        return f"{head}     -         -         -         -       -"
    rtt = "   -    " if of.rtt is None else f"{of.rtt:4d}      "
    throughput = (of.bucket.client_bytes + of.bucket.server_bytes) // (of.bucket.duration_ms + 1)
    return f"{head}{of.client:8d}  {of.server:8d}   {of.duration:6d}     {rtt}{throughput:4d}"


def _raw_bytes_row(of: _Figures) -> str:
    head = f"{of.connections},{of.percent:.2f}%,"
    if not of.connections:
        return f"{head},,,,,,"
    # With -T no comma parts the last two numbers: whoever reads this has learnt to live with it.
    rtt = "," if of.rtt is None else of.rtt
    return f"{head}{of.client},{of.server},{of.duration},{rtt}{np.float32(of.throughput):.2f}"


_ROWS: dict[tuple[str, bool], Callable[[_Figures], str]] = {
    ("duration", False): _duration_row,
    ("duration", True): _raw_duration_row,
    ("throughput", False): _throughput_row,
    ("throughput", True): _raw_throughput_row,
    ("client bytes", False): _bytes_row,
    ("client bytes", True): _raw_bytes_row,
    ("server bytes", False): _bytes_row,
    ("server bytes", True): _raw_bytes_row,
}


def _drilled(accounting: Accounting, options: Options) -> Iterator[str]:
    what, unit = DRILLED[options.kind]
    low, high = options.drill_low, options.drill_high
    bounds = f"{low}+ {unit}" if high == -1 else f"between {low} and {high} {unit}"
    yield f"Connections for which {what}{bounds}:\n"
    for source, destination, port in accounting.drilled:
        yield f"host {address(source)} and host {address(destination)} and port {port}\n"


def _in_progress(accounting: Accounting, options: Options) -> Iterator[str]:
    if options.long_ms:
        yield accounting.long_line(accounting.last_us)
        yield f"Connections in Progress for longer than {options.long_ms} msecs:\n"
        for known in accounting.listed():
            age_ms = milliseconds(known.start_us, accounting.last_us)
            if known.state >= CONNECTED and age_ms > options.long_ms:
                yield f"{age_ms}({known.syn_acks}):host {address(known.client)} and port {known.port}\n"
    yield "Connections without SYN|ACK:\n"
    for known in accounting.listed():
        if known.state < CONNECTED:
            yield f"NOSYNACK:host {address(known.client)} and port {known.port}\n"
