"""``tcpsight sockets``: connections of this machine, in a network of its own."""

from __future__ import annotations

import json
import socket
import struct
import sys
from typing import Any

import pytest

from tcpsight.local import reading
from tcpsight.local.processes import Process
from tcpsight.local.sock_diag import DiagnosticSocket
from tests.cli.running import Here, assert_one_line
from tests.support.local_connections import Pair

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("network_with_ipv6")]


def test_every_connection_is_a_row_and_listeners_only_when_asked_for(here: Here):
    pairs = [Pair(), Pair("::1"), Pair(listener="::")]
    wanted = sorted(pair.port for pair in pairs)
    rows = [json.loads(line) for line in here("sockets", "--format", "jsonl").out.splitlines()]
    assert len(rows) == 6
    assert sorted(row["local_port"] for row in rows if row["role"] == "server") == wanted
    assert {row["local_address"] for row in rows} == {"127.0.0.1", "::1"}
    with_listeners = here("sockets", "--listening", "--format", "csv")
    assert sorted(with_listeners.column("state")).count("listening") == 3
    for pair in pairs:
        pair.close()


def test_rows_are_chosen_sorted_and_cut_to_columns_like_those_of_other_tables(here: Here):
    pairs = [Pair(), Pair(), Pair("::1")]
    for pair, size in zip(pairs, (10, 30, 20), strict=True):
        pair.exchange(size)
    done = here("sockets", "--where", "role = server and bytes_sent < 25", "--sort", "-bytes_sent",
                "--columns", "local_port,bytes_sent", "--format", "csv")  # fmt: skip
    assert done.text.splitlines() == ["local_port,bytes_sent", f"{pairs[2].port},20", f"{pairs[0].port},10"]
    for pair in pairs:
        pair.close()


def test_processes_that_cannot_be_seen_are_said(here: Here, monkeypatch: Any):
    pair = Pair()
    monkeypatch.setattr("tcpsight.local.reading.holders", dict)
    done = here("sockets", "--format", "csv")
    assert done.status == 0
    assert "the process of 2 connections cannot be seen" in done.err
    assert "CAP_SYS_PTRACE" in done.err
    assert done.column("pid") == ["", ""]
    pair.close()


def test_what_a_watch_measured_stands_in_the_table_it_was_asked_for(here: Here, tmp_path: Any):
    pair = Pair()
    row = {"server_address": "127.0.0.1", "server_port": pair.port, "start_ns": 0, "throughput_per_s": 1234,
           "concurrency": 1, "response_time_p50_ns": 1000, "response_time_p99_ns": 5_000_000}  # fmt: skip
    (tmp_path / "slices.jsonl").write_text(json.dumps(row) + "\n")
    shown = here("sockets", "--watch", tmp_path / "slices.jsonl", "--where", "role = server").text
    assert "service_throughput" in shown
    assert {"1.23 k/s", "5.00 ms"} <= {cell.strip() for cell in shown.splitlines()[1].split("  ")}
    assert "service_throughput" not in here("sockets").text
    pair.close()


def test_a_watch_that_tells_nothing_is_refused_in_one_line(here: Here, tmp_path: Any):
    assert_one_line(here("sockets", "--watch", str(tmp_path / "none")).err, "No such file")


def test_a_name_that_a_process_gave_itself_obeys_no_terminal(here: Here, monkeypatch: Any):
    from tcpsight.local.processes import Process

    pair = Pair()

    class Everybody(dict):  # type: ignore[type-arg]
        def get(self, inode: int, default: Any = None) -> Process:
            return Process(7, "\x1b[2Jevil", 1)

    monkeypatch.setattr("tcpsight.local.reading.holders", Everybody)
    done = here("sockets")
    assert b"\x1b" not in done.out
    assert "\\x1b[2Jevil" in done.text
    pair.close()


def test_a_terminal_is_not_told_the_control_characters_of_a_process(here: Here, monkeypatch):
    """A name is what its process says it is."""
    monkeypatch.setattr(reading, "holders", lambda: {int(inode): EVIL for inode in read_inodes()})
    pair = Pair()
    arguments = ["sockets", "--where", f"local_port = {pair.port}", "--columns", "process", "--format", "csv"]
    assert here(*arguments).out.splitlines()[1] == EVIL.name.encode()
    for stream in (sys.stdout, sys.__stdout__):
        monkeypatch.setattr(stream, "isatty", lambda: True, raising=False)
    assert here(*arguments).out.splitlines()[1] == rb"\x1b]0;pwned\x07"
    pair.close()


EVIL = Process(1, "\x1b]0;pwned\x07", 1)


def read_inodes() -> list[int]:
    with DiagnosticSocket() as asking:
        messages = asking.sockets(socket.AF_INET).messages
    return [struct.unpack_from("=I", messages, at + 68)[0] for at in range(0, len(messages), 72)]
