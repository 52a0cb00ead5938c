"""Numbers in the command lines of C programs."""

from __future__ import annotations

import pytest

from tcpsight.compat.c_numbers import leading_number, signed
from tests.cli.running import Here

ENDLESS = "9" * 5000


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("12", 12), (" +12abc", 12), ("-3", -3), ("", 0), ("abc", 0), ("-", 0), ("0x10", 0), ("010", 10), ("1_0", 1),
        ("\u0663", 0), ("9223372036854775808", 2**63 - 1), (ENDLESS, 2**63 - 1), (f"-{ENDLESS}", -(2**63)),
        ("0" * 5000 + "7", 7),
    ],
)  # fmt: skip
def test_a_number_is_what_a_text_begins_with_and_the_largest_where_it_is_larger(text: str, number: int):
    assert leading_number(text) == number


@pytest.mark.parametrize(
    ("text", "number"),
    [("0x10", 16), ("010", 8), ("0", 0), ("10", 10), ("0x", 0), ("09", 0), (f"0x{ENDLESS}", 2**63 - 1)],
)
def test_a_beginning_may_name_the_base(text: str, number: int):
    assert leading_number(text, is_any_base=True) == number


def test_an_integer_holds_the_lowest_bits_of_a_number():
    assert [signed(n, 32) for n in (2**31 - 1, 2**31, 2**63 - 1, -1)] == [2**31 - 1, -(2**31), -1, -1]


@pytest.mark.parametrize("words", [["-t", ENDLESS], ["-p", ENDLESS], ["-f", f"%{ENDLESS}n"]])
def test_numbers_without_end_are_refused_in_one_line(here: Here, words: list[str]):
    done = here("compat", "tcprstat", *words)
    assert (done.status, done.text, len(done.err.splitlines())) == (1, "", 1)


@pytest.mark.parametrize("by", ["time", "percentage", "iterations"])
def test_a_progress_step_without_end_is_refused(here: Here, by: str):
    done = here("compat", "pt-tcp-model", "--config", "/dev/null", "--progress", f"{by},{ENDLESS}")
    assert done.status == 1
    assert "  * --progress wants an integer of at most 18 digits" in done.text
