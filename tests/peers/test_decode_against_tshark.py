"""Every TCP header of the corpus, as tshark read it and as we read it.

tshark's words for each frame are stored beside the captures. Where the two differ, the difference must be one of
those explained here; each rule names what happened, why we read it as we do, and what must hold for it to apply.
"""

from __future__ import annotations

import csv
import io
import ipaddress
import lzma
from collections import Counter

import pytest

from tcpsight.tables import (
    OPTION_CUT,
    OPTION_MSS,
    OPTION_SACK,
    OPTION_SACK_PERMITTED,
    OPTION_TIMESTAMPS,
    OPTION_WINDOW_SCALE,
)
from tests.peers.ours import decoded
from tests.support.thorough import IS_THOROUGH, some_of

pytestmark = pytest.mark.peers

# What quotes packets, or parts of them, that went elsewhere, in tshark's names.
QUOTING = {"icmp", "icmpv6", "sflow"}
OPTION_KINDS = {2: OPTION_MSS, 3: OPTION_WINDOW_SCALE, 4: OPTION_SACK_PERMITTED, 5: OPTION_SACK, 8: OPTION_TIMESTAMPS}
OPTION_BITS = sum(OPTION_KINDS.values())


def tshark_rows(path):
    """Give what tshark said of each frame, by frame number."""
    text = lzma.decompress(path.read_bytes()).decode("utf-8", "replace")
    reader = csv.DictReader(io.StringIO(text), delimiter="\t", quoting=csv.QUOTE_NONE)
    return {int(row["frame.number"]): row for row in reader}


def is_quoted(tshark):
    """Tell whether the TCP header that tshark found is part of a report on another packet."""
    return bool(QUOTING & set(tshark["frame.protocols"].split(":")))


def as_number(text):
    """Give the last number of a field: tshark lists those of outer packets before it."""
    text = text.rpartition(",")[2]
    return int(text, 0) if text else 0


def as_address(tshark, side):
    """Give the address of the innermost packet."""
    is_v6 = as_number(tshark["ip.version"]) in (0, 6)
    text = tshark[f"ipv6.{side}" if is_v6 else f"ip.{side}"].rpartition(",")[2]
    return ipaddress.ip_address(text if is_v6 else f"::ffff:{text}").packed


def tshark_fields(tshark):
    """Give tshark's words the form of ours; SACK edges are relative to the acknowledged stream's beginning there."""
    base = as_number(tshark["tcp.ack_raw"]) - as_number(tshark["tcp.ack"])
    edges = [
        [(base + int(e)) % 2**32 for e in tshark[f"tcp.options.sack_{side}"].split(",") if e] for side in ("le", "re")
    ]
    kinds = {int(kind) for kind in tshark["tcp.option_kind"].split(",") if kind}
    return {
        "source_port": as_number(tshark["tcp.srcport"]),
        "destination_port": as_number(tshark["tcp.dstport"]),
        "sequence_number": as_number(tshark["tcp.seq_raw"]),
        "acknowledgment_number": as_number(tshark["tcp.ack_raw"]),
        "payload_bytes": as_number(tshark["tcp.len"]),
        "flags": as_number(tshark["tcp.flags"]) & 0x1FF,
        "window": as_number(tshark["tcp.window_size_value"]),
        "source_address": as_address(tshark, "src"),
        "destination_address": as_address(tshark, "dst"),
        "ip_version": as_number(tshark["ip.version"]) or 6,
        "ip_id": as_number(tshark["ip.id"]) if as_number(tshark["ip.version"]) == 4 else 0,
        "ttl": as_number(tshark["ip.ttl"]) if as_number(tshark["ip.version"]) == 4 else 0,
        "mss_bytes": as_number(tshark["tcp.options.mss_val"]),
        "window_scale": min(as_number(tshark["tcp.options.wscale.shift"]), 14),
        "timestamp_value": as_number(tshark["tcp.options.timestamp.tsval"]),
        "timestamp_echo": as_number(tshark["tcp.options.timestamp.tsecr"]),
        "options": sum(bit for kind, bit in OPTION_KINDS.items() if kind in kinds),
        # A snaplen may cut the last edge off.
        "sack": list(zip(*edges, strict=False)),
    }


def our_fields(row):
    """Give our words the form of tshark's."""
    ours = {name: row[name].tolist() for name in row.dtype.names}
    ours["options"] &= OPTION_BITS
    for name in ("source_address", "destination_address"):
        ours[name] = bytes(ours[name])
    ours["sack"] = [tuple(ours["sack"][2 * i : 2 * i + 2]) for i in range(ours["sack_count"])]
    if ours["ip_version"] == 6:
        # The hop limit is not among the stored fields.
        ours["ttl"] = 0
    return ours


def differences(tshark, row):
    theirs, ours = tshark_fields(tshark), our_fields(row)
    return {name: (theirs[name], ours[name]) for name in theirs if theirs[name] != ours[name]}


def why_no_row(tshark, reason):
    """Explain a TCP header that tshark shows and we do not; None if it cannot be explained."""
    if is_quoted(tshark):
        # Routers quote the packet that they did not forward, sFlow samples those that passed by: neither is a segment
        # of a connection on this wire.
        return "quoted"
    if reason == "fragment" and tshark["ip.flags.mf"] == "1":
        # The rest of the packet is not in the capture; tshark shows what stands in its first fragment.
        return "lost fragment"
    has_impossible_offset = not tshark["tcp.len"] or as_number(tshark["tcp.hdr_len"]) < 20
    if reason == "malformed_tcp" and has_impossible_offset:
        # tshark shows the fields it read before it found the data offset below 5 or beyond the packet.
        return "malformed"
    if reason == "truncated_frame" and not tshark["tcp.hdr_len"]:
        # tshark shows the fields before the cut.
        return "truncated"
    return None


def why_different(tshark, row, different):
    """Explain fields that differ; None if they cannot be explained."""
    if set(different) <= {"options", "timestamp_value"} and row["options"] & OPTION_CUT:
        # tshark names the option that the snaplen cut in two, and shows of it at most what is whole.
        return "option cut"
    at_the_end = {"payload_bytes", "options", "window_scale", "timestamp_echo"}
    missing = row["payload_bytes"] - as_number(tshark["tcp.len"])
    if "cfp" in tshark["frame.protocols"] and set(different) <= at_the_end and missing in (0, 4):
        # FabricPath: tshark takes the last four bytes for the outer frame's check sequence, which was not captured, so
        # it misses the end of the payload or of the options.
        return "end of a FabricPath frame"
    ends_with_the_frame = tshark["frame.len"] == tshark["frame.cap_len"]
    ends_with_the_frame &= as_number(tshark["tcp.len"]) == row["captured_payload_bytes"]
    if (
        set(different) == {"payload_bytes"}
        and ends_with_the_frame
        and row["payload_bytes"] > row["captured_payload_bytes"]
    ):
        # Payload was cut away and the rest written as the length on the wire: tshark believes the frame, we the IP
        # header. In fuzzed captures the IP length itself is damaged; no rule could tell.
        return "IP length beyond the frame"
    return None


def why_tshark_has_no_row(tshark, row):
    """Explain a row of ours where tshark shows no TCP header; None if it cannot be explained."""
    if tshark["frame.protocols"].endswith("ipv6:tcp") and row["payload_bytes"] > 65_535:
        # BIG TCP: more than the length field can tell, so it is zero; this tshark took that for an empty packet.
        return "IPv6 length zero"
    return None


def compare(tshark, ours, tally, unexplained):
    """Compare one capture, frame by frame; count what agrees and what can be explained."""
    for number, fate in ours.items():
        theirs = tshark.get(number)
        if theirs is None:
            # The tables hold frames with TCP, and not every one without.
            tally["not in tshark's table"] += 1
            if not isinstance(fate, str):
                unexplained.append((number, "not in tshark's table"))
        elif isinstance(fate, str):
            why = why_no_row(theirs, fate) if theirs["tcp.srcport"] else "no TCP"
            tally[why] += 1
            if why is None:
                unexplained.append((number, fate, theirs["frame.protocols"]))
        elif not theirs["tcp.srcport"]:
            why = why_tshark_has_no_row(theirs, fate)
            tally[why] += 1
            if why is None:
                unexplained.append((number, "no TCP in tshark", theirs["frame.protocols"]))
        else:
            different = differences(theirs, fate)
            why = why_different(theirs, fate, different) if different else "equal"
            tally[why] += 1
            if why is None:
                unexplained.append((number, different, theirs["frame.protocols"]))


def test_headers_equal_those_of_tshark(corpus_dir):
    tally: Counter[str | None] = Counter()
    unexplained = {}
    for table in some_of(sorted(corpus_dir.glob("peers/**/*.tshark.tsv.xz")), 3):
        path = table.relative_to(corpus_dir / "peers").as_posix().removesuffix(".tshark.tsv.xz")
        if not (corpus_dir / "captures" / path).is_file():
            tally["capture missing"] += 1
            continue
        found: list[tuple[object, ...]] = []
        compare(tshark_rows(table), dict(decoded(corpus_dir / "captures" / path)), tally, found)
        if found:
            unexplained[path] = found
    print(tally)
    assert not unexplained
    assert tally["equal"] > (45_000 if IS_THOROUGH else 5_000)
