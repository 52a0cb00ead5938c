"""Where captures come from: pipes, compression, several files in any order, patterns."""

from __future__ import annotations

import gzip
import itertools
import lzma
import subprocess
import sys
import threading
from pathlib import Path

import lz4.frame
import pytest
import zstandard

from tests.cli.conftest import TALKS
from tests.cli.running import COMMAND, TABLES, assert_one_line, process
from tests.support.pcap import pcap_bytes, pcapng_bytes
from tests.support.traffic import capture

FRAMES = capture(TALKS)
PACK = {
    "gzip": gzip.compress,
    "xz": lzma.compress,
    "zstd": zstandard.ZstdCompressor().compress,
    "lz4": lz4.frame.compress,
}


@pytest.mark.parametrize("command", TABLES)
def test_a_pipe_gives_the_same_rows_as_the_file(here, pcap, command):
    expected = here(command, pcap, "--format", "csv")
    done = process(command, "-", "--format", "csv", stdin=pcap.read_bytes())
    assert (done.status, done.out) == (0, expected.out)


@pytest.mark.parametrize("packing", PACK)
def test_compression_is_told_by_content(here, pcap, tmp_path, packing):
    expected = here("segments", pcap, "--format", "csv").out
    path = tmp_path / "no-suffix"
    path.write_bytes(PACK[packing](pcap.read_bytes()))
    assert here("segments", path, "--format", "csv").out == expected
    assert process("segments", "-", "--format", "csv", stdin=path.read_bytes()).out == expected
    head, _, _ = here("report", path).text.partition("\n\n")
    assert packing in head


def test_a_damaged_compressed_file_gives_what_came_before(here, pcap, tmp_path):
    path = tmp_path / "cut.pcap.gz"
    path.write_bytes(gzip.compress(pcap.read_bytes())[:-400])
    done = here("segments", path, "--format", "csv")
    assert done.status == 2
    assert 0 < len(done.rows()) < len(FRAMES)
    assert_one_line(done.err, str(path))


def test_pcapng_and_pcap_give_the_same_rows(here, pcap, tmp_path):
    path = tmp_path / "traffic.pcapng"
    path.write_bytes(pcapng_bytes(FRAMES))
    for command in TABLES:
        assert here(command, path, "--format", "csv").out == here(command, pcap, "--format", "csv").out


@pytest.mark.parametrize("command", ["report", "requests", "connections", "intervals"])
def test_files_are_one_capture_in_whatever_order_they_are_named(here, pcap, tmp_path, command):
    options = ["--format", "json" if command == "report" else "csv"]
    parts = [FRAMES[:7], FRAMES[7:15], FRAMES[15:]]
    paths = [tmp_path / f"{letter}.pcap" for letter in "cab"]
    for path, part in zip(paths, parts, strict=True):
        path.write_bytes(pcap_bytes(part, nanoseconds=True))
    answers = {here(command, *order, *options).out for order in itertools.permutations(paths)}
    if command == "report":
        assert len({answer[answer.index(b'"interfaces"') :] for answer in answers}) == 1
    else:
        assert answers == {here(command, pcap, *options).out}


def test_files_that_overlap_in_time_are_merged(here, pcap, tmp_path):
    paths = [tmp_path / "even.pcap", tmp_path / "odd.pcap"]
    for i, path in enumerate(paths):
        path.write_bytes(pcap_bytes(FRAMES[i::2], nanoseconds=True))
    for command in ("requests", "connections"):
        expected = here(command, pcap, "--format", "csv").out
        assert here(command, *paths, "--format", "csv").out == expected
        assert here(command, *paths[::-1], "--format", "csv").out == expected


def test_the_same_file_twice_is_an_error(here, pcap, tmp_path):
    copy, link = tmp_path / "copy.pcap", tmp_path / "link.pcap"
    copy.write_bytes(pcap.read_bytes())
    link.symlink_to(pcap)
    for other, words in ((pcap, "named twice"), (copy, "the same capture"), (link, "the same capture")):
        done = here("requests", pcap, other)
        assert (done.status, done.out) == (2, b"")
        assert_one_line(done.err, words)


def test_a_pattern_that_the_shell_left_alone_is_expanded(here, pcap):
    done = here("requests", f"{pcap.parent}/tra*.pcap", "--format", "csv")
    assert done.out == here("requests", pcap, "--format", "csv").out
    assert_one_line(here("requests", f"{pcap.parent}/none*.pcap").err, "no file matches", "none*.pcap")


def test_a_file_whose_name_is_a_pattern_is_that_file(here, pcap, tmp_path):
    path = tmp_path / "a[1].pcap"
    path.write_bytes(pcap.read_bytes())
    assert here("requests", path).status == 0


def test_addresses_of_files_are_paths(here, pcap):
    assert here("requests", f"file://{pcap}", "--format", "csv").out == here("requests", pcap, "--format", "csv").out


def test_a_fifo_is_read(here, pcap, tmp_path):
    import os

    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    writer = threading.Thread(target=lambda: fifo.write_bytes(pcap.read_bytes()))
    writer.start()
    done = here("requests", fifo, "--format", "csv")
    writer.join(30)
    assert done.out == here("requests", pcap, "--format", "csv").out


def test_tcpdump_text_is_read_and_its_limits_are_said(here, tmp_path):
    path = tmp_path / "quiet.txt"
    path.write_text(
        "2024-05-01 12:00:00.000000 IP 10.0.0.1.40000 > 10.0.0.9.3306: tcp 20\n"
        "2024-05-01 12:00:00.250000 IP 10.0.0.9.3306 > 10.0.0.1.40000: tcp 100\n"
    )
    rows = here("requests", path, "--format", "csv").rows()
    assert [row["response_time_ns"] for row in rows] == ["250000000"]
    assert rows[0]["arrival_ns"] == "1714564800000000000"
    berlin = here("requests", path, "--format", "csv", "--input-timezone", "Europe/Berlin").rows()
    assert berlin[0]["arrival_ns"] == "1714557600000000000"
    page = here("report", path)
    assert "no sequence numbers: what was lost or sent again is unknown" in page.text
    assert "segments from text without sequence numbers" in " ".join(page.text.split())
    assert "unsequenced" in here("requests", path).err


def test_a_process_reads_from_a_pipe_that_another_writes(pcap):
    script = f"import sys; sys.stdout.buffer.write(open({str(Path(pcap))!r}, 'rb').read())"
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as source:
        done = subprocess.run([*COMMAND, "report", "-"], stdin=source.stdout, capture_output=True, check=False)
    assert done.returncode == 0
    assert b"10.0.0.9:3306" in done.stdout
