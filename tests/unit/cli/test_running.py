"""Reading a capture: an interrupt ends the writer of a pipe before it ends the reading."""

from __future__ import annotations

import os
import signal
import socket
import threading
from pathlib import Path

import pytest

from tcpsight.cli import running
from tcpsight.cli.options import Input
from tests.support.pcap import pcap_bytes
from tests.support.traffic import Talk, answered

USUAL = signal.default_int_handler


@pytest.fixture
def fifo(tmp_path: Path) -> str:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    return str(path)


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_the_first_interrupt_of_a_pipe_is_told_and_the_second_ends_it(fifo, capfd):
    with running.patience([fifo]):
        interrupt()
        assert capfd.readouterr().err == f"{running.INTERRUPTED}\n"
        with pytest.raises(KeyboardInterrupt):
            interrupt()
    assert signal.getsignal(signal.SIGINT) is USUAL


def test_a_pipe_among_files_counts_as_a_pipe(fifo, tmp_path):
    with running.patience([str(tmp_path / "missing"), fifo]):
        assert signal.getsignal(signal.SIGINT) is not USUAL
    assert signal.getsignal(signal.SIGINT) is USUAL


@pytest.mark.parametrize("source", ["/dev/null", "missing", "nul\0", __file__])
def test_an_interrupt_ends_the_reading_of_anything_else(source):
    with running.patience([source]), pytest.raises(KeyboardInterrupt):
        interrupt()


def test_standard_input_is_a_pipe_where_it_is_one(monkeypatch):
    reading, writing = os.pipe()
    near, far = socket.socketpair()
    with os.fdopen(reading) as pipe, os.fdopen(writing, "w"), near, far, near.makefile() as connection:
        for stream, expected in ((pipe, True), (connection, True), (None, False)):
            monkeypatch.setattr("sys.stdin", stream)
            assert running.is_pipe("-") is expected


def test_an_interrupt_that_is_ignored_stays_ignored(fifo):
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with running.patience([fifo]):
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_other_threads_leave_signals_alone(fifo):
    seen: list[object] = []

    def read() -> None:
        with running.patience([fifo]):
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=read)
    thread.start()
    thread.join()
    assert seen == [USUAL]


def test_after_the_last_batch_an_interrupt_is_what_it_was(fifo):
    content = pcap_bytes(Talk(answered(1, 2)).frames())
    writer = threading.Thread(target=lambda: Path(fifo).write_bytes(content))
    writer.start()
    source = Input([fifo], (), None, None, None, "ts,end", "UTC", "UTC", (None, None, None), progress=False)
    with running.reading(source) as (_, batches):
        assert signal.getsignal(signal.SIGINT) is not USUAL
        assert sum(len(batch.requests) for batch in batches) == 2
        assert signal.getsignal(signal.SIGINT) is USUAL
    writer.join()
