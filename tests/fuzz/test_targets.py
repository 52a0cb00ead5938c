"""Every target takes anything: a little of what ``make fuzz`` does at length, and what that has found."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz import seeds
from tests.fuzz.harness import TARGETS
from tests.support.thorough import up_to

NAMES = pytest.mark.parametrize("name", TARGETS)
EXAMPLES = {"pipeline": 60, "merge": 40, "reader": 60, "connections": 30, "connectionstwin": 30, "decodetwin": 50}
EXAMPLES |= {"networktwin": 30}
"""At most, of the slow targets; of the others 150."""


@NAMES
def test_any_bytes_give_an_answer_or_an_error_for_people(name):
    run = TARGETS[name].run

    @settings(max_examples=up_to(EXAMPLES.get(name, 150)), deadline=None)
    @given(st.binary(max_size=400))
    def feed(data: bytes) -> None:
        run(data)

    feed()


@NAMES
def test_mutated_inputs_give_an_answer_or_an_error_for_people(name):
    target = TARGETS[name]
    pool = target.seeds(seeds.made())

    @settings(max_examples=up_to(EXAMPLES.get(name, 150)), deadline=None)
    @given(st.integers(0, 2**32), st.integers(0, len(pool) - 1))
    def feed(seed: int, which: int) -> None:
        target.run(target.mutate(pool[which], Random(seed), pool))

    feed()


@pytest.mark.parametrize("path", sorted(seeds.REGRESSIONS.glob("*-*")), ids=lambda path: path.name)
def test_what_was_found_once_stays_mended(path: Path):
    TARGETS[path.name.partition("-")[0]].run(path.read_bytes())


@NAMES
def test_a_seed_gives_the_same_input_again(name):
    target = TARGETS[name]
    pool = target.seeds(seeds.made())
    for seed in range(20):
        first, second = (target.mutate(pool[seed % len(pool)], Random(seed), pool) for _ in range(2))
        assert first == second
