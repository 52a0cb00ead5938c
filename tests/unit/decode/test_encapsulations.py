"""Every way in which TCP may be packed: the segment inside is found, and told apart from one that is not packed."""

from __future__ import annotations

import pytest

from tcpsight.tables import ENCAPSULATIONS
from tests.support.encapsulations import CASES
from tests.unit.decode.frames import decode_one, unseen_reason

TCP_BYTES = 20


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_innermost_segment_is_found(case):
    header = decode_one(case.data, link_type=case.link_type)
    assert (header["source_port"], header["destination_port"], header["payload_bytes"]) == (1234, 80, 5)
    assert header["captured_payload_bytes"] == 5
    assert ENCAPSULATIONS[header["encapsulation"]] == case.encapsulation
    assert bool(header["tunnel"]) == (case.encapsulation != "none")


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_cut_before_the_end_of_the_headers_is_counted(case):
    whole = case.data
    end = whole.index(b"hello")
    reasons = [unseen_reason(whole[:n], link_type=case.link_type, wire_bytes=len(whole)) for n in range(end)]
    # Where nothing says what follows, or the header of UDP is cut, it may be anything.
    assert set(reasons) <= {"truncated_frame", "not_ip", "not_tcp", "unknown_link_type"}
    assert set(reasons[-TCP_BYTES:]) == {"truncated_frame"}
    header = decode_one(whole[:end], link_type=case.link_type, wire_bytes=len(whole))
    assert (header["payload_bytes"], header["captured_payload_bytes"]) == (5, 0)
