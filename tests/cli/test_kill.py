"""``tcpsight kill``: connections in a network of their own; only those that are named end."""

from __future__ import annotations

import errno
import json
import os
import pty
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tcpsight.errors import TcpsightError, UsageError
from tcpsight.local import destroying, reading
from tcpsight.local.audit import FAILED, SPARED
from tcpsight.local.destroying import destroy
from tcpsight.local.reading import read_sockets
from tcpsight.local.sock_diag import DiagnosticSocket
from tcpsight.tables import SOCKET_STATES
from tests.cli.running import COMMAND, Here, assert_one_line, environment
from tests.support.local_connections import Pair, pair_elsewhere, ports_of_connections

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("network_with_ipv6")]

HOSTS: dict[str, dict[str, Any]] = {
    "IPv4": {"host": "127.0.0.1"},
    "IPv6": {"host": "::1"},
    "mapped": {"host": "127.0.0.1", "listener": "::"},
}


@pytest.fixture
def pairs() -> Iterator[list[Pair]]:
    """Idle and busy connections of every kind, two of each."""
    made = [Pair(**HOSTS[kind]) for kind in HOSTS for _ in range(4)]
    for place, pair in enumerate(made):
        pair.exchange(100)
        if place % 2:
            pair.keep_busy()
    yield made
    for pair in made:
        pair.close()


def assert_only_ended(pairs: list[Pair], ended: list[Pair]) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and any(pair.is_alive for pair in ended):
        time.sleep(0.05)
    assert [pair.is_alive for pair in pairs] == [pair not in ended for pair in pairs]


def test_only_the_named_connections_end_busy_or_idle_of_either_family(pairs, here: Here):
    chosen = [pairs[place] for place in (0, 1, 4, 5, 8, 9)]
    ports = ", ".join(str(pair.port) for pair in chosen)
    done = here("kill", "--where", f"remote_port in ({ports})", "--yes", "--reason", "test of it", "--format", "csv")
    assert done.status == 0, done.err
    assert sorted(done.column("remote_port"), key=int) == sorted((str(pair.port) for pair in chosen), key=int)
    lines = done.err.splitlines()
    assert len(lines) == 6
    for line in lines:
        assert " ended: " in line
        assert "by root" in line
        assert "SOCK_DESTROY" in line
        assert line.endswith(f"why: remote_port in ({ports}); test of it")
    assert_only_ended(pairs, chosen)


@pytest.mark.parametrize("arguments", [[], ["--where", ""], ["--where", "  "], ["--yes"]])
def test_without_a_condition_nothing_is_ended(pairs, here: Here, arguments):
    done = here("kill", *arguments)
    assert (done.status, done.text) == (2, "")
    assert_one_line(done.err, "nothing was named")
    assert_only_ended(pairs, [])


def test_without_consent_they_are_listed_and_nothing_is_ended(pairs, here: Here):
    for arguments in ([], ["--dry-run"]):
        done = here("kill", "--where", f"local_port = {pairs[0].port}", "--format", "csv", *arguments)
        assert done.status == 0
        assert done.column("local_port") == [str(pairs[0].port)]
        assert "1 connection would be ended; nothing was" in done.err
    assert_only_ended(pairs, [])


def test_more_than_expected_are_not_ended(pairs, here: Here):
    done = here("kill", "--state", "established", "--yes", "--most", "23")
    assert done.status == 2
    assert "24 connections are chosen, more than --most 23: nothing was ended" in done.err
    assert_only_ended(pairs, [])


@pytest.mark.parametrize("how", [["--yes"], ["--dry-run"], []])
def test_a_dry_run_decides_what_the_run_decides(pairs, here: Here, how):
    done = here("kill", "--state", "established", "--most", "23", *how)
    assert done.status == 2
    assert "24 connections are chosen, more than --most 23: nothing was ended" in done.err
    assert here("kill", "--state", "established", "--most", "24", "--dry-run").status == 0
    assert_only_ended(pairs, [])


def test_a_time_without_its_unit_is_refused(here: Here):
    for option in ("--idle", "--age"):
        done = here("kill", option, "5", "--yes")
        assert done.status == 2
        assert_one_line(done.err, "'5' of what", "5min")


def test_a_list_that_is_no_machine_format_has_the_columns_of_a_terminal(pairs, here: Here):
    where = ["--where", f"local_port = {pairs[0].port}"]
    heads = here("kill", *where, "--dry-run").text.splitlines()[0].split()
    assert heads[:5] == ["local_port", "remote_address", "remote_port", "state", "process"]
    assert len(heads) == 14
    assert len(here("kill", *where, "--dry-run", "--format", "csv").rows()[0]) > 40
    assert here("kill", *where, "--dry-run", "--columns", "uid,state").text.splitlines()[0].split() == ["uid", "state"]


def test_parentheses_in_a_condition_do_not_widen_the_others(pairs, here: Here):
    done = here("kill", "--where", "local_port = 1) or (local_port > 0", "--idle", "1h", "--yes")
    assert done.status == 2
    assert_only_ended(pairs, [])


def test_idle_ones_are_chosen_by_idleness_and_age(pairs, here: Here):
    time.sleep(1.2)  # idleness and age are what is asked for
    done = here("kill", "--idle", "1s", "--age", "1s", "--where", "role = client", "--yes")
    assert done.status == 0, done.err
    assert_only_ended(pairs, pairs[::2])


def test_listeners_are_never_ended(here: Here):
    pair = Pair()
    done = here("kill", "--where", f"local_port = {pair.port}", "--yes")
    assert done.status == 0
    listening = read_sockets().sockets
    assert pair.port in listening.local_port[listening.state == 10].tolist()
    pair.close()


def test_a_connection_that_changed_since_it_was_listed_is_left_alone():
    pair = Pair()
    row = next(row for row in read_sockets().sockets if row["remote_port"] == pair.port)
    with DiagnosticSocket() as asking:
        assert destroy(asking, row, lambda table: False).result == SPARED
        assert pair.is_alive
        row["identity"][-1] ^= 1  # as if its ports had been used again: another cookie
        assert destroy(asking, row, lambda table: True).result == "gone before"
    assert pair.is_alive
    pair.close()


@pytest.mark.parametrize(
    ("number", "words"), [(errno.EPERM, "CAP_NET_ADMIN"), (errno.EOPNOTSUPP, "CONFIG_INET_DIAG_DESTROY")]
)
def test_what_lacks_is_said(here: Here, monkeypatch, number, words):
    pair = Pair()
    monkeypatch.setattr(DiagnosticSocket, "destroy", lambda *_: number)
    done = here("kill", "--where", f"local_port = {pair.port}", "--yes")
    assert done.status == 2
    assert_one_line(done.err, words)
    assert pair.is_alive
    pair.close()


def test_without_the_right_the_kernel_is_believed():
    with pair_elsewhere() as port:
        command = [*COMMAND, "kill", "--where", f"local_port = {port}", "--yes"]
        done = subprocess.run(
            ["setpriv", "--bounding-set=-net_admin", *command], capture_output=True, text=True, check=False
        )
        assert done.returncode == 2
        assert "CAP_NET_ADMIN" in done.stderr.splitlines()[-1]
        assert ports_of_connections()


def test_the_connections_of_those_who_called_it_are_left_out():
    """Without what sshd tells, as sudo leaves it: this process holds a connection, and calls the command by another."""
    pair = Pair()
    pair.exchange(10)
    command = [*COMMAND, "kill", "--state", "established", "--yes"]
    with pair_elsewhere() as port:
        done = subprocess.run(
            ["setsid", "--wait", *command], capture_output=True, text=True, check=False, env=environment()
        )
        assert done.returncode == 0, done.stderr
        assert "your own session" in done.stderr
        assert not {port} & {number for ports in ports_of_connections() for number in ports}
    assert pair.is_alive
    pair.close()


def test_those_that_nobody_knows_whose_they_are_are_not_ended_by_a_condition_on_processes(here: Here, monkeypatch):
    monkeypatch.setattr(reading, "holders", dict)
    pair = Pair()
    for where in ("process != mysqld", "not process = mysqld", "holders = 1 or local_port > 0"):
        done = here("kill", "--where", where, "--yes")
        assert "no connection is chosen" in done.err
        assert "cannot be seen" in done.err
    assert_only_ended([pair], [])
    assert here("kill", "--where", f"local_port = {pair.port}", "--yes").status == 0
    assert_only_ended([pair], [pair])
    pair.close()


def test_one_in_time_wait_is_no_account_s(here: Here):
    pair = Pair()
    pair.client.close()
    assert pair.server.recv(1) == b""
    pair.server.close()
    deadline = time.monotonic() + 10
    waits = SOCKET_STATES.index("time_wait")
    while waits not in (rows := read_sockets().sockets).state and time.monotonic() < deadline:
        time.sleep(0.01)
    (row,) = rows.rows[rows.state == waits]
    names = ("uid", "inode", "pid", "receive_queue_bytes", "send_queue_bytes")
    assert [int(row[name]) for name in names] == [-1] * 5
    done = here("kill", "--where", "(process != mysqld or uid = 0) and state = time_wait", "--dry-run")
    assert "no connection is chosen" in done.err
    pair.close()


def test_the_audit_file_has_a_line_before_and_after(pairs, here: Here, tmp_path):
    file = tmp_path / "audit.jsonl"
    file.write_text("kept\n")
    assert here("kill", "--where", f"local_port = {pairs[0].port}", "--yes", "--audit", str(file)).status == 0
    kept, before, after = file.read_text().splitlines()
    assert kept == "kept"
    assert json.loads(before)["outcome"] == "is about to be ended"
    row = json.loads(after)
    assert row["outcome"] == "ended"
    assert row["who"].startswith("root")
    assert row["why"] == f"local_port = {pairs[0].port}"
    assert f"127.0.0.1:{pairs[0].port}" in row["what"]
    assert row["when"].endswith("Z")


def test_an_audit_that_cannot_be_written_ends_nothing(pairs, here: Here, tmp_path):
    done = here("kill", "--where", f"local_port = {pairs[0].port}", "--yes", "--audit", str(tmp_path / "no" / "file"))
    assert done.status == 2
    assert "--audit" in done.err
    full = here("kill", "--where", f"local_port = {pairs[0].port}", "--yes", "--audit", "/dev/full")
    assert full.status == 2
    assert_only_ended(pairs, [])


def test_the_session_that_it_is_called_from_is_left_out(pairs, here: Here, monkeypatch):
    port = pairs[0].client.getsockname()[1]
    monkeypatch.setenv("SSH_CONNECTION", f"127.0.0.1 {port} 127.0.0.1 {pairs[0].port}")
    done = here("kill", "--where", f"local_port in ({pairs[0].port}, {pairs[1].port})", "--yes")
    assert done.status == 0
    assert "your own session" in done.err
    assert_only_ended(pairs, [pairs[1]])


@pytest.mark.parametrize(("answer", "ends"), [("yes\n", True), ("y\n", False), ("\n", False)])
def test_on_a_terminal_it_asks(answer, ends):
    main, other = pty.openpty()
    with pair_elsewhere() as port:
        _answer(main, other, port, answer)
        assert bool(ports_of_connections()) != ends
    os.close(main)


def _answer(main: int, other: int, port: int, answer: str) -> None:
    command = [*COMMAND, "kill", "--where", f"local_port = {port}"]
    with subprocess.Popen(command, stdin=other, stdout=other, stderr=other, env=environment()) as process:
        os.close(other)
        shown = b""
        while b"Write yes: " not in shown:
            shown += os.read(main, 1000)
        assert b"end this connection?" in shown
        os.write(main, answer.encode())
        assert process.wait(timeout=20) == 0


def test_what_the_kernel_still_has_has_not_ended(monkeypatch):
    monkeypatch.setattr(destroying, "_CONFIRM_S", 0.05)
    monkeypatch.setattr(DiagnosticSocket, "destroy", lambda *_: 0)
    pair = Pair()
    row = next(row for row in read_sockets().sockets if row["remote_port"] == pair.port)
    with DiagnosticSocket() as asking:
        assert destroy(asking, row, lambda table: True).result == FAILED
    assert pair.is_alive
    pair.close()


def test_one_that_does_not_meet_the_conditions_any_more_is_looked_at_as_it_is_now():
    pair = Pair()
    row = next(row for row in read_sockets().sockets if row["remote_port"] == pair.port)
    before = int(row["bytes_sent"])
    pair.exchange(1000)
    seen: list[int] = []

    def is_chosen(table: Any) -> bool:
        seen.append(int(table.bytes_sent[0]))
        return False

    with DiagnosticSocket() as asking:
        assert destroy(asking, row, is_chosen).result == SPARED
    assert seen == [before + 1000]
    pair.close()


def outcomes(file: Path) -> list[tuple[str, str]]:
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    return [(row["outcome"], row["detail"]) for row in rows]


def test_one_that_cannot_be_ended_keeps_no_other_from_its_end(pairs, here: Here, monkeypatch, tmp_path):
    real, audit = destroying.destroy, tmp_path / "audit.jsonl"

    def failing(asking: Any, row: Any, is_chosen: Any) -> Any:
        if row["local_port"] == pairs[0].port:
            raise TcpsightError("the kernel does not answer")
        return real(asking, row, is_chosen)

    monkeypatch.setattr(destroying, "destroy", failing)
    ports = f"{pairs[0].port}, {pairs[1].port}"
    done = here("kill", "--where", f"local_port in ({ports})", "--yes", "--audit", audit)
    assert done.status == 1
    assert sorted(outcomes(audit))[:2] == [("ended", ""), ("is about to be ended", "")]
    assert ("not ended", "the kernel does not answer") in outcomes(audit)
    assert_only_ended(pairs, [pairs[1]])


@pytest.mark.parametrize(
    ("error", "words"), [(UsageError("no right"), "no right"), (KeyboardInterrupt(), "interrupted")]
)
def test_what_was_intended_has_an_outcome_even_if_it_is_broken_off(
    pairs, here: Here, monkeypatch, tmp_path, error, words
):
    audit = tmp_path / "audit.jsonl"

    def failing(*_: Any) -> Any:
        raise error

    monkeypatch.setattr(destroying, "destroy", failing)
    done = here("kill", "--where", f"local_port = {pairs[0].port}", "--yes", "--audit", audit)
    assert done.status in (2, 130)
    assert outcomes(audit) == [("is about to be ended", ""), ("not confirmed", str(error) or "interrupted")]


def test_the_audit_file_is_no_link(pairs, here: Here, tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    done = here("kill", "--where", f"local_port = {pairs[0].port}", "--yes", "--audit", tmp_path / "link")
    assert done.status == 2
    assert not (tmp_path / "elsewhere").exists()
    assert_only_ended(pairs, [])
