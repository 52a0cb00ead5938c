"""What of time accounts is carried from one capture to the next, looked at before it is believed."""

from libc.stdint cimport int64_t, uint8_t

from tcpsight._door cimport rows_of, start_of
from tcpsight.network._account_state cimport ANSWERING, NO_OPENER, PARTS, SHAKING, Slot


cdef inline bint is_right(const Slot *a) noexcept nogil:
    if a.phase > ANSWERING or a.opener > NO_OPENER or a.leap_part > PARTS or a.turns < 0:
        return False
    return not a.rare & SHAKING or a.opener != NO_OPENER


def check(const uint8_t[::1] slots not None, const int64_t[::1] numbers not None):
    """Raise ValueError where these are not the connections' slots.

    Parameters
    ----------
    slots : bytes of per-connection state
    numbers : array of int64
        The `connection_id` of each.
    """
    cdef const Slot *a = <const Slot *>start_of(slots)
    cdef int64_t i
    if rows_of(slots, sizeof(Slot)) != numbers.shape[0]:
        raise ValueError("accounts of other connections were carried")
    for i in range(numbers.shape[0]):
        if a[i].is_used != 1 or a[i].connection_id != numbers[i] or not is_right(a + i):
            raise ValueError("an account that was carried is damaged")
