"""The servers' own logs of response times, by the text of the request, in nanoseconds."""

from __future__ import annotations

import re
from pathlib import Path


def postgresql_log(path: Path) -> dict[str, int]:
    """Give durations, from log_min_duration_statement (microseconds there)."""
    times = {}
    for line in path.read_text(errors="replace").splitlines():
        if found := re.search(r"duration: (\d+)\.(\d{3}) ms  statement: (.*)$", line):
            times[found[3]] = int(found[1] + found[2]) * 1000
    return times


def mariadb_log(path: Path) -> dict[str, int]:
    """Give Query_time, from the slow query log (microseconds there)."""
    times: dict[str, int] = {}
    duration = 0
    for line in path.read_text(errors="replace").splitlines():
        if found := re.match(r"# Query_time: (\d+)\.(\d{6}) ", line):
            duration = int(found[1] + found[2]) * 1000
        elif not line.startswith("#"):
            times[line.rstrip(";")] = duration
    return times


def nginx_log(path: Path) -> dict[str, dict[str, int]]:
    """Give $request_time and $upstream_response_time, from the access log (milliseconds there)."""
    columns: dict[str, dict[str, int]] = {"request_time_ns": {}, "upstream_response_time_ns": {}}
    for line in path.read_text().splitlines():
        uri, *seconds = line.split()
        for column, each in zip(columns.values(), seconds, strict=True):
            column[uri] = round(float(each) * 1000) * 1_000_000
    return columns


def redis_slowlog(values: list[str | None]) -> list[dict[str, object]]:
    """Give the slow commands that have one argument, from SLOWLOG GET (microseconds there)."""
    words = [each or "" for each in values]
    return [
        {"command": " ".join(words[at + 3 : at + 5]), "client": words[at + 5], "duration_ns": int(words[at + 2]) * 1000}
        for at in range(0, len(words), 7)
    ]


def redis_commandstats(text: str) -> dict[str, dict[str, int]]:
    """Give calls and time spent by command, from INFO commandstats (microseconds there)."""
    found = re.findall(r"cmdstat_(\w+):calls=(\d+),usec=(\d+)", text)
    return {name: {"calls": int(calls), "time_ns": int(spent) * 1000} for name, calls, spent in found}
