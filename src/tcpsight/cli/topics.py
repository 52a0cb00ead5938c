"""What `tcpsight help` tells beside commands: how things are written that many of them take."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tcpsight.tables import Column, Table

FIRST = """\
tcpsight tells how a TCP service performs, from packet headers alone.

  What is slow, and why?          tcpsight report capture.pcap
  How does it do just now?        tcpsight watch -i eth0
  What was said, byte by byte?    tcpsight streams capture.pcap

A capture is what tcpdump, Wireshark or 'tcpsight capture -i eth0 -w now.pcapng'
has written. All commands: 'tcpsight --help'. Of one: 'tcpsight help report'.
How conditions, times and files are written: 'tcpsight help'.
"""
"""What somebody reads who has typed the name alone."""

TOPICS: dict[str, tuple[str, str]] = {
    "files": (
        "what is read and written",
        """\
Read: pcap, pcapng, snoop, ERF, Network Monitor, and the text that tcpdump
prints; plain or compressed (gzip, zstd, lz4, xz, bzip2).

  tcpsight report monday.pcap.gz            one file
  tcpsight report monday-*.pcap             several are one capture
  tcpdump -s 128 -w - tcp | tcpsight report -     a pipe
  tcpsight report growing.pcap --follow     a file that is still being written
  tcpsight report s3://bucket/day.pcap      elsewhere (tcpsight[remote])
  tcpsight report lake/                     what 'tcpsight ingest' has kept

Written: -o FILE, by its ending .csv, .jsonl, .parquet, .arrow or text; standard
output has the answer and nothing else. A file appears whole or not at all, and
never in place of what is read. A capture that is cut short gives all rows
before the cut, says why on standard error, and ends with status 2.
""",
    ),
    "services": (
        "who is the server",
        """\
Who sends the SYN is the client. Where no SYN was captured, a port below 32768
is the server's, else the lower port. --server says it, and selects:

  --server :3306              that port, on any address
  --server 10.0.0.1:3306      that one
  --server :3306 --server :80      both

The column role_source tells of each connection how its roles are known.
""",
    ),
    "conditions": (
        "--where, and 'filter' in streams",
        """\
Only rows for which it holds, about the columns of the table:

  server_bytes > 8kB and duration < 400ms
  response_time >= 1s and client_address in 10.0.0.0/8
  state in (client_reset, server_reset) or connect_attempts > 1
  connect is not null and not is_farewell

Durations are written 400ms, 1.5s, 2h10min; sizes 8kB (8000) or 8KiB (8192);
rates 10Mbit/s; instants '2024-05-01T12:00:00Z', in quotes. _ns may be left out
of a column's name. Comparisons with what is unknown are neither true nor false:
such rows are not given. 'tcpsight help COLUMN' tells what a column means.
""",
    ),
    "filters": (
        "--filter, the language of tcpdump",
        """\
Only frames that match, before anything is made of them:

  --filter 'host 10.0.0.1 and port 3306'
  --filter 'tcp[13] & 4 != 0'       segments with RST

libpcap compiles it, and must be installed. It looks at the outermost headers, and
into VLANs and MPLS only where it says so (vlan, mpls). Frames that are left out
are missing to what is measured: filter by hosts and ports, never by flags or
lengths, unless frames are all you want.
""",
    ),
    "times": (
        "durations, instants, zones",
        """\
Durations: 200ms, 1.5s, 10min, 2h10min, 250us, 1d.
Instants:  2024-05-01T12:00:00, with an offset (…+02:00, …Z) or in --timezone,
           or seconds, milliseconds, microseconds or nanoseconds since 1970.

  --since 2024-05-01T12:00:00Z --until 2024-05-01T13:00:00Z
  --timezone Europe/Berlin          of what is shown, and read without an offset

Machine formats have integer nanoseconds: since 1970 in columns that name an
instant (arrival_ns), of lengths elsewhere (response_time_ns).
""",
    ),
    "response-time": (
        "from where to where it runs",
        """\
A request is a run of client data, its response the server data that answers it.
Response time runs from the last byte of the request to the first byte of the
response, as captured: at the server it is the server's own, at the client it
includes the network. --start-end chooses other instants:

  request_first, request_last (default)
  response_first (default), response_last

Requests that a client sends without waiting for an answer are one: counts and
times are then of batches, and the report says how many there were.
""",
    ),
    "metrics": (
        "for Prometheus, OpenTelemetry, StatsD, Kafka",
        """\
While it happens, of each service: requests, response times, what waits.

  tcpsight watch -i eth0 --listen 127.0.0.1:9470      Prometheus asks there
  tcpsight watch -i eth0 --feed otlp+http://collector:4318
  tcpsight watch -i eth0 --feed statsd://127.0.0.1:8125
  tcpsight watch -i eth0 --feed kafka://broker/topic
  tcpsight watch -i eth0 --feed slices.jsonl          a line per slice

Names of all metrics: docs/reference/metrics.md; what to ask of them, and a
dashboard for Grafana: docs/how-to/metrics.md. As JSON on standard output:
'tcpsight watch --json'.
""",
    ),
    "status": (
        "exit status, and what is said where",
        """\
0    fine
1    what you asked to fail on: findings --fail-on, compare, kill, streams
2    wrong usage or unreadable input, in one line on standard error
130  interrupted; 143 ended by SIGTERM, both without an answer

Notes ('tcpsight: note: …') and progress are on standard error. A closed pipe
ends a command quietly, with 0.
""",
    ),
    "environment": (
        "variables and files of this account",
        """\
NO_COLOR          no colours on terminals
COLUMNS           how wide text is
LC_ALL            C, or what has no Unicode: text is spelt with ASCII; LANG=C or
                  LC_CTYPE=C without it are taken for nothing chosen: UTF-8
XDG_CACHE_HOME    indexes of streams (else ~/.cache), tcpsight/streams
XDG_STATE_HOME    history of streams --prompt (else ~/.local/state), tcpsight
TMPDIR            where rows are sorted that do not fit into memory
""",
    ),
    "completion": (
        "Tab in bash, zsh and fish",
        """\
An installation for all accounts (pip, a package) has put them where the shells
look. In a virtual environment, in the shell's own file:

  bash   source /path/of/venv/share/bash-completion/completions/tcpsight
  zsh    fpath=(/path/of/venv/share/zsh/site-functions $fpath); compinit
  fish   source /path/of/venv/share/fish/vendor_completions.d/tcpsight.fish

Manual pages are beside them: man -M /path/of/venv/share/man tcpsight-report
""",
    ),
}
"""Each topic's title and text."""

ROWS: dict[str, tuple[str, ...]] = {
    "requests": ("Requests",),
    "intervals": ("Intervals", "KeyedIntervals"),
    "connections": ("Connections",),
    "findings": ("Findings",),
    "network": ("Network",),
    "split": ("SplitRequests",),
    "buckets": ("Buckets", "BucketConnections"),
    "segments": ("SegmentDetails", "LadderSegments"),
    "sockets": ("Sockets",),
    "kill": ("Sockets", "Connections"),
}
"""The tables whose rows a command gives or chooses."""

FURTHER: dict[str, tuple[str, ...]] = {
    "requests --account": ("AccountedRequests",),
    "sql": ("Unanswered", "Policed", "Sketches", "Unseen"),
}
"""Tables that have some more columns, which are asked for in another way."""


def tables_of(command: str) -> list[type[Table]]:
    """Give the tables of a command."""
    tables = import_module("tcpsight.tables")
    return [getattr(tables, name) for name in ROWS.get(command, FURTHER.get(command, ()))]


def short(column: Column) -> str:
    """Name a column as people write it: durations and instants without their unit."""
    return column.name.removesuffix("_ns")


def columns_of(command: str) -> list[Column]:
    """Give the columns that a command's rows have, each name once."""
    found = {c.name: c for table in tables_of(command) for c in table.columns if not c.internal}
    return list(found.values())
