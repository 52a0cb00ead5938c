"""Which format rows are written in, by what was asked for and by the name of the file."""

from __future__ import annotations

import os

import click
import pytest

from tcpsight.cli.options import FORMATS, SUFFIXES, chosen_format


@pytest.mark.parametrize(
    "output", ["-", "out", "out.txt", "out.TEXT", "dir.d/out", "a.log", "/dev/stderr", "/dev/fd/1.x"]
)
def test_text_is_written_where_the_name_asks_for_nothing_else(output):
    assert chosen_format(None, output) == "table"


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_suffix_tells_the_format_in_either_case(suffix):
    assert chosen_format(None, f"out{suffix}") == chosen_format(None, f"OUT{suffix.upper()}") == SUFFIXES[suffix]


@pytest.mark.parametrize("output", ["out.json", "out.foo", "out.jsonl.gz", "out.csv.bak", "capture.pcap"])
def test_an_unknown_suffix_is_refused_and_the_formats_named(output):
    with pytest.raises(click.UsageError) as error:
        chosen_format(None, output)
    assert all(format in error.value.message for format in FORMATS)
    assert output in error.value.message
    assert {chosen_format(format, output) for format in FORMATS} == set(FORMATS)


def test_who_writes_json_is_told_of_json_lines():
    with pytest.raises(click.UsageError, match=r"name the file \.jsonl, or"):
        chosen_format(None, "out.json")


def test_a_pipe_may_have_any_name(tmp_path):
    pipe = tmp_path / "out.pipe"
    os.mkfifo(pipe)
    assert chosen_format(None, str(pipe)) == "table"
