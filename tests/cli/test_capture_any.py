"""``tcpsight capture -i any``: a pcapng file names the interfaces that its frames came by."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

import numpy as np
import pytest

import tcpsight
from tcpsight.interface_naming import MOST_NAMED
from tcpsight.output.packet_files import Counts
from tcpsight.output.pcapng import DescribedInterface, PcapngEncoder
from tests.cli.running import process
from tests.cli.test_capture import Recorder, talk
from tests.conftest import require_program
from tests.support.capture import read_capture
from tests.support.live_network import cable_end, ip, veth

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("network")]

FRAME = bytes(12) + b"\x88\xb5" + bytes(46)


def names_in(path: Path) -> list[str]:
    """Give the name of the interface of each frame, as our reader tells it."""
    got = read_capture(str(path))
    assert got.error is None
    assert got.capture is not None
    return [got.capture.interfaces[row.interface_id].name for row in got.rows]


def test_frames_name_the_interface_that_they_came_by(tmp_path):
    tshark = require_program("tshark")
    veth("a", "b")
    path = tmp_path / "any.pcapng"
    recorder = Recorder("-i", "any", "-w", path)
    with cable_end("a") as end:
        end.send(FRAME)
    talk(connections=1, exchanges=1)
    recorder.end()
    names = names_in(path)
    assert sorted(set(names)) == ["a", "b", "lo"]
    assert [name for name in names if name != "lo"] == ["a", "b"]  # as it goes, and as it comes
    fields = ["-T", "fields", "-e", "frame.interface_name", "-e", "sll.ifindex"]
    done = subprocess.run([tshark, "-r", str(path), *fields], capture_output=True, text=True, check=True)
    theirs = [line.split("\t") for line in done.stdout.splitlines()]
    assert [name for name, _ in theirs] == names
    assert {name: int(number) for name, number in theirs} == {
        name: socket.if_nametoindex(name) for name in ("a", "b", "lo")
    }
    (answer,) = process("connections", path, "--format", "csv", "--columns", "client_bytes,duplicates").text.split()[1:]
    assert answer == "300,0"


def test_the_smallest_files_of_a_set_hold_all_descriptions_and_a_frame(tmp_path):
    refused = process("capture", "-i", "any", "-w", tmp_path / "any.pcapng", "--rotate-size", "10kB")
    least = int(refused.err.split("has up to ")[1].split()[0].replace(",", ""))
    encoder = PcapngEncoder([DescribedInterface("any", 276, 256, "")], f"tcpsight {tcpsight.__version__}")
    for i in range(MOST_NAMED):
        encoder.add(DescribedInterface(f"interface-{i:05}", 276, 256))
    frame = int(encoder.sizes(np.array([256], np.uint32))[0])
    assert least >= len(encoder.begin()) + frame + len(encoder.statistics([Counts(1, 1, 1)], 1, 2))
    assert process("capture", "-i", "any", "-w", tmp_path / "any.pcap", "--rotate-size", "10kB",
                   "--duration", "10ms").status == 0  # fmt: skip
    recorder = Recorder("-i", "any", "-w", tmp_path / "any.pcapng", "--rotate-size", str(least))
    recorder.end()


def test_every_file_of_a_set_names_them(tmp_path):
    veth("a", "b")
    recorder = Recorder("-i", "any", "-w", tmp_path / "any.pcapng.zst", "--rotate-every", "1s", "tcp")
    for _ in range(3):
        talk(connections=1, exchanges=10)
        subprocess.run(["sleep", "1.1"], check=True)
    recorder.end()
    files = sorted(tmp_path.iterdir())
    assert len(files) >= 3
    assert all(set(names_in(path)) == {"lo"} for path in files)


def test_an_interface_that_went_away_at_once_stays_among_all(tmp_path):
    path = tmp_path / "any.pcapng"
    recorder = Recorder("-i", "any", "-w", path, "--ring", "128kB")
    veth("a", "b")
    with cable_end("a") as end:
        end.send(FRAME)
    ip("link del dev a")
    recorder.end()
    assert set(names_in(path)) <= {"any", "a", "b"}
