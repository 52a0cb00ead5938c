"""What was carried is looked at before it is believed, each number for itself."""

from __future__ import annotations

import pytest

from tcpsight.connections import ConnectionTracking
from tests.support.headers import headers

HELD = """
    0   > S  seq=1000
    10  < SA seq=5000
    20  > A
    30  > PA 10
    40  {side} S seq=9000 ws={scale}    # another number, while it is in use: it is held
"""


def carried(side: str, scale: int) -> bytearray:
    tracking = ConnectionTracking()
    tracking.feed(headers(HELD.format(side=side, scale=scale)))
    return bytearray(tracking.carried(tracking.slots()))


def places(one: bytearray, one_value: int, other: bytearray, other_value: int) -> list[int]:
    """Tell which bytes are the one value here and the other there."""
    assert len(one) == len(other)
    return [i for i in range(len(one)) if (one[i], other[i]) == (one_value, other_value)]


def restore(data: bytearray) -> None:
    tracking = ConnectionTracking()
    tracking.restore(bytes(data), 1, 100)
    assert tracking.open_connections == 1


def test_a_held_syn_that_is_damaged_in_one_number_is_refused():
    whole = carried(">", 9)
    restore(whole)
    (scale,) = places(whole, 9, carried(">", 5), 5)
    direction = scale + 1
    assert (whole[direction], carried("<", 9)[direction]) == (0, 1)
    for place, value in ((scale, 15), (scale, 255), (direction, 2), (direction, 255)):
        damaged = bytearray(whole)
        damaged[place] = value
        with pytest.raises(ValueError, match="damaged"):
            restore(damaged)
    whole[scale] = 14
    restore(whole)
