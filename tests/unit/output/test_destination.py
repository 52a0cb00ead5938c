from __future__ import annotations

import io
import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tcpsight.errors import TcpsightError
from tcpsight.output.destination import Destination
from tcpsight.output.writers import FORMATS, open_writer
from tcpsight.tables import Unseen

PACKAGE_PARENT = Path(sys.modules["tcpsight"].__file__ or "").resolve().parents[1]


def run(code, **options):
    environment = os.environ | {"PYTHONPATH": str(PACKAGE_PARENT)}
    return subprocess.Popen([sys.executable, "-c", code], env=environment, **options)


def test_the_old_file_stays_until_the_new_one_is_whole(tmp_path):
    target = tmp_path / "out.csv"
    target.write_text("old")
    destination = Destination(target)
    destination.write(b"new")
    destination.flush()
    assert target.read_text() == "old"
    destination.close()
    assert target.read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


def test_an_aborted_output_leaves_the_old_file(tmp_path):
    target = tmp_path / "out.csv"
    target.write_text("old")
    destination = Destination(target)
    destination.write(b"new")
    destination.abort()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_an_interrupted_process_leaves_the_old_file(tmp_path):
    target = tmp_path / "out.csv"
    target.write_text("old")
    code = f"""
import sys, time
from tcpsight.output.writers import open_writer
from tcpsight.tables import Unseen
with open_writer({str(target)!r}, Unseen, "csv") as writer:
    writer.write(Unseen.allocate(10))
    writer.flush()
    print("ready", flush=True)
    time.sleep(60)
"""
    process = run(code, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout.readline() == b"ready\n"
    assert len(list(tmp_path.iterdir())) == 2
    process.send_signal(signal.SIGINT)
    process.wait(30)
    process.stdout.close()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_new_file_has_the_permissions_of_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        Destination(tmp_path / "out").close()
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o640


def test_a_replaced_file_keeps_its_permissions(tmp_path):
    target = tmp_path / "out"
    target.write_text("secret")
    target.chmod(0o600)
    Destination(target).close()
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


@pytest.mark.parametrize("exists", [True, False])
def test_a_symbolic_link_stays_and_what_it_points_to_is_written(tmp_path, exists):
    (tmp_path / "far").mkdir()
    real, link = tmp_path / "far" / "real", tmp_path / "link"
    if exists:
        real.write_text("old")
    link.symlink_to("far/real")
    destination = Destination(link)
    destination.write(b"new")
    destination.close()
    assert link.is_symlink()
    assert real.read_text() == "new"
    assert [*(tmp_path / "far").iterdir()] == [real]


def test_dev_null_stays_a_device():
    destination = Destination("/dev/null")
    destination.write(b"gone")
    destination.close()
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


def test_a_fifo_is_written_straight(tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    got = []
    reader = threading.Thread(target=lambda: got.append(fifo.read_bytes()))
    reader.start()
    with open_writer(fifo, Unseen, "csv") as writer:
        writer.write(Unseen.allocate(1))
    reader.join(30)
    assert got == [b"reason,count,bytes,first_frame,furthest_back_ns\ntruncated_frame,0,0,0,0\n"]
    assert stat.S_ISFIFO(fifo.stat().st_mode)


@pytest.mark.parametrize("format", FORMATS)
def test_a_closed_pipe_is_told_as_such(format):
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb", 0) as pipe, pytest.raises(BrokenPipeError):  # noqa: SIM117
        with open_writer(pipe, Unseen, format) as writer:
            writer.write(Unseen.allocate(100_000))


def test_a_closed_standard_output_is_told_as_such():
    code = """
import os, sys
from tcpsight.output.writers import open_writer
from tcpsight.tables import Unseen
try:
    with open_writer("-", Unseen, "csv") as writer:
        for _ in range(1000):
            writer.write(Unseen.allocate(10_000))
except BrokenPipeError:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.exit(7)
"""
    process = run(code, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout.readline() == b"reason,count,bytes,first_frame,furthest_back_ns\n"
    process.stdout.close()
    assert process.wait(30) == 7
    assert process.stderr.read() == b""
    process.stderr.close()


@pytest.mark.parametrize("name", ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_standard_output_goes_on_where_the_shell_put_it(tmp_path, name):
    log = tmp_path / "log"
    log.write_bytes(b"before\n")
    code = f"""
from tcpsight.output.writers import open_writer
from tcpsight.tables import Unseen
open_writer({name!r}, Unseen, "csv").close()
"""
    with log.open("ab") as appended:
        assert run(code, stdout=appended).wait(30) == 0
    assert log.read_bytes() == b"before\nreason,count,bytes,first_frame,furthest_back_ns\n"


def test_an_open_file_stays_open():
    out = io.BytesIO()
    destination = Destination(out)
    destination.write(b"abc")
    destination.close()
    assert out.getvalue() == b"abc"
    assert not out.closed


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing/out", "missing/out: No such file or directory"),
        ("folder", "folder: Is a directory"),
        ("file/out", "file/out: Not a directory"),
        ("loop", "loop: Too many levels of symbolic links"),
        ("n" * 300, "File name too long"),
    ],
)
def test_what_cannot_be_opened_is_one_clear_line(tmp_path, monkeypatch, name, message):
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    Path("file").touch()
    Path("loop").symlink_to("loop")
    with pytest.raises(TcpsightError, match=message):
        Destination(name)


def test_a_full_disk_removes_the_temporary_file(tmp_path, monkeypatch):
    target = tmp_path / "out"
    target.write_text("old")
    destination = Destination(target)

    class Full:
        def write(self, data):
            raise OSError(28, "No space left on device")

        def close(self):
            pass

    monkeypatch.setattr(destination, "_file", Full())
    with pytest.raises(TcpsightError, match="out: No space left on device"):
        destination.write(b"x")
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]
    assert destination.closed


def test_the_position_is_the_number_of_bytes_written():
    destination = Destination(io.BytesIO())
    destination.write(memoryview(b"12345678").cast("I"))
    assert destination.tell() == 8


@pytest.mark.parametrize("format", ["table", "csv", "jsonl"])
def test_text_formats_start_without_arrow(format):
    code = f"""
import sys
from tcpsight.output.writers import open_writer
from tcpsight.tables import Unseen
with open_writer("/dev/null", Unseen, {format!r}) as writer:
    writer.write(Unseen.allocate(10))
assert "pyarrow" not in sys.modules
"""
    assert run(code).wait(30) == 0
