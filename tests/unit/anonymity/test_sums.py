"""Internet checksums of many runs at once are those of each run alone."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tcpsight.anonymity.sums import Runs, folded
from tcpsight.local.resets import checksum


@given(st.binary(min_size=1, max_size=60), st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=8))
def test_runs_have_the_sums_that_they_have_alone(data, pairs):
    runs = [(min(pair) % (len(data) + 1), max(pair) % (len(data) + 1)) for pair in pairs]
    runs = [(min(run), max(run)) for run in runs]
    begins, ends = (np.array([run[place] for run in runs], np.int64) for place in (0, 1))
    found = folded(Runs(data).sums(begins, ends)).tolist()
    alone = [data[begin:end] for begin, end in runs]
    assert found == [0xFFFF - checksum(each + bytes(len(each) % 2)) for each in alone]
