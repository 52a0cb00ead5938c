"""Records are laid out as their slow twins lay them out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcpsight.output._packets import pcap_records, pcapng_records
from tcpsight.tables import Frames
from tests.reference.packets import pcap_record, pcapng_record

FRAMES = st.lists(
    st.tuples(
        st.integers(-(2**62), 2**62), st.binary(max_size=50), st.integers(0, 2**32 - 1), st.integers(0, 9),
        st.integers(0, 60),
    ),
    max_size=12,
)  # fmt: skip


def table_of(frames):
    table, data = Frames.allocate(len(frames)), bytearray(b"\xee" * 7)
    for row, (time_ns, content, wire, interface, _) in zip(table.rows, frames, strict=True):
        row["time_ns"], row["position"], row["captured_bytes"] = time_ns, len(data), len(content)
        row["wire_bytes"], row["interface_id"] = wire, interface
        data += content
    table.data = bytes(data)
    kept = np.array([min(most, len(content)) for _, content, _, _, most in frames], np.uint32)
    return table, kept


@given(FRAMES, st.sampled_from([1, 1000]))
def test_records_of_both_formats_are_those_of_their_twins(frames, tick_ns):
    table, kept = table_of(frames)
    out = bytearray(10_000)
    cut = [(time_ns, content[:most], wire, interface) for time_ns, content, wire, interface, most in frames]
    size = pcap_records(table.packed(), table.data, kept, out, tick_ns)
    assert bytes(out[:size]) == b"".join(pcap_record(at, data, wire, tick_ns) for at, data, wire, _ in cut)
    out = bytearray(b"\xff" * 10_000)
    size = pcapng_records(table.packed(), table.data, kept, out)
    assert bytes(out[:size]) == b"".join(pcapng_record(at, data, wire, i) for at, data, wire, i in cut)


def test_what_does_not_fit_is_refused():
    table, kept = table_of([(1, b"abcd", 4, 0, 4)])
    for records, rest in ((pcap_records, (1,)), (pcapng_records, ())):
        with pytest.raises(ValueError, match="too little room"):
            records(table.packed(), table.data, kept, bytearray(19), *rest)
        with pytest.raises(ValueError, match="more is to be kept"):
            records(table.packed(), table.data, kept + np.uint32(1), bytearray(99), *rest)
        with pytest.raises(ValueError, match="outside their data"):
            records(table.packed(), table.data[:-1], kept, bytearray(99), *rest)
        with pytest.raises(ValueError, match="too few lengths"):
            records(table.packed(), table.data, kept[:0], bytearray(99), *rest)
