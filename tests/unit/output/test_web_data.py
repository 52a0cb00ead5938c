"""Numbers in a page, read back as its scripts do."""

from __future__ import annotations

import base64
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcpsight.output.web_data import packed, steps


def unpacked(text):
    values, value, scale = [], 0, 1
    for byte in base64.b64decode(text):
        value += (byte & 127) * scale
        scale *= 128
        if byte < 128:
            values.append(value)
            value, scale = 0, 1
    return values


@given(st.lists(st.integers(0, 2**63 - 1)))
def test_what_is_packed_comes_back(values):
    assert unpacked(packed(values)) == values


@given(st.lists(st.integers(0, 2**61)))
def test_rising_numbers_come_back_by_adding_up(values):
    rising = sorted(values)
    assert list(accumulate(unpacked(steps(rising)))) == rising


def test_small_numbers_take_a_byte_each():
    assert len(base64.b64decode(packed([0, 1, 127]))) == 3


@pytest.mark.parametrize("pack", [packed, steps])
def test_no_negative_number_is_packed(pack):
    with pytest.raises(ValueError, match="from 0 on"):
        pack([3, -1] if pack is packed else [3, 1])
