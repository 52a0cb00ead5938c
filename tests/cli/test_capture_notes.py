"""``tcpsight capture`` says what happens meanwhile: interfaces that go down, files that were removed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.cli.test_capture import Recorder, talk
from tests.support.capture import read_capture
from tests.support.live_network import ip, veth

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("network")]


def line_of(recorder: Recorder) -> str:
    assert recorder.process.stderr is not None
    line: bytes = recorder.process.stderr.readline()
    return line.decode()


@pytest.mark.parametrize("fence", [(), ("--no-fence",)])
def test_an_interface_that_goes_down_is_told_and_that_it_is_up_again(tmp_path, fence):
    veth("a", "b")
    recorder = Recorder("-i", "b", "-w", tmp_path / "trace.pcap", *fence)
    ip("link set dev b down")
    assert line_of(recorder) == "tcpsight: note: b is down, or away: nothing comes by it until it is up again\n"
    ip("link set dev b up")
    assert line_of(recorder) == "tcpsight: note: b is up again\n"
    ip("link del dev b")
    assert line_of(recorder) == "tcpsight: note: b is down, or away: nothing comes by it until it is up again\n"
    recorder.end()


def test_an_interface_that_is_down_from_the_first_is_told_once(tmp_path):
    veth("a", "b")
    ip("link set dev b down")
    recorder = Recorder("-i", "b", "-i", "lo", "-w", tmp_path / "trace.pcap")
    assert recorder.first_line.startswith("tcpsight: capturing on b (Ethernet, which is down)")
    ip("link set dev b up")
    assert line_of(recorder) == "tcpsight: note: b is up again\n"
    recorder.end()


def test_files_that_were_removed_are_told_with_their_frames(tmp_path: Path):
    earlier = tmp_path / "trace-20200101T000000Z-000001.pcap"
    earlier.write_bytes(bytes(30_000))
    recorder = Recorder("-i", "lo", "-w", tmp_path / "trace.pcap", "--rotate-size", "20kB", "--keep-total", "60kB")
    talk(connections=60)
    _, written, name, *_ = recorder.end()
    found = re.match(r"(\d+) files \((\d+) of them, with (\d+) frames and 1 of earlier recordings, removed", name)
    assert found, name
    files, removed, frames = map(int, found.groups())
    left = list(tmp_path.iterdir())
    assert files - removed == len(left)
    assert removed > 2
    assert int(written) - frames == sum(len(read_capture(str(path)).rows) for path in left)
