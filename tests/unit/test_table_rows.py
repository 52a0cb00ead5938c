"""Rows of tables: copied, joined, and not mistaken for rows of another kind."""

from __future__ import annotations

import numpy as np
import pytest

from tcpsight.tables import AccountedRequests, Requests


@pytest.mark.parametrize("step", [1, 2])
def test_rows_are_joined_and_copied_whole(step):
    table = Requests.allocate(10)
    table.rows.view(np.uint8)[:] = np.arange(table.rows.nbytes) % 251
    part = table[::step]
    expected = {c.name: np.concatenate([part.rows[c.name], table.rows[c.name]]) for c in Requests.columns}
    joined = Requests.concatenate([part, table])
    assert all(np.array_equal(joined.rows[name], values) for name, values in expected.items())
    copied = part.copy()
    part.arrival_ns[:] = 0
    assert all(np.array_equal(copied.rows[name], values[: len(part)]) for name, values in expected.items())


def test_rows_of_different_kinds_are_not_joined():
    mixed = [Requests.allocate(1), AccountedRequests.allocate(1)]
    with pytest.raises(TypeError, match="different kinds"):
        Requests.concatenate(mixed)
