"""Where a capture was taken, from the gaps of a handshake and from what is left of the times to live."""

from libc.stdint cimport int64_t, uint8_t

from tcpsight.tables cimport VANTAGE_BETWEEN, VANTAGE_CLIENT, VANTAGE_SERVER, VANTAGE_UNKNOWN, Connection

cdef enum:
    # A kernel next door answers a SYN, or a SYN-ACK, within this.
    NEXT_DOOR_NS = 100000
    # Below this both ends are in one building, and which of them is nearer says little.
    LOCAL_NS = 1000000
    # The nearer end takes at most this part of the round trip.
    NEAR_PART = 20
    # Longer paths are not believed: the sender began with another number (BGP and some probes use 1).
    MOST_HOPS = 29

cdef enum:
    UNKNOWN_HOPS = -1

cdef struct Place:
    uint8_t vantage
    double confidence


cdef inline int hops_of(uint8_t ttl) noexcept nogil:
    """How many routers a packet has passed: senders begin with 32, 64, 128 or 255."""
    cdef int hops
    if ttl == 0:
        return UNKNOWN_HOPS
    if ttl > 128:
        hops = 255 - ttl
    elif ttl > 64:
        hops = 128 - ttl
    elif ttl > 32:
        hops = 64 - ttl
    else:
        hops = 32 - ttl
    return hops if hops <= MOST_HOPS else UNKNOWN_HOPS


cdef inline int place_by_gaps(int64_t server_ns, int64_t client_ns) noexcept nogil:
    """Tell it by the round trips to both ends."""
    cdef int64_t near
    cdef bint is_at_server, is_at_client
    if server_ns < 0 or client_ns < 0:
        return VANTAGE_UNKNOWN
    near = max(<int64_t>NEXT_DOOR_NS, server_ns // NEAR_PART + client_ns // NEAR_PART)
    is_at_server, is_at_client = server_ns <= near, client_ns <= near
    if is_at_server != is_at_client:
        return VANTAGE_SERVER if is_at_server else VANTAGE_CLIENT
    if is_at_server or (server_ns < LOCAL_NS and client_ns < LOCAL_NS):
        return VANTAGE_UNKNOWN
    return VANTAGE_BETWEEN


cdef inline int place_by_handshake(const Connection *c) noexcept nogil:
    """Tell it by the gaps, or where one is not known by what both its least and its most would say."""
    cdef int64_t gaps[2][2]
    cdef int found, i
    gaps[0][0], gaps[0][1] = c.server_handshake_rtt_ns, c.server_handshake_rtt_ns
    gaps[1][0], gaps[1][1] = c.client_handshake_rtt_ns, c.client_handshake_rtt_ns
    if c.server_handshake_rtt_ns < 0:
        gaps[0][0], gaps[0][1] = c.server_handshake_least_ns, c.connect_ns
    if c.client_handshake_rtt_ns < 0:
        gaps[1][0], gaps[1][1] = c.client_handshake_least_ns, c.connect_ns
    found = place_by_gaps(gaps[0][0], gaps[1][0])
    for i in range(1, 4):
        if place_by_gaps(gaps[0][i & 1], gaps[1][i >> 1]) != found:
            return VANTAGE_UNKNOWN
    return found


cdef inline int place_by_hops(int server_hops, int client_hops) noexcept nogil:
    """Tell it by the routers passed: none, where the other end's packets passed some, is next door."""
    if server_hops < 0 or client_hops < 0 or (server_hops == 0 and client_hops == 0):
        return VANTAGE_UNKNOWN
    if server_hops == 0:
        return VANTAGE_SERVER
    return VANTAGE_CLIENT if client_hops == 0 else VANTAGE_BETWEEN


cdef inline bint hops_agree(int by_gaps, int server_hops, int client_hops) noexcept nogil:
    """Whether the end that the gaps say is next door is also the one with fewer routers on its side."""
    if by_gaps == VANTAGE_SERVER:
        return server_hops < client_hops
    if by_gaps == VANTAGE_CLIENT:
        return client_hops < server_hops
    return server_hops > 0 and client_hops > 0


cdef inline Place place_of(const Connection *c, uint8_t server_ttl, uint8_t client_ttl) noexcept nogil:
    """Weigh both: gaps go before hops, and hops make them surer or less sure."""
    cdef Place place
    cdef int server_hops = hops_of(server_ttl)
    cdef int client_hops = hops_of(client_ttl)
    cdef int by_gaps = place_by_handshake(c)
    cdef int by_hops = place_by_hops(server_hops, client_hops)
    place.vantage = <uint8_t>(by_hops if by_gaps == VANTAGE_UNKNOWN else by_gaps)
    if by_gaps == VANTAGE_UNKNOWN:
        if by_hops == VANTAGE_UNKNOWN:
            place.confidence = -1
        else:
            place.confidence = 0.6 if by_hops == VANTAGE_BETWEEN else 0.7
    elif server_hops < 0 or client_hops < 0 or server_hops == client_hops == 0:
        place.confidence = 0.8
    elif hops_agree(by_gaps, server_hops, client_hops):
        place.confidence = 0.95
    else:
        place.confidence = 0.8 if server_hops == client_hops else 0.5
    return place
