"""Frame counts of real captures equal those that others counted."""

from __future__ import annotations

import csv

import pytest

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


@pytest.mark.parametrize("format_name", ["snoop", "?"])
def test_what_is_not_read_is_refused_by_name(corpus_dir, format_name):
    with (corpus_dir / "INDEX.csv").open(newline="") as index:
        paths = [row["path"] for row in csv.DictReader(index) if row["format"] == format_name]
    for path in paths:
        outcome = read_capture(corpus_dir / "captures" / path)
        assert outcome.rows == []
        assert outcome.error is not None
        assert outcome.error.path.endswith(path)
