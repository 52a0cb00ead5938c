"""That nothing comes by an interface is told: once when it is silent from the first, and whenever it goes or comes."""

from __future__ import annotations

from tcpsight.cli.interface_notes import LOOK_S, SILENT_S, InterfaceNotes

LOOKS = round(SILENT_S / LOOK_S)


def test_silence_from_the_first_is_told_once():
    notes = InterfaceNotes(["a", "b"])
    told = [notes.look([], 0) for _ in range(3 * LOOKS)]
    assert [bool(each) for each in told] == [i == LOOKS - 1 for i in range(3 * LOOKS)]
    assert told[LOOKS - 1][0].startswith("nothing has come by a and b yet")


def test_silence_after_the_first_frame_is_what_services_do():
    notes = InterfaceNotes(["a"])
    assert [notes.look([], 1) for _ in range(3 * LOOKS)] == [[]] * 3 * LOOKS


def test_an_interface_that_goes_down_and_comes_back_is_told_each_time():
    notes = InterfaceNotes(["a", "b"])
    told = [notes.look(down, 1) for down in ([], ["b"], ["b"], [], ["b"])]
    assert told[1] == told[4] == ["b is down, or away: nothing comes by it until it is up again"]
    assert told[3] == ["b is up again"]
    assert told[0] == told[2] == []


def test_what_is_the_case_stands_until_it_is_not_any_more():
    notes, standing = InterfaceNotes(["a", "b"]), []
    for down, frames in [([], 0)] * LOOKS + [(["b"], 0), ([], 0), ([], 1), (["a", "b"], 1), ([], 1)]:
        notes.look(down, frames)
        standing.append([text.split(" by ")[0] for text in notes.standing])
    silent, gone = ["nothing has come"], "{} is down, or away: nothing comes"
    assert standing[: LOOKS - 1] == [[]] * (LOOKS - 1)
    assert standing[LOOKS - 1 :] == [silent, [gone.format("b")], silent, [], [gone.format("a"), gone.format("b")], []]
