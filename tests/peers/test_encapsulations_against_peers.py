"""Everything that is claimed to be readable, as tshark and tcpdump read it.

The frames are this project's own, so one of two programs that know nothing of it must find the same endpoints in each.
Where neither knows the format, the specification is named that the frame was written from.
"""

from __future__ import annotations

import subprocess

import pytest

from tests.support.encapsulations import CASES
from tests.support.pcap import Frame, Interface, pcap_bytes, pcapng_bytes

pytestmark = pytest.mark.peers

# What tshark has to be told because nothing in the frame tells it.
TSHARK_OPTIONS = ["-d", "udp.port==8472,vxlan", "-d", "mpls.label==17,pwethcw", "-o", "docsis.check_fcs:FALSE"]
FROM_SPECIFICATIONS = {
    "L2TPv3 in IP": "RFC 3931 §4.1.1; peers must have seen the session's setup",
    "Cisco HDLC with a direction": "LINKTYPE_C_HDLC_WITH_DIR: one byte, then LINKTYPE_C_HDLC",
    "frame relay with a direction": "LINKTYPE_FRELAY_WITH_DIR: one byte, then LINKTYPE_FRELAY",
    "frame relay captured on any": "LINKTYPE_LINUX_SLL: under ARPHRD_FRAD a frame relay header follows",
    "NFLOG of a big-endian machine": "LINKTYPE_NFLOG: lengths and types in the order of the machine",
}


def found_by_tshark(program, folder):
    """Give the names of the cases in which tshark finds the segment."""
    links = sorted({case.link_type for case in CASES.values()})
    frames = [Frame(i, case.data, interface=links.index(case.link_type)) for i, case in enumerate(CASES.values())]
    path = folder / "cases.pcapng"
    path.write_bytes(pcapng_bytes(frames, interfaces=[Interface(link, ticks=9) for link in links]))
    fields = [word for name in ("tcp.srcport", "tcp.dstport", "tcp.len") for word in ("-e", name)]
    command = [program, "-r", str(path), *TSHARK_OPTIONS, "-T", "fields", *fields]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return {name for name, line in zip(CASES, lines, strict=True) if line.split("\t") == ["1234", "80", "5"]}


def is_found_by_tcpdump(program, folder, case):
    """Tell whether tcpdump prints the segment."""
    path = folder / "case.pcap"
    path.write_bytes(pcap_bytes([(0, case.data)], link_type=case.link_type))
    command = [program, "-nn", "-t", "-r", str(path)]
    text = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    return any(f"{a}.1234 > {b}.80: " in text for a, b in (("10.0.0.1", "10.0.0.2"), ("2001:db8::1", "2001:db8::2")))


def test_peers_find_the_same_segment_in_every_frame(require_program, tmp_path):
    tshark, tcpdump = require_program("tshark"), require_program("tcpdump")
    found = found_by_tshark(tshark, tmp_path)
    left = [name for name in CASES if name not in found]
    left = [name for name in left if not is_found_by_tcpdump(tcpdump, tmp_path, CASES[name])]
    assert left == [name for name in CASES if name in FROM_SPECIFICATIONS]
