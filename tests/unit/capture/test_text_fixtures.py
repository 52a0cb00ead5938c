"""Texts that tcpdump printed elsewhere, over the years, for the tools that tcpsight replaces."""

from __future__ import annotations

import gzip
import re

import pytest

from tcpsight.capture.text import looks_like_text
from tests.support.text import read

STAMP = re.compile(rb"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6} ", re.MULTILINE)
# An SQL statement that lies among the texts.
NO_TEXT = {"tcpdump019-arg.txt"}


def content_of(path):
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


def test_every_line_of_the_texts_with_hex_is_understood(fixtures_dir):
    paths = sorted((fixtures_dir / "tcpdump-text" / "in").iterdir())
    assert len(paths) >= 33
    for path in paths:
        text = content_of(path)
        if path.name in NO_TEXT:
            assert not looks_like_text(text)
            assert read(text).unseen == {"unreadable_text": text.count(b"\n") or 1}
            continue
        assert looks_like_text(text[:1024]), path.name
        reading = read(text)
        assert reading.unseen == {}, path.name
        assert len(reading.headers) == len(STAMP.findall(text)), path.name
        # Every one of them was printed with its bytes.
        assert not (reading.headers.options & 32).any(), path.name


@pytest.mark.parametrize(
    ("name", "segments"),
    [
        ("in/mysql-tcp-conversation-003.txt.gz", 51312),
        ("in/simpletcp001.txt", 8),
        ("edge/ack.txt", 6),
        ("edge/coll.txt", 4),
        ("edge/mod.txt", 2),
        ("edge/v6.txt", 2),
    ],
)
def test_every_line_of_the_length_only_texts_is_understood(fixtures_dir, name, segments):
    text = content_of(fixtures_dir / "pt-tcp-model" / name)
    assert looks_like_text(text[:200])
    reading = read(text, batch_frames=4096)
    assert len(reading.headers) == len(reading.frames) == segments
    assert reading.unseen == {}
    lengths = [int(n) for n in re.findall(rb"tcp (\d+)$", text, re.MULTILINE)]
    assert reading.headers.payload_bytes.tolist() == lengths


@pytest.mark.parametrize(
    "name", ["in/simpletcp-requests001.txt", "in/sorted001.txt", "edge/cross.txt", "edge/single.txt"]
)
def test_lists_of_requests_are_not_taken_for_text_of_tcpdump(fixtures_dir, name):
    assert not looks_like_text(content_of(fixtures_dir / "pt-tcp-model" / name))
