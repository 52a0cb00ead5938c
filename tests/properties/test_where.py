"""Laws of conditions: a row-by-row evaluation agrees, and no text does anything but choose rows or be refused."""

from __future__ import annotations

import contextlib
import operator
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tcpsight.errors import UsageError
from tcpsight.tables import Connections
from tcpsight.where import Where

COLUMNS = ("client_bytes", "server_bytes", "connect_ns")
SIGNS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "=": operator.eq, "!=": operator.ne}
Row = dict[str, int]


@dataclass(frozen=True)
class Tree:
    """A condition as text, and what it says of a row: true, false, or None where nobody can tell."""

    text: str
    judge: Any


@st.composite
def comparisons(draw: st.DrawFn) -> Tree:
    column, sign = draw(st.sampled_from(COLUMNS)), draw(st.sampled_from(list(SIGNS)))
    tenths = draw(st.integers(-5, 45))
    return Tree(
        f"{column} {sign} {tenths / 10:.1f}",
        lambda row: None if row[column] == -1 else SIGNS[sign](row[column] * 10, tenths),
    )


def judged_not(part: Tree) -> Tree:
    return Tree(f"not ({part.text})", lambda row: None if (said := part.judge(row)) is None else not said)


def judged_both(parts: list[Tree]) -> Tree:
    def judge(row: Row) -> bool | None:
        said = [part.judge(row) for part in parts]
        return False if False in said else None if None in said else True

    return Tree(" and ".join(f"({part.text})" for part in parts), judge)


def judged_either(parts: list[Tree]) -> Tree:
    def judge(row: Row) -> bool | None:
        said = [part.judge(row) for part in parts]
        return True if True in said else None if None in said else False

    return Tree(" or ".join(f"({part.text})" for part in parts), judge)


TREES = st.recursive(
    comparisons(),
    lambda inner: st.one_of(
        inner.map(judged_not),
        st.lists(inner, min_size=2, max_size=3).map(judged_both),
        st.lists(inner, min_size=2, max_size=3).map(judged_either),
    ),
    max_leaves=8,
)
ROWS = st.lists(st.fixed_dictionaries({name: st.integers(-1, 4) for name in COLUMNS}), max_size=12)


@given(TREES, ROWS)
def test_columns_at_once_and_row_by_row_agree(tree, rows):
    table = Connections.allocate(len(rows))
    for name in COLUMNS:
        table.rows[name] = [row[name] for row in rows]
    assert Where(tree.text, Connections).mask(table).tolist() == [tree.judge(row) is True for row in rows]


WORDS = [
    *("and", "or", "not", "in", "is", "null", "(", ")", ",", "<", ">=", "=", "!=", "'", '"'),
    *("duration", "state", "closed", "client_address", "is_farewell", "server_port", "start"),
    *("400ms", "8KiB", "1e999", "-1", "10.0.0.0/8", "::1", "\x00", "\n", "é", "0x", ".."),
]


@given(st.one_of(st.text(max_size=40), st.lists(st.sampled_from(WORDS), max_size=14).map(" ".join)))
def test_any_text_chooses_rows_or_is_refused(text):
    with contextlib.suppress(UsageError):
        assert Where(text, Connections).mask(Connections.allocate(3)).shape == (3,)


@given(TREES, ROWS, st.integers(0, 12))
def test_cutting_rows_into_batches_changes_nothing(tree, rows, cut):
    table = Connections.allocate(len(rows))
    for name in COLUMNS:
        table.rows[name] = [row[name] for row in rows]
    where = Where(tree.text, Connections)
    parts = [where.mask(table[:cut]), where.mask(table[cut:])]
    assert np.concatenate(parts).tolist() == where.mask(table).tolist()
