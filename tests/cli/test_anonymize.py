"""``tcpsight anonymize``: its options, and what it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.running import Here, assert_one_line
from tests.support.capture import read_capture


def test_the_same_key_gives_the_same_copy_and_another_key_another(here: Here, pcap: Path, tmp_path: Path):
    copies = [tmp_path / f"{number}.pcap" for number in range(4)]
    key = tmp_path / "site.key"
    assert here("anonymize", pcap, copies[0], "--new-key", key).status == 0
    for copy in copies[1:3]:
        assert here("anonymize", pcap, copy, "--key", key).status == 0
    assert here("anonymize", pcap, copies[3]).status == 0
    contents = [copy.read_bytes() for copy in copies]
    assert contents[0] == contents[1] == contents[2] != contents[3]


def test_the_key_is_never_shown(here: Here, pcap: Path, tmp_path: Path):
    key = tmp_path / "site.key"
    done = here("anonymize", pcap, tmp_path / "a.pcap", "--new-key", key)
    again = here("anonymize", pcap, tmp_path / "no" / "b.pcap", "--key", key)
    assert again.status == 2
    assert key.read_text().strip() not in done.err + done.text + again.err + again.text


def test_the_tables_of_the_copy_are_those_of_the_original_but_for_addresses(here: Here, pcap: Path, tmp_path: Path):
    copy = tmp_path / "copy.pcapng"
    assert here("anonymize", pcap, copy).status == 0
    columns = (
        "connection_id,request_index,client_port,server_port,request_bytes,response_bytes,arrival_ns,response_time_ns"
    )
    tables = [here("requests", each, "--format", "csv", "--columns", columns).out for each in (pcap, copy)]
    assert tables[0] == tables[1]


def test_a_broken_capture_gives_what_came_before(here: Here, pcap: Path, tmp_path: Path):
    broken, copy = tmp_path / "broken.pcap", tmp_path / "copy.pcapng"
    broken.write_bytes(pcap.read_bytes()[:-10])
    done = here("anonymize", broken, copy)
    assert done.status == 2
    assert_one_line(done.err, "broken.pcap")
    assert len(read_capture(copy).rows) == len(read_capture(pcap).rows) - 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--key", "a", "--new-key", "b"], "contradict"),
        (["--key", "/nonexistent"], "No such file"),
        (["--start", "2020-01-01", "--shift", "1h"], "leave out --shift"),
        (["--shift", "-30000d"], "before 1970"),
        (["--shift", "soon"], "no duration"),
    ],
)
def test_what_makes_no_sense_is_one_line_and_writes_nothing(here: Here, pcap: Path, tmp_path: Path, arguments, words):
    copy = tmp_path / "copy.pcap"
    done = here("anonymize", pcap, copy, *arguments)
    assert done.status == 2
    assert_one_line(done.err, words)
    assert not copy.exists()


def test_the_original_is_never_written_over(here: Here, pcap: Path):
    before = pcap.read_bytes()
    done = here("anonymize", pcap, pcap)
    assert done.status == 2
    assert pcap.read_bytes() == before


def test_frames_without_tcp_are_told(here: Here, tmp_path: Path):
    from tests.unit.anonymity.test_anonymizing import ethernet, pcapng, tcp_packet

    source = tmp_path / "mixed.pcapng"
    source.write_bytes(pcapng(ethernet(b"", ether_type=b"\x88\xcc"), ethernet(tcp_packet(wrong="tcp"))))
    done = here("anonymize", source, tmp_path / "copy.pcapng")
    assert done.status == 0
    assert "1 frame without a TCP segment" in done.err
    assert "1 segment with a wrong checksum" in done.err


@pytest.mark.parametrize("option", ["--key", "--new-key"])
def test_the_key_is_never_written_over(here: Here, pcap: Path, tmp_path: Path, option):
    key, link = tmp_path / "site.key", tmp_path / "link"
    if option == "--key":
        key.write_text("ab" * 32)
    link.symlink_to(key)
    for output in (key, link, tmp_path / "." / "site.key"):
        done = here("anonymize", pcap, output, option, key)
        assert done.status == 2
        assert_one_line(done.err, "the key would be lost")
    assert (key.read_text() if key.exists() else None) == ("ab" * 32 if option == "--key" else None)


def test_a_new_key_by_which_nothing_was_mapped_is_not_left(here: Here, pcap: Path, tmp_path: Path):
    key, kept = tmp_path / "site.key", tmp_path / "kept.key"
    assert here("anonymize", tmp_path / "none.pcap", tmp_path / "a.pcap", "--new-key", key).status == 2
    assert here("anonymize", pcap, tmp_path / "no" / "a.pcap", "--new-key", key).status == 2
    assert not key.exists()
    kept.write_text("of another")
    assert here("anonymize", pcap, tmp_path / "a.pcap", "--new-key", kept).status == 2
    assert kept.read_text() == "of another"


def test_half_a_key_in_digits_is_no_raw_key(here: Here, pcap: Path, tmp_path: Path):
    key = tmp_path / "half.key"
    key.write_text("0123456789abcdef" * 2)
    done = here("anonymize", pcap, tmp_path / "a.pcap", "--key", key)
    assert done.status == 2
    assert_one_line(done.err, "half a key")
