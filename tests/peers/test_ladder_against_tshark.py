"""The ladder's relative numbers are those of tshark, line by line, in the whole corpus, or the difference is proved.

tshark's words are the stored ones. Where a number differs, both sides began to count elsewhere; from where follows from
the number itself, and why is one of the reasons below, each a rule that the frames must obey.
"""

from __future__ import annotations

import csv
import io
import lzma
from collections import Counter
from typing import NamedTuple

import pytest

import tcpsight
from tcpsight.conversations.ladder import LadderMaking
from tcpsight.errors import TcpsightError
from tcpsight.tables import INT64_MIN, SegmentDetails

pytestmark = pytest.mark.peers

FIN, SYN, RST, ACK = 1, 2, 4, 16

FUZZED = "ntop_nDPI/tests/cfgs/default/pcap/fuzz-2006-09-29-28586.pcap"

DIFFERS = {
    ("OISF_suricata-verify/tests/tcp-fastopen-10-syn-data-ignore/input.pcap", "a SYN that nobody acknowledged"): 27,
    ("arkime_arkime/tests/pcap/tcp_handshake_synthetic.pcap", "a SYN that nobody acknowledged"): 1,
    ("ntop_nDPI/tests/cfgs/default/pcap/KakaoTalk_chat.pcap", "a SYN that nobody acknowledged"): 32,
    ("ntop_nDPI/tests/cfgs/default/pcap/ajp.pcap", "a header that tshark could not read"): 14,
    (FUZZED, "a SYN-ACK that acknowledges no SYN"): 3,
    (FUZZED, "what was acknowledged first, not the first number sent"): 7,
    (FUZZED, "a stream that began with a SYN that tshark could not read"): 6,
    (
        "ntop_nDPI/tests/cfgs/default/pcap/ndpi_match_string_subprotocol__error.pcapng",
        "a SYN before the last SYN-ACK, which acknowledges another",
    ): 7,
    ("ntop_nDPI/tests/cfgs/default/pcap/reasm_crash_anon.pcapng", "a header that tshark could not read"): 2,
    ("ntop_nDPI/tests/cfgs/default/pcap/reasm_crash_anon.pcapng", "a SYN with RST or FIN, amid the stream"): 112,
    ("zeek_zeek/testing/btest/Traces/tunnels/tunnel-direct-bypass.pcap", "a stream outside of the tunnel"): 10,
}
"""How many numbers of which capture differ for which reason: what tshark counts from, or shows."""


class Line(NamedTuple):
    """A frame in tshark's words."""

    number: int
    stream: str
    source: str
    relative: tuple[int, int]
    sent: tuple[int, int]
    flags: int
    is_read: bool
    is_tunnelled: bool


def told_by_tshark(corpus, name):
    """Give tshark's lines by frame number; of a frame with several TCP headers the last."""
    found = {}
    with lzma.open(corpus / "peers" / f"{name}.tshark.tsv.xz", "rt", newline="") as file:
        text = file.read()
    for row in csv.DictReader(io.StringIO(text), delimiter="\t", quoting=csv.QUOTE_NONE):
        cells = {
            key: (row[f"tcp.{key}"] or "").split(",")[-1] for key in ("seq", "ack", "seq_raw", "ack_raw", "srcport")
        }
        if not cells["seq"] or not cells["seq_raw"]:
            continue
        numbers = [int(cells[key] or 0) for key in ("seq", "ack", "seq_raw", "ack_raw")]
        layers = row["frame.protocols"].split(":")
        found[int(row["frame.number"])] = Line(
            int(row["frame.number"]),
            row["tcp.stream"],
            cells["srcport"],
            (numbers[0], numbers[1]),
            (numbers[2], numbers[3]),
            int((row["tcp.flags"] or "0").split(",")[-1], 0),
            bool(row["tcp.len"]),
            layers.count("ip") + layers.count("ipv6") > 1,
        )
    return found


def told_here(path):
    making = LadderMaking()
    names = ("frame_number", "relative_sequence", "relative_acknowledgment", "sequence_number")
    with tcpsight.open(path).run(SegmentDetails) as run:
        for batch in run:
            table = making.of_batch(batch)
            yield from zip(*(table.rows[name].tolist() for name in names), strict=True)


def why(line, which, ours, theirs):
    """Give the reason for which a number of a line, 0 for sequence, 1 for acknowledgment, differs; empty for none.

    Whose number it is, is the one side of the stream; the other one acknowledges it.
    """
    if not line.is_read and line.relative == line.sent:
        return "a header that tshark could not read"
    theirs_from, ours_from = ((line.sent[which] - number) % 2**32 for number in (line.relative[which], ours))
    stream = [each for each in theirs.values() if each.stream == line.stream]
    mine = [each for each in stream if (each.source == line.source) == (which == 0)]
    others = [each for each in stream if (each.source == line.source) != (which == 0)]
    syns = {each.sent[0]: each for each in mine if each.flags & SYN}
    acknowledged = {each.sent[1] for each in others if each.flags & ACK}
    of_syn_acks = {each.sent[1] for each in others if each.flags & (SYN | ACK) == SYN | ACK}
    plain = [each for each in others if each.flags & (SYN | ACK) == ACK]
    begun = {(each.sent[0] + 1) % 2**32 for each in others if each.flags & SYN}
    syn = syns.get(theirs_from)
    if syn is None:
        if not syns and mine and ours_from == (mine[0].sent[0] - 1) % 2**32:
            return "what was acknowledged first, not the first number sent"
        before = (each for each in theirs.values() if each.stream != line.stream and each.number < line.number)
        froms = {(each.sent[i] - each.relative[i]) % 2**32 for each in before if each.is_read for i in (0, 1)}
        if not stream[0].is_read and stream[0].flags & SYN and ours_from in froms:
            return "a stream that began with a SYN that tshark could not read"
        if line.is_tunnelled != stream[0].is_tunnelled:
            return "a stream outside of the tunnel"
        return ""
    if syn.flags & (FIN | RST) and not any(each.flags & SYN for each in mine if not each.flags & (FIN | RST)):
        return "a SYN with RST or FIN, amid the stream"
    if ours_from in syns and (ours_from + 1) % 2**32 in acknowledged and (theirs_from + 1) % 2**32 not in acknowledged:
        return "a SYN that nobody acknowledged"
    if (ours_from + 1) % 2**32 in of_syn_acks and ours_from not in syns:
        return "a SYN before the last SYN-ACK, which acknowledges another"
    if syn.flags & ACK and syn.sent[1] not in begun and plain and ours_from == (plain[0].sent[1] - 1) % 2**32:
        return "a SYN-ACK that acknowledges no SYN"
    return ""


def test_relative_numbers_are_those_of_tshark(corpus_dir):
    compared = 0
    differs: Counter[tuple[str, str]] = Counter()
    unexplained = []
    for path in sorted((corpus_dir / "peers").glob("**/*.tshark.tsv.xz")):
        name = str(path.relative_to(corpus_dir / "peers")).removesuffix(".tshark.tsv.xz")
        theirs = told_by_tshark(corpus_dir, name)
        try:
            ours = list(told_here(corpus_dir / "captures" / name))
        except TcpsightError:
            continue
        for frame, sequence, acknowledgment, sent in ours:
            line = theirs.get(frame)
            if line is None or line.sent[0] != sent:
                continue
            compared += 1
            # Without ACK the field means nothing; tshark shows it all the same.
            numbers = (sequence, line.relative[1] if acknowledgment == INT64_MIN else acknowledgment)
            for which, number in enumerate(numbers):
                if number % 2**32 != line.relative[which]:
                    reason = why(line, which, number, theirs)
                    differs[name, reason] += 1
                    if not reason:
                        unexplained.append((name, line, which, number))
    assert not unexplained
    assert differs == DIFFERS
    assert compared > 53_000
