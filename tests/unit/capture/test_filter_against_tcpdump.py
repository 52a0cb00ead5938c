"""Filters let through the frames that tcpdump lets through."""

from __future__ import annotations

import re
import struct
import subprocess

import pytest

from tcpsight.capture.filter import FrameFilter
from tcpsight.capture.formats import open_reader
from tcpsight.capture.reader import CaptureFile, ReadOptions
from tcpsight.errors import UsageError
from tests.support.text import Memory

pytestmark = pytest.mark.peers

EXPRESSIONS = (
    "tcp",
    "not tcp",
    "port 80 or port 443",
    "ip6",
    "ip6 proto 6",
    "vlan",
    "vlan and tcp",
    "mpls",
    "pppoes and tcp",
    "tcp[tcpflags] & (tcp-syn|tcp-fin) != 0",
    "greater 200",
    "len > 60 and len % 2 = 0",
    "ip[8] < 64",
    "tcp and ((ip[2:2] - ((ip[0] & 0xf) << 2)) - ((tcp[12] & 0xf0) >> 2)) != 0",
    "src net 192.168.0.0/16",
    "portrange 1-1024",
    "tcp[0:4] * 3 > 7 or udp[4:2] / 2 > 5",
    "",
)

CAPTURES = (
    "LibtraceTeam_libtrace/test/traces/vlan.pcap",
    "EricssonResearch_spindump/test/trace_tcp_short_sack.pcap",
    "OISF_suricata-verify/tests/decode-sll2-01/input.pcap",
    "OISF_suricata-verify/tests/http-ipv6/input.pcap",
    "zeek_zeek/testing/btest/Traces/redis/pipeline-with-commands.pcap",
    "zeek_zeek/doc/advanced/devel/spicy/examples/request-line.pcap",
    "arkime_arkime/tests/pcap/mpls-basic.pcap",
    "seladb_PcapPlusPlus/Tests/Pcap++Test/PcapExamples/one_http_stream_rst.pcap",
    "OISF_suricata-verify/tests/bug-2576-01-ips/temp6.pcap",
    "ntop_nDPI/tests/cfgs/default/pcap/psiphon3.pcap",
)


def numbers_of(capture: bytes, expression: str) -> list[int]:
    reader = open_reader(Memory(capture), CaptureFile(0, "x"), ReadOptions(batch_frames=64))
    chosen, numbers = FrameFilter(expression), []
    while (frames := reader.read()) is not None:
        numbers += chosen.apply(frames).frame_number.tolist()
    assert chosen.matched == len(numbers)
    return numbers


def records_of(capture: bytes) -> list[bytes]:
    """Cut a classic pcap file into its frames, times included."""
    endian = "<" if capture[:1] in b"\xd4\x4d" else ">"
    at, records = 24, []
    while at < len(capture):
        size = struct.unpack_from(endian + "I", capture, at + 8)[0]
        records.append(capture[at : at + 16 + size])
        at += 16 + size
    return records


@pytest.mark.parametrize("name", CAPTURES, ids=lambda name: name.split("/")[-1])
def test_the_same_frames_pass_as_with_tcpdump(corpus_dir, name, require_program):
    tcpdump = require_program("tcpdump")
    path = corpus_dir / "captures" / name
    everything = None
    for expression in reversed(EXPRESSIONS):
        written = subprocess.run([tcpdump, "-r", str(path), "-w", "-", expression], capture_output=True, check=False)
        if written.returncode and b"rejects all packets" not in written.stderr:
            message = written.stderr.decode().splitlines()[-1].removeprefix("tcpdump: ")
            with pytest.raises(UsageError, match=re.escape(message)):
                numbers_of(path.read_bytes(), expression)
            continue
        numbers = numbers_of(path.read_bytes(), expression)
        if written.returncode:
            assert numbers == []
            continue
        records = records_of(written.stdout)
        everything = records if everything is None else everything
        assert [everything[number - 1] for number in numbers] == records, expression
