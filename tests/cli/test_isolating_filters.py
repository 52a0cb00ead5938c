"""The filter that is printed for a connection finds its frames, whatever stands in front of IP."""

from __future__ import annotations

import json
import shlex
import subprocess

import pytest

from tests.support.layers import ethernet, gre, labelled, pppoe, tagged, typed, vxlan
from tests.support.pcap import pcap_bytes
from tests.support.traffic import Talk, answered, capture

TALKS = [Talk(answered(1, 2)), Talk(answered(5, 3, 9), client_port=40_001)]
PLAIN = "tcp and host 10.0.0.1 and host 10.0.0.9 and port 40001 and port 3306"

BY_BPF = {
    "no tag": lambda ip: ip,
    "one tag": lambda ip: tagged(0x8100, ip),
    "two tags": lambda ip: tagged(0x88A8, tagged(0x8100, ip)),
}
BY_TSHARK = {
    "three tags": lambda ip: tagged(0x88A8, tagged(0x8100, tagged(0x8100, ip))),
    "labels": lambda ip: labelled(ip, 2),
    "PPPoE": pppoe,
    "PPPoE in a tag": lambda ip: tagged(0x8100, pppoe(ip)),
    "GRE": gre,
    "VXLAN": vxlan,
}


@pytest.fixture
def write(tmp_path):
    def write(*packings):
        """Pack the frames in turn in each of these ways."""
        frames = [
            (frame.time_ns, ethernet(packings[i % len(packings)](typed(frame.data[14:]))).data)
            for i, frame in enumerate(capture(TALKS))
        ]
        path = tmp_path / "packed.pcap"
        path.write_bytes(pcap_bytes(frames))
        return path

    return write


def filters(here, path):
    """Give the second connection's row of buckets, and the filter of its request in the report."""
    rows = here("buckets", path, "--bucket", "all", "--format", "csv").rows()
    row = next(row for row in rows if row["client_port"] == "40001")
    (service,) = json.loads(here("report", path, "--format", "json").out)["services"]
    request = next(each for each in service["slowest_requests"] if each["client_port"] == 40_001)
    return row, request["filter"]


def lines(command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


@pytest.mark.parametrize("packings", [*((name,) for name in BY_BPF), tuple(BY_BPF)], ids=" and ".join)
def test_behind_tags_tcpdump_and_filter_find_the_frames(here, write, require_program, packings):
    path = write(*(BY_BPF[name] for name in packings))
    row, reported = filters(here, path)
    assert row["capture_filter"] == reported
    assert (reported == PLAIN) == (packings == ("no tag",))
    found = lines([require_program("tcpdump"), "-nn", "-r", str(path), reported])
    assert len(found) == int(row["client_segments"]) + int(row["server_segments"]) > 0
    again = here("connections", path, "--filter", reported, "--format", "csv").rows()
    assert [each["client_port"] for each in again] == ["40001"]
    assert again[0]["client_segments"] == row["client_segments"]


@pytest.mark.parametrize("packing", BY_TSHARK)
def test_where_no_capture_filter_looks_a_display_filter_finds_the_frames(here, write, require_program, packing):
    path = write(BY_TSHARK[packing])
    row, reported = filters(here, path)
    assert row["capture_filter"] == reported
    program, *options = shlex.split(reported)
    found = lines([require_program(program), *options, "-r", str(path)])
    assert len(found) == int(row["client_segments"]) + int(row["server_segments"]) > 0


def test_the_page_tells_what_is_inside_a_tunnel(here, write):
    assert "2 connections inside vxlan\n" in here("report", write(vxlan)).text
    twice = " ".join(here("report", write(vxlan, lambda ip: ip)).text.split())  # however the page is broken into lines
    assert "2 connections inside vxlan, 2 pairs of endpoints seen inside and outside of tunnels: counted twice" in twice
