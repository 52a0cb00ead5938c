"""The kernel runs a program, and judges it, as its slow twin does."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tcpsight.capture import _bpf
from tcpsight.tables import Frames
from tests.reference import bpf as reference
from tests.reference.bpf import Instruction
from tests.support.thorough import up_to

CODES = [code for code in range(256) if reference.is_fine([Instruction(code, 0, 0, 1), Instruction(6), Instruction(6)])]
NUMBERS = st.one_of(st.integers(0, 40), st.integers(0, 2**32 - 1), st.sampled_from([0, 31, 32, 33, 2**31, 2**32 - 1]))


@st.composite
def programs(draw) -> list[Instruction]:
    """Programs that may be run."""
    length = draw(st.integers(1, 24))
    program = []
    for i in range(length - 1):
        following = length - 1 - i
        code = draw(st.sampled_from(CODES))
        k = draw(NUMBERS)
        if code in (0x60, 0x61, 0x02, 0x03):
            k %= 16
        if code == 0x05:
            k %= following
        if code in (0x34, 0x94):
            k = k or 1
        if code & 7 == 0 and code & 0xE0 == 0x20:
            k %= 64
        program.append(
            Instruction(code, draw(st.integers(0, 255)) % following, draw(st.integers(0, 255)) % following, k)
        )
    return [*program, Instruction(draw(st.sampled_from([0x06, 0x0E, 0x16])), k=draw(NUMBERS))]


def frames_of(captured: list[bytes], extra: int = 0) -> Frames:
    frames = Frames.allocate(len(captured))
    frames.data = b"before" + b"".join(captured)
    lengths = [len(c) for c in captured]
    frames.captured_bytes[:] = lengths
    frames.wire_bytes[:] = np.array(lengths) + extra
    frames.position[:] = 6 + np.cumsum([0, *lengths])[:-1]
    frames.link_type[:] = 1
    return frames


def match(program: list[Instruction], frames: Frames) -> list[int]:
    matched = np.full(len(frames), 9, np.uint8)
    passed = _bpf.match(reference.pack(program), frames.rows.view(np.uint8), frames.data, 1, matched)
    assert passed == matched.sum()
    return matched.tolist()


def test_every_kind_of_instruction_is_among_the_random_ones():
    assert len(CODES) >= 50


@settings(max_examples=up_to(300), deadline=None)
@given(programs(), st.lists(st.binary(max_size=70), min_size=1, max_size=4), st.integers(0, 2000))
def test_the_kernel_equals_its_twin(program, captured, extra):
    assert reference.is_fine(program)
    assert _bpf.check(reference.pack(program)) == 0
    expected = [reference.run(program, c, len(c) + extra) != 0 for c in captured]
    assert match(program, frames_of(captured, extra)) == expected


@settings(max_examples=up_to(300), deadline=None)
@given(
    st.lists(
        st.builds(
            Instruction,
            st.one_of(st.sampled_from(CODES), st.integers(0, 0xFFFF)),
            st.integers(0, 8),
            st.integers(0, 8),
            st.one_of(st.integers(0, 20), NUMBERS),
        ),
        max_size=8,
    ),
    st.binary(max_size=40),
)
def test_the_kernel_accepts_what_its_twin_accepts_and_nothing_else_can_be_run(program, captured):
    is_fine = reference.is_fine(program)
    assert (_bpf.check(reference.pack(program)) == 0) == is_fine
    if is_fine:
        match(program, frames_of([captured]))
    else:
        with pytest.raises(ValueError):
            match(program, frames_of([captured]))


@pytest.mark.parametrize(
    ("program", "finding"),
    [
        ([], "empty"),
        ([Instruction(0x00)], "does not return"),
        ([Instruction(0x05, k=1), Instruction(0x06)], "jump"),
        ([Instruction(0x05, k=2**32 - 1), Instruction(0x06)], "jump"),
        ([Instruction(0x15, 0, 1), Instruction(0x06)], "jump"),
        ([Instruction(0x60, k=16), Instruction(0x06)], "memory"),
        ([Instruction(0x34), Instruction(0x06)], "zero"),
        ([Instruction(0xFFFF), Instruction(0x06)], "does not exist"),
        ([Instruction(0x28, k=0xFFFFF004), Instruction(0x06)], "extension"),
    ],
)
def test_what_is_wrong_with_a_program_is_said(program, finding):
    assert finding in _bpf.FINDINGS[_bpf.check(reference.pack(program))]


def test_a_program_of_uneven_length_is_refused():
    assert _bpf.check(reference.pack([Instruction(0x06)]) + b"\0") != 0


def test_frames_outside_the_data_are_refused():
    for column, value in (("position", -1), ("position", 2**62), ("captured_bytes", 2**32 - 1)):
        frames = frames_of([b"abcd"])
        frames.rows[column] = value
        with pytest.raises(ValueError, match="data"):
            match([Instruction(0x06, k=1)], frames)


def test_frames_of_other_link_types_are_left_alone():
    frames = frames_of([b"a", b"b", b"c"])
    frames.link_type[1] = 101
    assert match_untouched(frames) == [1, 9, 1]


def match_untouched(frames: Frames) -> list[int]:
    matched = np.full(len(frames), 9, np.uint8)
    assert (
        _bpf.match(reference.pack([Instruction(0x06, k=1)]), frames.rows.view(np.uint8), frames.data, 1, matched) == 2
    )
    return matched.tolist()
