"""Frame counts of real captures equal those that others counted."""

from __future__ import annotations

import csv
import lzma

from tests.support.capture import read_capture

# The index counts what tshark gave; these differ, each for a reason.
EXCEPTIONS = {
    # tshark stops at the second frame, tcpdump reads all 40.
    "blitz_tcptrace/input/bad_ack_code.dmp": 40,
}
# Sound up to the last whole frame, then cut or damaged; tshark says so, too.
BROKEN = {
    "OISF_suricata-verify/tests/bug-1450-05/tls_DER-incomplete-content.pcap",
    "secdev_scapy/test/pcaps/bad_rsn_parsing_overrides_ssid.pcap",
}

# Words about a capture, under a misleading name.
NO_CAPTURE = "blitz_tcptrace/README.pcap"


def test_every_capture_of_the_corpus_gives_as_many_frames_as_its_index_says(corpus_dir):
    with (corpus_dir / "INDEX.csv").open(newline="") as index:
        known = [row for row in csv.DictReader(index) if row["format"] in ("pcap", "pcapng")]
    wrong = {}
    for row in known:
        path = row["path"]
        outcome = read_capture(corpus_dir / "captures" / path)
        expected = EXCEPTIONS.get(path, int(row["packets"]))
        if len(outcome.rows) != expected or (outcome.error is not None) != (path in BROKEN):
            wrong[path] = (expected, len(outcome.rows), str(outcome.error))
    assert not wrong
    assert len(known) > 800


def other_captures(corpus_dir):
    with (corpus_dir / "INDEX.csv").open(newline="") as index:
        return [row["path"] for row in csv.DictReader(index) if row["format"] not in ("pcap", "pcapng")]


def test_captures_in_other_formats_have_the_frames_that_tshark_sees(corpus_dir):
    read = 0
    for path in other_captures(corpus_dir):
        if path == NO_CAPTURE:
            continue
        with lzma.open(corpus_dir / "peers" / f"{path}.tshark.tsv.xz", "rt") as lines:
            seen = list(csv.DictReader(lines, delimiter="\t"))
        outcome = read_capture(corpus_dir / "captures" / path)
        assert outcome.error is None
        # The stored results leave out what is not IP.
        for frame in seen:
            row = outcome.rows[int(frame["frame.number"]) - 1]
            expected = (epoch_ns(frame["frame.time_epoch"]), int(frame["frame.len"]), int(frame["frame.cap_len"]))
            assert (row.time_ns, row.wire_bytes, len(row.data)) == expected
        assert seen
        read += 1
    assert read == 5


def epoch_ns(text: str) -> int:
    seconds, _, fraction = text.partition(".")
    return int(seconds) * 10**9 + int(fraction.ljust(9, "0"))


def test_what_is_no_capture_is_refused_by_name(corpus_dir):
    outcome = read_capture(corpus_dir / "captures" / NO_CAPTURE)
    assert outcome.rows == []
    assert "is text, but not the text of tcpdump" in str(outcome.error)
