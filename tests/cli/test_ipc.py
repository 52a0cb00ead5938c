"""``tcpsight ipc``: what it writes, and what it refuses."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.cli.running import COMMAND, Here, assert_one_line, environment

SHORT = ["--sizes", "64,4KiB", "--duration", "300ms"]


def test_every_transport_and_size_is_measured(here: Here):
    done = here("ipc", *SHORT, "--format", "json")
    assert done.status == 0, done.err
    facts = json.loads(done.out)
    measured = {(row["transport"], row["message_bytes"]) for row in facts["transports"]}
    names = ("tcp_nodelay", "tcp", "unix_stream", "unix_datagram", "pipe", "shared_memory")
    assert measured == {(name, size) for name in names for size in (64, 4096)}
    for row in facts["transports"]:
        told = [row[f"round_trip_{name}_ns"] for name in ("min", "p50", "p99", "max")]
        assert (told[1] is None) == (told[2] is None) == (row["round_trips"] < 20)
        known = [each for each in told if each is not None]
        assert known == sorted(known)
        assert known


def test_the_page_fits_a_terminal_and_names_what_was_measured(here: Here, monkeypatch):
    text = here("ipc", *SHORT, "--transport", "pipe", "--transport", "tcp", "--pin", "same", "--pin", "free").text
    assert max(map(len, text.splitlines())) <= 80
    for words in (
        "both processes on one processor",
        "wherever the system puts",
        "64 B",
        "4.00 KiB",
        "round trips of 64 B",
    ):
        assert words in text
    assert "Unix" not in text


def test_services_of_a_capture_are_told_what_the_stack_costs_them(here: Here, pcap: Path):
    done = here("ipc", *SHORT, "--transport", "tcp_nodelay", "--capture", pcap, "--format", "json")
    services = json.loads(done.out)["services"]
    assert sorted(each["server_port"] for each in services) == [80, 3306]
    # On a busy machine there may be too few round trips to tell.
    assert all(each["stack_fraction"] is None or 0 < each["stack_fraction"] <= 1 for each in services)
    assert all(isinstance(each["is_within_sizes"], bool) for each in services)
    text = here("ipc", *SHORT, "--transport", "tcp_nodelay", "--capture", pcap).text
    assert "What the loopback stack is of recorded response times" in text
    assert "* not on loopback" in text


def test_a_picture_is_drawn(here: Here, tmp_path: Path):
    path = tmp_path / "ipc.svg"
    assert here("ipc", *SHORT, "--transport", "pipe", "--plot", path).status == 0
    assert "round trip" in path.read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--duration", "10ms"], "tell nothing"),
        (["--sizes", "1GiB"], "64MiB"),
        (["--sizes", "many"], "no size"),
        (["--capture", "/nonexistent", "--duration", "1s", "--sizes", "1"], "No such file"),
        (["--transport", "unix_datagram", "--sizes", "50MB", "--duration", "1s"], "nothing could be measured"),
    ],
)
def test_what_cannot_be_is_one_line(here: Here, arguments, words):
    done = here("ipc", *arguments)
    assert (done.status, done.text) == (2, "")
    assert_one_line(done.err, words)


def test_an_interrupt_ends_it_and_leaves_no_process():
    command = [*COMMAND, "ipc", "--duration", "60s"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, env=environment(), start_new_session=True) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        while not children.read_text().split():
            time.sleep(0.02)
        time.sleep(0.2)  # into what it measures, wherever that is
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 130
        with pytest.raises(ProcessLookupError):
            os.killpg(process.pid, 0)
