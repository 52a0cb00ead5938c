"""Formats that editcap writes: frame counts, times and lengths are those that tshark reads; others are refused."""

from __future__ import annotations

import os
import subprocess

import pytest

from tests.support.capture import read_capture
from tests.support.pcap import Frame, pcap_bytes, tcp_frame

FRAMES = [
    Frame(
        1_600_000_000_000_000_000 + n * 37_000_000,
        tcp_frame("10.0.0.1", "10.0.0.2", 5000, 80, n, payload=b"x" * n),
        14 + 20 + 20 + n + 30 * (n % 2),
    )
    for n in range(1, 60)
]

# Network Monitor's times are local: editcap and tshark take the zone of the machine.
ENVIRONMENT = os.environ | {"TZ": "UTC"}

READ = ["pcap", "pcapng", "nsecpcap", "modpcap", "nokiapcap", "rh6_1pcap", "suse6_3pcap", "snoop", "netmon1", "netmon2"]
REFUSED = {
    "5views": "5View",
    "commview-ncf": "CommView",
    "k12text": "K12 text",
    "lanalyzer": "LANalyzer",
    "nettl": "nettl",
    "ngsniffer": "Sniffer for DOS",
    "ngwsniffer_1_1": "NetXray",
    "ngwsniffer_2_0": "NetXray",
    "observer": "Observer",
    "visual": "Visual Networks",
}


@pytest.fixture(scope="module")
def convert(require_program, tmp_path_factory):
    editcap = require_program("editcap")
    folder = tmp_path_factory.mktemp("converted")
    source = folder / "source.pcap"
    source.write_bytes(pcap_bytes(FRAMES))

    def convert(name):
        target = folder / name
        subprocess.run([editcap, "-F", name, source, target], check=True, capture_output=True, env=ENVIRONMENT)
        return target

    return convert


@pytest.mark.parametrize("name", READ)
def test_a_format_that_is_read_gives_what_tshark_sees(convert, require_program, name):
    path = convert(name)
    fields = ("frame.time_epoch", "frame.len", "frame.cap_len")
    command = [require_program("tshark"), "-n", "-r", path, "-T", "fields", *(f"-e{field}" for field in fields)]
    lines = subprocess.run(command, check=True, capture_output=True, text=True, env=ENVIRONMENT).stdout.splitlines()
    seen = []
    for line in lines:
        seconds, wire, captured = line.split("\t")
        whole, _, fraction = seconds.partition(".")
        seen.append((int(whole) * 10**9 + int(fraction.ljust(9, "0")), int(wire), int(captured)))
    outcome = read_capture(path, input_timezone="UTC")
    assert outcome.error is None
    assert [(r.time_ns, r.wire_bytes, len(r.data)) for r in outcome.rows] == seen
    assert [r.data for r in outcome.rows] == [f.data for f in FRAMES]


@pytest.mark.parametrize("name", REFUSED)
def test_a_format_that_is_not_read_is_refused_by_name_with_the_way_out(convert, name):
    outcome = read_capture(convert(name))
    assert outcome.rows == []
    assert REFUSED[name] in str(outcome.error)
    assert "editcap FILE NEW.pcapng" in str(outcome.error)
