"""What the time account remembers of an open connection, in four cache lines.

A plain acknowledgment touches the first, data the first two; the others are for what is rare. The side that spoke last is called the speaker. Arrays of two are indexed by direction: of what the
client sent, of what the server sent.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t

from tcpsight.tables cimport RequestAccount

cdef extern from *:
    """
    #define TCPSIGHT_FAR_OFFSET (INT64_C(1) << 61)
    """
    # No stream comes as far; differences of two such still fit.
    const int64_t FAR_OFFSET "TCPSIGHT_FAR_OFFSET"

cdef enum:
    # What a sender takes to go on once an acknowledgment has come, queues and captures between included.
    REACTION_NS = 1000000
    # Round trips beyond this are not looked for.
    MOST_NEAR_NS = 1500000000
    # Ethernet without options: where no SYN tells better (RFC 9293 §3.7.1 would have 536, which nobody sends any more).
    USUAL_MSS = 1460

cdef enum:
    # Whose turn it is. The side that speaks in phase p is p - ASKING.
    BEFORE = 0      # nothing was said yet, and how the connection began was not captured
    GREETING = 1    # nothing was said yet
    ASKING = 2      # the client spoke last: its request is under way, or waits for its answer
    ANSWERING = 3   # the server spoke last

cdef enum:
    # Bits of Slot.rare: while one is set, segments go the long way.
    SHAKING = 1         # the handshake was seen to begin, not yet to end
    UNHEARD = 2         # nothing of the client was captured yet; of the server: twice that
    RECOVERING = 8      # something the client sent again is not acknowledged yet; the server: twice that
    LEAPT = 32          # the last charge was for more than an hour; the next segment must confirm it
    TIGHT = 64          # the peer's window leaves the speaker less room than a segment takes
    WAS_TIGHT = 128     # it did since the speaker sent data last

cdef enum:
    # Bits of Slot.shook, and twice that for the server.
    SYN_SEEN = 1
    SYN_ACKED = 4
    SYN_REPEATED = 16   # of either side

cdef enum:
    # Slot.opener while no SYN was seen.
    NO_OPENER = 2

cdef enum:
    PARTS = 8           # all but the handshake, by number of the part - 1

cdef enum:
    # `Turn.first`, `Turn.last`.
    IN_FIRST = 1
    IN_LAST = 2

cdef enum:
    # `take_data` decides.
    AS_USUAL = -1

cdef extern from *:
    """
    #define TCPSIGHT_HOUR_NS INT64_C(3600000000000)
    """
    const int64_t HOUR_NS "TCPSIGHT_HOUR_NS"

cdef struct Slot:
    # First line.
    int64_t mark_ns             # all time up to here is in the account
    int64_t edge[2]             # one past the highest byte sent, or acknowledged by data of the other side
    int64_t acked[2]
    int64_t acked_ns            # when that was last raised for the speaker
    int32_t window[2]           # that the peer offered with it; -1 if unknown
    int32_t mss
    uint8_t phase
    uint8_t rare
    uint8_t is_used
    uint8_t opener
    # Second, with what a change of sides needs, and the parts that most segments are charged to; others in the third.
    int64_t begin               # where the current request begins
    int64_t turns
    int32_t near_ns[2]          # how soon after an acknowledgment the data come that it let go; -1: cannot be told
    int64_t parts[PARTS]
    # Third.
    int64_t opened_ns           # when the speaker's window was last opened
    int64_t connection_id
    uint8_t shook
    uint8_t leap_part
    uint8_t ttl[2]
    uint8_t leap_is_in          # which times of the current request hold it: IN_FIRST, IN_LAST
    uint8_t padding[3]
    int64_t fin_ns
    int64_t leap_ns
    # Fourth.
    int64_t syn_ns
    int64_t syn_ack_ns
    int64_t repeated_ns         # of the handshake: waiting for SYNs that were sent again
    int64_t again[2]            # end of what was sent again
    int64_t asked_ns            # when the current request began
    int64_t shown[2]            # up to where a segment without data showed that more had been sent than was captured

cdef struct Turn:
    # The parts when the current request began, and at the last data of its answer.
    int64_t first[PARTS]
    int64_t last[PARTS]

cdef struct Made:
    RequestAccount *requests
    int64_t request_rows
