"""Connections, bytes, round trips and the kind of every segment, as tshark and tcptrace saw them and as we see them.

Every difference must be one that is accepted and explained; an entry that no longer applies fails too. The classes and
their proofs are in `tests.peers.reasons`, the argument in ``docs/methods/differences.md``.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.peers import accuracy
from tests.peers.accepted import accepted, lines_of
from tests.peers.accuracy import Set, differences_of, report
from tests.peers.case import Difference
from tests.peers.comparing import compare, sources_in
from tests.peers.reasons import REASONS
from tests.peers.selfmade import make

pytestmark = pytest.mark.peers

OWN = ("self-made/", "examples/")
METHODS = Path(__file__).resolve().parents[2] / "docs" / "methods"


@pytest.fixture(scope="module")
def corpus(corpus_dir) -> Set:
    return Set("The corpus", [compare(source) for source in sources_in(corpus_dir)])


@pytest.fixture(scope="module")
def own_captures(tmp_path_factory) -> Set:
    folder = tmp_path_factory.mktemp("captures")
    return Set("Captures of this project", [compare(source) for source in make(folder)])


def check(captures: Set, expected: dict[Difference, str]) -> None:
    """Compare what differs with what may differ."""
    found = dict(differences_of([captures]))
    unexplained = {d: "" for d, reason in found.items() if not reason}
    unlisted = {d: reason for d, reason in found.items() if expected.get(d) != reason}
    stale = {d: reason for d, reason in expected.items() if d not in found}
    assert not lines_of(unexplained.items()), "no class explains these"
    assert not lines_of(unlisted.items()), "not in the list of accepted differences ('make accuracy' writes it)"
    assert not lines_of(stale.items()), "accepted, but no longer found ('make accuracy' takes them out)"


def test_every_difference_in_the_corpus_is_accepted_and_explained(corpus):
    check(corpus, {d: reason for d, reason in accepted().items() if not d.capture.startswith(OWN)})


def test_every_difference_in_our_own_captures_is_accepted_and_explained(own_captures):
    check(own_captures, {d: reason for d, reason in accepted().items() if d.capture.startswith(OWN)})


def test_every_capture_of_the_corpus_was_compared(corpus, corpus_dir):
    index = (corpus_dir / "INDEX.csv").read_text(encoding="utf-8").splitlines()[1:]
    assert {c.case.name for c in corpus.compared} == {line.split(",", 1)[0] for line in index}


def test_our_own_captures_were_seen_by_both_peers(own_captures):
    assert all(c.case.theirs for c in own_captures.compared)
    assert sum(bool(c.case.printed) for c in own_captures.compared) >= len(own_captures.compared) - 1


def test_the_page_on_accuracy_is_fresh(corpus, own_captures):
    assert accuracy.PAGE.read_text(encoding="utf-8") == report([corpus, own_captures]), "run 'make accuracy'"


def test_every_class_is_argued():
    argued = set(re.findall(r"^### ([a-z0-9-]+)$", (METHODS / "differences.md").read_text(encoding="utf-8"), re.M))
    assert argued == {reason.code for reason in REASONS}
    assert len({(reason.code, reason.whose) for reason in REASONS}) == len(argued)


def test_no_class_stands_open_for_what_does_not_occur():
    found = {(reason, d.peer, d.what) for d, reason in accepted().items()}
    offered = {(reason.code, peer) for reason in REASONS for peer in reason.peers.split()}
    assert offered == {(code, peer) for code, peer, _ in found}
    assert [r for r in REASONS if not any((r.code, p, w) in found for p in r.peers.split() for w in r.what)] == []
