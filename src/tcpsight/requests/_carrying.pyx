"""What of requests is carried from one capture to the next, looked at before it is believed."""

from libc.stdint cimport int64_t, uint8_t

from tcpsight._door cimport rows_of, start_of
from tcpsight.requests._turns cimport HOLDS_CLIENT, HOLDS_SERVER, Slot


def held_by(const uint8_t[::1] slots not None, const int64_t[::1] numbers not None):
    """Give how many segments wait for what follows them; ValueError where these are not the connections' slots.

    Parameters
    ----------
    slots : bytes of per-connection state
    numbers : array of int64
        The `connection_id` of each.
    """
    cdef const Slot *slot = <const Slot *>start_of(slots)
    cdef int64_t i, held = 0
    if rows_of(slots, sizeof(Slot)) != numbers.shape[0]:
        raise ValueError("requests of other connections were carried")
    for i in range(numbers.shape[0]):
        if slot[i].is_used != 1 or slot[i].connection_id != numbers[i] or slot[i].turns < 0:
            raise ValueError("a request that was carried is damaged")
        if slot[i].ip_version != 4 and slot[i].ip_version != 6:
            raise ValueError("a request that was carried is damaged")
        held += ((slot[i].tls & HOLDS_CLIENT) != 0) + ((slot[i].tls & HOLDS_SERVER) != 0)
    return held
