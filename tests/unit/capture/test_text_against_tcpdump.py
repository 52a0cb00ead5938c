"""What the installed tcpdump prints of a capture leads to the same segments as the capture itself."""

from __future__ import annotations

import subprocess

import numpy as np
import pytest

from tcpsight.tables import FLAG_ACK, FLAG_FIN, FLAG_RST, FLAG_SYN
from tests.support.text import read

pytestmark = pytest.mark.peers

ALWAYS = ("time_ns", "source_address", "destination_address", "source_port", "destination_port", "payload_bytes")
SEQUENCED = (
    "flags",
    "window",
    "window_scale",
    "options",
    "sack_count",
    "mss_bytes",
    "timestamp_value",
    "timestamp_echo",
)

CAPTURES = {
    "blocks": "EricssonResearch_spindump/test/trace_tcp_short_sack.pcap",
    "vlan": "LibtraceTeam_libtrace/test/traces/vlan.pcap",
    "any": "OISF_suricata-verify/tests/decode-sll2-01/input.pcap",
    "split handshake": "OISF_suricata-verify/tests/tcp-split-handshake-01-4whs/input.pcap",
    "gaps": "OISF_suricata-verify/tests/http-gap-double/input.pcap",
    "midstream": "OISF_suricata-verify/tests/alert-testmyids-midstream3/input.pcap",
    "fast open": "OISF_suricata-verify/tests/tcp-fastopen-08/tcp_fastopen_segmentation-s1.pcap",
    "IPv6": "OISF_suricata-verify/tests/http-ipv6/input.pcap",
    "retransmissions": "zeek_zeek/testing/btest/Traces/tcp/retransmit-fast009.pcap",
    "multipath": "the-tcpdump-group_tcpdump/tests/mptcp-aa-v1.pcap",
    "signatures": "arkime_arkime/tests/pcap/cloudshark-bgp-md5.pcap",
}


def printed(tcpdump: str, path, *options: str) -> bytes:
    command = [tcpdump, "-nn", "-tttt", "--nano", *options, "-r", str(path)]
    return subprocess.run(command, capture_output=True, check=False).stdout


@pytest.fixture(params=CAPTURES, ids=lambda name: name.replace(" ", "-"))
def capture(request, corpus_dir):
    path = corpus_dir / "captures" / CAPTURES[request.param]
    if not path.exists():
        candidates = sorted(path.parent.glob("*.pcap*"))
        assert candidates, path
        path = candidates[0]
    return path


def unseen_of(reading) -> dict[str, int]:
    """Give the counts; without -v a first fragment looks like any other packet."""
    counts = dict(reading.unseen)
    counts["not_tcp"] = counts.pop("fragment", 0) + counts.get("not_tcp", 0)
    return counts


def stream_of(row) -> tuple[bytes, int, bytes, int]:
    return (
        bytes(row["source_address"]),
        int(row["source_port"]),
        bytes(row["destination_address"]),
        int(row["destination_port"]),
    )


def assert_numbers_agree(binary, text) -> None:
    """Numbers agree up to a constant per direction and SYN."""
    shifts: dict[tuple[bytes, int, bytes, int], int] = {}

    def compare(stream, expected, found, row):
        shift = (int(expected) - int(found)) & 0xFFFFFFFF
        assert shifts.setdefault(stream, shift) == shift, f"frame {row['frame_number']}"

    for a, b in zip(binary.rows, text.rows, strict=True):
        stream = stream_of(a)
        if a["flags"] & FLAG_SYN:
            shifts.pop(stream, None)
        # A segment without these does not print its sequence number.
        if a["payload_bytes"] or a["flags"] & (FLAG_SYN | FLAG_FIN | FLAG_RST):
            compare(stream, a["sequence_number"], b["sequence_number"], a)
        if a["flags"] & FLAG_ACK:
            reverse = stream[2:] + stream[:2]
            compare(reverse, a["acknowledgment_number"], b["acknowledgment_number"], a)
            for i in range(2 * int(a["sack_count"])):
                compare(reverse, a["sack"][i], b["sack"][i], a)


def unsequenced_share(binary, text) -> float:
    """Share of the segments without data whose number, not printed, was reconstructed wrongly."""
    shown = (binary.payload_bytes > 0) | (binary.flags & (FLAG_SYN | FLAG_FIN | FLAG_RST) > 0)
    if shown.all():
        return 0.0
    return float((binary.sequence_number != text.sequence_number)[~shown].mean())


@pytest.mark.parametrize(
    "options", ["", "-S", "-v", "-vv", "-e", "-e -v", "-#", "-X", "-x", "-xx", "-q -x", "-q -XX", "-v -x"]
)
def test_sequenced_text_gives_the_segments_of_the_capture(capture, options, require_program):
    text = read(printed(require_program("tcpdump"), capture, *options.split()))
    binary = read(capture.read_bytes(), is_text=False)
    assert len(text.frames) == len(binary.frames)
    assert unseen_of(text) == unseen_of(binary)
    if "x" not in options.lower():
        # Payload tells records of TLS; without hex lines there is none.
        for name in ("tls", "tls_bytes", "tls_records"):
            binary.headers.rows[name] = 0
    for name in ("frame_number", *ALWAYS, *SEQUENCED):
        assert np.array_equal(getattr(text.headers, name), getattr(binary.headers, name)), name
    assert_numbers_agree(binary.headers, text.headers)


@pytest.mark.parametrize("options", ["-q", "-q -v", "-q -e"])
def test_length_only_text_gives_times_and_lengths_of_the_capture(capture, options, require_program):
    text = read(printed(require_program("tcpdump"), capture, *options.split()))
    binary = read(capture.read_bytes(), is_text=False)
    assert len(text.frames) == len(binary.frames)
    assert unseen_of(text) == unseen_of(binary)
    for name in ("frame_number", *ALWAYS):
        assert np.array_equal(getattr(text.headers, name), getattr(binary.headers, name)), name


def test_hex_text_gives_the_bytes_of_the_capture(capture, require_program):
    text = read(printed(require_program("tcpdump"), capture, "-xx"))
    binary = read(capture.read_bytes(), is_text=False)
    assert bytes(text.frames.data) == b"".join(binary.frame_bytes(i) for i in range(len(binary.frames)))
    assert text.frames.link_type.tolist() == binary.frames.link_type.tolist()


@pytest.mark.parametrize("options", ["", "-S"])
def test_numbers_that_are_not_printed_are_reconstructed(examples_dir, options, require_program):
    for path in sorted(examples_dir.glob("*.pcap")):
        command = [require_program("tcpdump"), "-nn", "-tttt", "-c", "3000", *options.split(), "-r", str(path)]
        text = read(subprocess.run(command, capture_output=True, check=True).stdout).headers
        whole = read(path.read_bytes(), is_text=False).headers
        binary = whole[: len(text)]
        assert_numbers_agree(binary, text)
        assert unsequenced_share(binary, text) == 0, path.name


def test_ports_printed_by_name_are_the_same_ports(examples_dir, require_program):
    for path in sorted(examples_dir.glob("*.pcap")):
        texts = [
            subprocess.run(
                [require_program("tcpdump"), *names, "-tttt", "-q", "-c", "200", "-r", str(path)],
                capture_output=True,
                check=True,
            ).stdout
            for names in (["-nn"], ["-n"])
        ]
        numbers, named = (read(text).headers for text in texts)
        assert numbers.rows["source_port"].tolist() == named.rows["source_port"].tolist()
        assert numbers.rows["destination_port"].tolist() == named.rows["destination_port"].tolist()
