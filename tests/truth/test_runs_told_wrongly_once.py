"""Runs of the laboratory of which something else was told once than happened, each with what it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.truth.lab.measure import captures_of, differences, read_with_library, truth_of

RUNS = Path(__file__).parent / "lab" / "wrong_once"


def wrong(run: str, *quantities: str) -> list[str]:
    """Give what is not as it was, of these quantities."""
    told = [d for d in differences(RUNS / run) if d.quantity in quantities]
    assert {d.quantity for d in told} == set(quantities)
    return [f"{d.quantity}: {d.measured}, not {d.truth}" for d in told if d.measured != d.truth]


@pytest.mark.parametrize("run", ["jitter_059", "reordering_044"])
def test_needless_retransmissions_are_told_by_timestamps_without_sack(run: str):
    assert sum(c[side]["resent_spurious"] for c in truth_of(RUNS / run)["connections"] for side in ("client", "server"))
    assert wrong(run, "spurious, by the path's log", "retransmissions, by the path's log") == []


def test_losses_behind_a_clock_that_was_set_back_are_not_told_as_reordered():
    run = RUNS / "clock_backwards_043"
    sides = [c[side] for c in truth_of(run)["connections"] for side in ("client", "server")]
    assert (sum(side["resent"] for side in sides) > 0, sum(side["reordered"] for side in sides)) == (True, 0)
    for path in captures_of(run):
        assert [row for row in read_with_library(path).network if row["reordered"]] == [], path


def test_two_answers_to_a_repeated_syn_are_two():
    assert wrong("syn_loss_051", "retransmissions, by the path's log", "repeated SYNs and FINs") == []
