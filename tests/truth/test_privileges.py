"""Once interfaces are open, nothing is left of the rights that opened them."""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import tcpsight
from tests.cli.running import COMMAND, assert_one_line, environment
from tests.conftest import require_program
from tests.support.capture import read_capture
from tests.support.live_network import ip, veth
from tests.support.packet_sockets import wait_until_it_captures

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("network")]

SOURCE = str(Path(tcpsight.__file__).parents[1])

ATTEMPTS = """
import ctypes, json, os, socket, sys
sys.path.insert(0, %r)
from tcpsight.capture.live import open_live
from tcpsight.capture.privileges import drop_privileges
capture = open_live(["lo"], expression="udp", wait_ns=20_000_000)
before = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
elsewhere = os.path.abspath(sys.argv[2]) + ".elsewhere"
open(elsewhere, "w").close()
told = drop_privileges(**json.loads(sys.argv[1]))
folder = sys.argv[2]

def attempt(what):
    try:
        what()
    except OSError as error:
        return error.strerror
    return "done"

def write(path):
    with open(path, "w") as stream:
        stream.write("x")

def call(name, *arguments):
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

outcome = {
    "shadow": attempt(lambda: open("/etc/shadow").read()),
    "hosts": attempt(lambda: open("/etc/hosts").read()),
    "proc": attempt(lambda: open("/proc/1/cmdline").read()),
    "elsewhere": attempt(lambda: write("/tmp/tcpsight-was-here")),
    "here": attempt(lambda: write(folder + "/here")),
    "removed": attempt(lambda: os.unlink(folder + "/here")),
    "linked": attempt(lambda: os.symlink("/etc/shadow", folder + "/link")),
    "packet": attempt(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)),
    "raw": attempt(lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 6)),
    "inet": attempt(lambda: socket.socket().connect(("127.0.0.1", 1))),
    "program": attempt(lambda: os.execv("/bin/true", ["true"])),
    "namespace": attempt(lambda: call("unshare", 0x10000000)),
    "other": attempt(lambda: call("ptrace", 16, os.getppid(), 0, 0)),
    "mode": attempt(lambda: os.chmod(elsewhere, 0o4755)),
    "owner": attempt(lambda: os.chown(elsewhere, os.getuid(), os.getgid())),
    "times": attempt(lambda: os.utime(elsewhere)),
    "account": attempt(lambda: os.setuid(0 if os.getuid() else 1)),
}
before.sendto(b"x", ("127.0.0.1", 9))
capture.stop()
outcome["captured"] = sum(map(len, capture))
print(json.dumps({"told": told, "outcome": outcome, "uid": os.getuid()}))
"""


def attempts(folder: Path, **arguments: Any) -> dict[str, Any]:
    """Let a process capture, give up its rights, and try what it may not."""
    command = [sys.executable, "-c", ATTEMPTS % SOURCE, json.dumps(arguments), str(folder)]
    alone = environment(OPENBLAS_NUM_THREADS="1")  # as the command sets it
    run = subprocess.run(command, capture_output=True, text=True, check=False, env=alone)
    assert run.returncode == 0, run.stderr
    found: dict[str, Any] = json.loads(run.stdout)
    return found


REFUSED = {"Permission denied", "Operation not permitted"}
FORBIDDEN = (
    "shadow",
    "hosts",
    "proc",
    "elsewhere",
    "linked",
    "packet",
    "raw",
    "program",
    "namespace",
    "other",
    "mode",
    "owner",
    "times",
    "account",
)


def test_nothing_is_left_but_to_capture_and_to_write_one_folder(tmp_path):
    found = attempts(tmp_path, writable=[str(tmp_path)])
    outcome = found["outcome"]
    assert {name: outcome[name] for name in FORBIDDEN if outcome[name] not in REFUSED} == {}
    assert outcome["inet"] in REFUSED
    assert (outcome["here"], outcome["removed"], outcome["captured"]) == ("done", "done", 1)
    assert found["told"] == ["root", [], []]


def test_who_sends_figures_may_still_connect(tmp_path):
    outcome = attempts(tmp_path, writable=[str(tmp_path)], may_connect=True)["outcome"]
    assert outcome["inet"] == "Connection refused"
    assert {name: outcome[name] for name in FORBIDDEN if outcome[name] not in REFUSED} == {}


def test_root_becomes_who_called_sudo_if_that_can_write(tmp_path, monkeypatch):
    monkeypatch.setenv("SUDO_UID", "65534")
    for folder in (tmp_path, *tmp_path.parents):
        if str(folder).startswith("/tmp/"):
            folder.chmod(folder.stat().st_mode | 0o011)
    assert attempts(tmp_path, writable=[str(tmp_path)])["uid"] == 0
    tmp_path.chmod(0o777)
    found = attempts(tmp_path, writable=[str(tmp_path)])
    if not all(folder.stat().st_mode & 1 for folder in Path(SOURCE, "tcpsight").parents):
        # What is still to be imported could not be: it stays who it is.
        assert found["uid"] == 0
        return
    assert found["uid"] == 65534
    assert found["told"][0] == "nobody"
    assert found["outcome"]["here"] == "done"
    assert found["outcome"]["captured"] == 1


def test_root_may_write_to_what_belongs_to_somebody_else(tmp_path):
    tmp_path.chmod(0o755)
    os.chown(tmp_path, 65534, 65534)
    found = attempts(tmp_path, writable=[str(tmp_path)])
    assert found["told"] == ["root", [1], []]
    outcome = found["outcome"]
    assert outcome["here"] == "done"
    assert {name: outcome[name] for name in FORBIDDEN if outcome[name] not in REFUSED} == {}


def status_of(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def record(path: Path, *options: str, before: tuple[str, ...] = ()) -> subprocess.Popen[bytes]:
    command = [*before, *COMMAND, "capture", "-i", "b", "-w", str(path), *options]
    running = subprocess.Popen(command, stderr=subprocess.PIPE)
    wait_until_it_captures(running)
    assert running.stderr is not None
    assert running.stderr.readline().startswith(b"tcpsight: capturing on b")
    return running


def send(number: int) -> None:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as s:
        s.bind(("a", 0))
        s.send(bytes(12) + b"\x88\xb5" + struct.pack(">I", number) + bytes(42))


def ended(running: subprocess.Popen[bytes], path: Path) -> set[int]:
    """Let a recording end; give the numbers of the frames in its file."""
    time.sleep(0.3)  # what the kernel holds is given in blocks
    running.terminate()
    _, told = running.communicate(timeout=30)
    assert running.returncode == 0, told
    return {struct.unpack_from(">I", row.data, 14)[0] for row in read_capture(str(path)).rows}


def test_a_recording_has_no_rights_while_it_goes_on(tmp_path):
    veth("a", "b")
    path = tmp_path / "trace.pcap"
    running = record(path)
    status = status_of(running.pid)
    sets = [int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")]
    assert sets == [0] * 5
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    send(1)
    assert ended(running, path) == {1}


def test_an_interface_that_is_made_again_is_found_without_any_right(tmp_path):
    veth("a", "b")
    path = tmp_path / "trace.pcap"
    running = record(path)
    send(1)
    time.sleep(0.5)  # what the kernel holds is given in blocks
    ip("link del dev a")
    veth("a", "b")
    deadline = time.monotonic() + 20
    while path.stat().st_size < 24 + 2 * 76:
        assert time.monotonic() < deadline
        send(2)
        time.sleep(0.05)
    assert ended(running, path) == {1, 2}


def test_no_right_but_one_is_needed(tmp_path):
    setpriv = require_program("setpriv")
    veth("a", "b")
    path = tmp_path / "trace.pcap"
    # Root with one right: another account may not be able to read this Python.
    running = record(path, before=(setpriv, "--bounding-set=-all,+net_raw", "--inh-caps=-all,+net_raw"))
    send(1)
    assert ended(running, path) == {1}


def test_an_account_that_was_given_the_right_needs_nothing_else(tmp_path):
    setpriv = require_program("setpriv")
    veth("a", "b")
    folder = Path(f"/tmp/tcpsight-{os.getpid()}")
    folder.mkdir()
    try:
        os.chown(folder, 65534, 65534)
        become = (setpriv, "--reuid=65534", "--regid=65534", "--clear-groups")
        rights = ("--bounding-set=-all,+net_raw", "--inh-caps=-all,+net_raw", "--ambient-caps=-all,+net_raw")
        can_run = subprocess.run([*become, *COMMAND, "--version"], capture_output=True, check=False).returncode == 0
        path = folder / "trace.pcap"
        # Where it cannot read this Python, it becomes that account on the way.
        running = record(path, before=(*become, *rights)) if can_run else record(path, "--user", "nobody")
        status = status_of(running.pid)
        assert (status["Uid"].split()[0], int(status["CapPrm"], 16), status["Seccomp"]) == ("65534", 0, "2")
        send(1)
        assert ended(running, path) == {1}
        assert path.stat().st_uid == 65534
    finally:
        for each in folder.iterdir():
            each.unlink()
        folder.rmdir()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--user", "no-such-account"], ["'no-such-account'", "no such account"]),
        (["--user", "nobody"], ["--user nobody", "cannot write to"]),
        (["--user", "nobody", "--no-fence"], ["--no-fence"]),
    ],
)
def test_an_account_that_cannot_be_taken_is_told(tmp_path, options, words):
    tmp_path.chmod(0o755)
    command = [*COMMAND, "capture", "-i", "lo", "-w", str(tmp_path / "trace.pcap"), *options]
    run = subprocess.run(command, capture_output=True, timeout=30, check=False)
    assert run.returncode == 2
    assert_one_line(run.stderr.decode(), *words)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["trace.pcapng.zst", "trace.pcap.gz", "trace.pcap.lz4"])
def test_nothing_is_imported_once_the_fence_stands(tmp_path, name):
    """Another account may not be able to read what is not there yet."""
    program = f"""
import sys
sys.path.insert(0, {SOURCE!r})
import tcpsight.capture.privileges as privileges
from tcpsight.cli.main import main
loaded = []
def drop(**arguments):
    loaded.append(set(sys.modules))
    return privileges.Dropped("nobody", (), ("Landlock",))
privileges.drop_privileges = drop
assert main(["capture", "-i", "lo", "-w", sys.argv[1], "--duration", "100ms", "--rotate-every", "1h"]) == 0
print(sorted(set(sys.modules) - loaded[0]))
"""
    command = [sys.executable, "-c", program, str(tmp_path / name)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    assert run.stdout == "[]\n"
    # Whoever relies on the fence shall know that there is a hole in it.
    assert "not fenced in as it could be: Landlock cannot be had here" in run.stderr
