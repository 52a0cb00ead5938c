"""The filter of system calls refuses what it says, on every machine that it knows; units keep what they promise."""

from __future__ import annotations

import os
import re
import stat
import struct
import subprocess
from pathlib import Path

import pytest

from tcpsight.capture import privileges
from tcpsight.capture.privileges import AUDIT_ARCHITECTURES, FORBIDDEN_CALLS, SOCKET_CALL, seccomp_program
from tests.conftest import require_program

UNITS = sorted((Path(__file__).parents[3] / "contrib" / "systemd").glob("*.service"))
ALLOWED, REFUSED = 0x7FFF0000, 0x00050001


def answer(program: bytes, call: int, architecture: int, first_argument: int = 0) -> int:
    """Run a filter on ``struct seccomp_data``."""
    data = struct.pack("=IIQQ", call, architecture, 0, first_argument) + bytes(40)
    code = list(struct.iter_unpack("=HBBI", program))
    at = loaded = 0
    while True:
        kind, if_so, if_not, k = code[at]
        at += 1
        if kind == 0x06:
            return int(k)
        if kind == 0x20:
            (loaded,) = struct.unpack_from("=I", data, k)
        else:
            at += if_so if (loaded == k if kind == 0x15 else loaded >= k) else if_not


@pytest.mark.parametrize("machine", AUDIT_ARCHITECTURES)
@pytest.mark.parametrize("families", [(1,), (1, 2, 10)])
def test_calls_are_refused_by_number_and_sockets_by_family(machine, families):
    program, architecture = seccomp_program(machine, families), AUDIT_ARCHITECTURES[machine]
    refused = {call for call in range(512) if answer(program, call, architecture) == REFUSED}
    assert refused == {*FORBIDDEN_CALLS[machine], SOCKET_CALL[machine]}
    made = [family for family in range(50) if answer(program, SOCKET_CALL[machine], architecture, family) == ALLOWED]
    assert made == list(families)


@pytest.mark.parametrize("machine", AUDIT_ARCHITECTURES)
def test_programs_of_another_kind_may_call_nothing(machine):
    program = seccomp_program(machine, (1,))
    assert answer(program, 0, 0x40000003) == REFUSED
    assert answer(program, 0x40000000, AUDIT_ARCHITECTURES[machine]) == REFUSED


def test_modes_tell_who_can_write(tmp_path):
    account = privileges._Account(12_345, 23_456, (34_567,))
    mine = privileges._Account(os.geteuid(), os.getegid(), ())
    for mode, others, own in ((0o777, True, True), (0o755, False, True), (0o733, True, True), (0o555, False, False)):
        tmp_path.chmod(mode)
        assert account.can_write(str(tmp_path)) == others
        assert mine.can_write(str(tmp_path)) == own
    tmp_path.chmod(stat.S_IRWXU)
    assert account.can_write(str(tmp_path / "nowhere"))


@pytest.mark.parametrize("name", ["", "0", "-1", "no-such-account", "99999999999999999999"])
def test_who_called_sudo_may_be_nobody(name, monkeypatch):
    monkeypatch.setenv("SUDO_UID", name)
    assert privileges._caller() is None


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_units_have_no_right_but_to_capture(unit):
    settings = re.findall(r"^(\w+)=(.*)$", unit.read_text(), re.MULTILINE)
    assert ("CapabilityBoundingSet", "CAP_NET_RAW") in settings
    assert ("AmbientCapabilities", "CAP_NET_RAW") in settings
    assert {("NoNewPrivileges", "yes"), ("DynamicUser", "yes"), ("ProtectSystem", "strict")} <= set(settings)


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_units_are_understood_and_found_safe(unit, tmp_path):
    analyze = require_program("systemd-analyze")
    copy = tmp_path / unit.name
    # The program is installed elsewhere; here it is enough that there is one.
    copy.write_text(unit.read_text().replace("/usr/local/bin/tcpsight", "/bin/true"))
    verified = subprocess.run([analyze, "verify", str(copy)], capture_output=True, text=True, check=False)
    assert (verified.returncode, verified.stderr) == (0, "")
    judged = subprocess.run(
        [analyze, "security", "--offline=yes", "--threshold=25", str(copy)], capture_output=True, text=True, check=False
    )
    assert judged.returncode == 0, judged.stdout


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_units_run_commands_that_there_are(unit, here_help):
    (command,) = re.findall(r"^ExecStart=/usr/local/bin/tcpsight (.*)$", unit.read_text(), re.MULTILINE)
    name, *words = command.split()
    (options,) = re.findall(r'^Environment="TCPSIGHT_OPTIONS=(.*)"$', unit.read_text(), re.MULTILINE)
    for option in [word for word in (*words, *options.split()) if word.startswith("-")]:
        assert option in here_help(name)


@pytest.fixture
def here_help():
    from click.testing import CliRunner

    from tcpsight.cli.main import tcpsight_command

    return lambda name: CliRunner().invoke(tcpsight_command, [name, "--help"]).output
