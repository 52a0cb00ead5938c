"""Frames that were lost are told when they are, and once."""

from __future__ import annotations

from tcpsight.cli.watch import Losses


def test_losses_are_told_when_they_happen_and_once(capsys):
    losses = Losses()
    for dropped in (0, 0, 1200, 1200, 1201):
        losses.tell(dropped)
    assert capsys.readouterr().err.splitlines() == [
        "tcpsight: note: 1,200 frames were lost before capture: the numbers of this time are too low",
        "tcpsight: note: 1 frame was lost before capture: the numbers of this time are too low",
    ]
