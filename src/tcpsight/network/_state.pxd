# What is remembered of an open connection: per direction the lines that every segment touches, then what few do.
#
# With many connections the time goes into fetching this, so the usual segment must touch as few lines as can be: of
# its own direction those of sending, stamping and place, of the other one these and those of being acknowledged.
# Whatever a bit of `flags` can guard lies further behind and is not looked at while the bit is off.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef enum:
    # Segments in flight whose times are kept: at first (as a power of two, too), and at most as such a power, per
    # direction; and bytes for all connections of a share, of which there are 256.
    FIRST_SENT = 4
    FIRST_BITS = 2
    MOST_BITS = 12
    MOST_SENT_BYTES = 1048576
    # A ring that grew beyond this power is given back when nothing is in flight.
    KEPT_BITS = 6
    # Retransmissions remembered per direction until it is known whether they were needed; at most so many holes.
    MOST_RESENT = 8
    # Room for some holes at first, and at most.
    FIRST_HOLES = 16
    MOST_HOLES = 1024
    # Of room beyond the first, so much for all connections of a share.
    MOST_HOLE_BYTES = 1048576
    # Percentiles of so few round trips are exact; of more they come from a histogram.
    FEW_ROUND_TRIPS = 4
    # Round trips put aside before they are counted: fetching the histogram for each one would cost more than the rest.
    PENDING_ROUND_TRIPS = 8
    # Of the histogram: what is below its lowest bound, and 27 from there on.
    OCTAVES = 28
    # Timestamps that wait to be echoed, per direction.
    STAMPS = 8
    # An epoch that is not counted further: from then on a step may lie between any two segments.
    MANY = 65535

cdef enum:
    # Causes of a retransmission, as they index Flow.causes.
    CAUSE_TIMEOUT = 0
    CAUSE_FAST = 1
    CAUSE_TAIL_LOSS_PROBE = 2
    CAUSE_SPURIOUS = 3
    CAUSES = 4

cdef enum:
    # Bits of Sent.flags.
    HAS_VALUE = 1           # its TSval is known
    RESENT = 2              # sent again: Karn's rule
    UNCLEAN = 4             # sent above a hole that was filled: its ACK was held back
    CONTROL = 8             # SYN or FIN: acknowledged at once

cdef enum:
    # Bits of Flow.flags.
    KNOWN = 1               # something it sent has a place: `next` and `data_end` are known
    HAS_ACKED = 2           # `acked` is known
    BUSY = 4                # data outstanding since `busy_since_ns`; without it none are, since then
    SAW_WINDOW = 8
    IS_CLOSED = 16          # its last window was zero, since `closed_since_ns`
    IN_FAST_RECOVERY = 32   # until `recovery_point` is acknowledged
    IN_TIMEOUT = 64
    HAS_CLEAN = 128         # the round trips kept are clean ones
    HOLES_LOST = 256        # there were more holes than are kept
    OFFERED_SACK = 512
    USES_TIMESTAMPS = 1024
    WINDOW_UNKNOWN = 4096   # one of its windows is
    IS_FULL = 2048          # what is in flight leaves no room for another segment in the peer's window
    SAW_FIN = 8192          # `fin_end` is known
    IN_STALL = 16384
    HAS_STAMPED = 32768     # `stamped` is known
    PEER_CLOSED = 65536     # the peer closed its window since data were sent last
    HAS_DELAYED = 131072    # the peer's last acknowledgment was delayed, at `delayed_ack_ns`
    AFTER_PAUSE = 262144    # the burst under way is the first after a pause
    HAS_SACKED = 524288     # a SACK block of the peer reached `sacked_end`, beyond what it acknowledged
    ACKED_AHEAD = 2097152   # the peer acknowledged what was not captured: the last number before `data_end` may be a FIN's
    HAS_HOLES = 1048576     # `rare` is there and holds holes
    HAS_SAFE = 8388608      # no clock may have been set back within the shortest round trip
    HAS_MORE = 16777216     # its last data were a full segment, not pushed: their sender had more
    HAS_LAST_VALUE = 33554432   # `last_value` of its slot is known
    IS_BELOW_MSS = 4194304  # its window has no room for a segment of the size it takes, since `below_mss_since_ns`

cdef struct Sent:
    int64_t end             # one past its last number: SYN and FIN count
    int64_t time_ns
    uint32_t value          # TSval
    uint32_t in_flight      # bytes, itself included
    int32_t payload
    uint8_t flags
    uint8_t controls        # numbers of its SYN and FIN
    uint16_t epoch          # of its slot when it was sent

cdef struct Resent:
    int64_t start
    int64_t end             # start == end: empty
    int64_t time_ns
    uint32_t value
    uint8_t cause
    uint8_t has_value
    uint8_t is_again        # not the first time
    uint8_t padding

cdef struct Hole:
    int64_t start
    int64_t end
    int64_t time_ns         # when the segment behind it came
    uint32_t value          # its TSval
    uint16_t has_value
    uint16_t is_untimed     # the clock went back since: nobody knows when it was

cdef struct Rare:
    # Allocated when the first segment is sent again or a hole opens.
    Resent resent[MOST_RESENT]
    uint32_t resent_at
    uint32_t hole_count     # HAS_HOLES if there are any
    uint32_t hole_size
    uint32_t padding
    Hole *holes             # NULL until there is one; in order

cdef struct Stall:
    # The same bytes, the lowest not acknowledged, sent again and again.
    int64_t offset
    int64_t start_ns        # when they were sent first, as far as is known
    int64_t end_ns          # when they were sent last, or acknowledged at last
    int64_t retransmissions
    int64_t peer_start      # what the peer had sent when it began
    int64_t peer_segments   # sent meanwhile
    int32_t payload
    int32_t is_over         # they were acknowledged at last

cdef struct Pattern:
    # Something that happens over and over.
    int64_t count
    int64_t first_ns
    int64_t last_ns

cdef struct Stamp:
    # A timestamp that waits to be echoed.
    int64_t time_ns
    uint32_t value
    uint32_t padding

cdef struct Rising:
    # How round trips go with bytes in flight: sums over the clean ones.
    double n
    double x
    double y
    double xx
    double xy
    double yy

cdef struct Octaves:
    # A histogram of which only the octaves that occur have bins. So many blocks of 16 counts follow.
    uint8_t block_of[OCTAVES]   # of each octave, counted from one; 0: none
    uint8_t used
    uint8_t room
    uint8_t padding[2]

cdef struct Flow:
    # place: whatever passes either way
    int64_t next            # one past the highest number sent, SYN and FIN included
    int64_t data_end        # the same of data alone
    int64_t acked           # what the peer acknowledged
    int64_t segments
    int64_t new_bytes
    uint32_t flags
    int32_t window          # offered by its last segment, -1 if unknown
    int32_t full            # payload of a full-size segment; 0 while unknown
    uint16_t raw_window
    uint16_t mss            # announced by its SYN; 0 if unseen
    uint16_t head           # of the ring of segments in flight
    uint16_t count
    uint8_t size_bits       # its size is two to the power of this
    uint8_t duplicate_acks_seen     # by this flow since the last progress; no further than 255
    uint8_t stamps_head
    uint8_t stamps_count
    # being acknowledged
    int64_t srtt_ns
    int64_t rttvar_ns
    int64_t rtt_min_ns
    int64_t rtt_max_ns
    int64_t progress_ns     # when the peer last acknowledged something new
    int64_t non_idle_ns
    uint32_t rtt_samples
    uint32_t rtt_delayed
    uint32_t rtt_kept
    int32_t payload_acked_max
    # being acknowledged, too
    Rising rising
    uint16_t pending[PENDING_ROUND_TRIPS]   # bins of the last round trips, not counted in `round_trips` yet
    # stamping, and being echoed: how long until the peer echoes what this direction stamped
    int64_t echoed_ns       # when the peer last sent data
    int64_t echo_min_ns
    int64_t echo_max_ns
    uint32_t echo_samples
    uint32_t stamped        # the last value that was remembered
    int64_t burst_peer_bytes    # what the peer had sent when the burst began
    int32_t window_max
    int32_t payload_max
    Stamp stamps[STAMPS]    # a ring; the first one is used as long as no more wait
    int64_t below_mss_since_ns
    int64_t below_mss_ns
    # sending, and having been sent
    int64_t busy_since_ns
    int64_t unseen_pause_ns     # pauses in which data may have been outstanding at the sender
    int64_t doubtful_pause_ns   # of them those before which it had more to send
    int64_t sent_ns         # when it sent data last
    int64_t in_flight_max
    uint32_t burst_bytes    # data that follow each other within half a round trip; no further than 2³² − 1
    uint32_t burst_largest
    Sent few_sent[FIRST_SENT]   # the ring while it is small; the first one is used as long as no more are in flight
    # what few segments touch
    Sent *sent              # the ring once it has grown
    Rare *rare
    Octaves *round_trips    # counts by bin; NULL while `few` and `pending` are enough
    int64_t few[FEW_ROUND_TRIPS]    # the first round trips that were kept
    int64_t more_on_wire    # segments on the wire beyond those captured
    int64_t sacked_end      # highest number that a SACK block of the peer reached
    int64_t delayed_ack_ns  # when the last delayed acknowledgment of this direction came
    int64_t full_since_ns
    int64_t full_ns
    int64_t zero_windows
    int64_t recovery_point
    int64_t fin_end         # one past its first FIN
    int64_t closed_since_ns
    int64_t closed_ns
    int64_t retransmissions
    int64_t causes[CAUSES]
    int64_t control_retransmissions
    int64_t retransmitted_bytes
    int64_t keep_alives
    int64_t zero_window_probes
    int64_t out_of_order
    int64_t reordered
    int64_t reordering_max
    int64_t duplicate_acks
    int64_t window_full
    Pattern high            # round trips far above the shortest
    Pattern echo_high       # the same by timestamps
    Pattern nagle           # small segments held back until a delayed acknowledgment
    Pattern restart         # pauses after which it had to probe the path anew
    Stall stall             # under way
    Stall longest           # the one of most retransmissions
    int64_t closed_longest_ns
    int64_t closed_longest_start_ns
    int64_t closed_longest_before_ns        # what these two were before the last one of them
    int64_t closed_longest_before_start_ns
    uint32_t syns_again
    uint32_t syn_acks_again
    int64_t syn_acks_needless

cdef struct Slot:
    # what every segment touches: 64 bytes
    int64_t last_ns
    uint64_t usual_ns       # what comes so soon after the last one needs no closer look at the clock; 0: all does
    int64_t round_trip_ns   # the shortest whole one: to the one side and to the other; 0 if unknown
    int64_t first_ns
    int64_t connection_id
    uint16_t leap
    uint8_t is_used
    uint8_t is_unsequenced
    uint8_t is_behind       # its clock was set back and has not caught up
    uint8_t share           # of the connections: limits are those of shares, so that it does not matter who has which
    uint16_t epoch          # how often the capture's clock may have been set back between two of its segments, or MANY
    uint32_t steps          # how often that was anywhere, when it had its last segment
    uint32_t padding
    uint32_t last_value[2]  # TSval of the acknowledgment of all data of each direction
    # 1064 bytes each, so that neither they nor slots begin with a line: what is used together lies together, and no more
    Flow flows[2]
    # 64 bytes more
    uint8_t client_address[16]
    uint8_t server_address[16]
    uint16_t client_port
    uint16_t server_port
    uint8_t ip_version
    uint8_t behind_count    # segments in a row that were behind, as far as it matters
    uint8_t last_padding[2]
    int64_t leap_from_ns    # the time before its last segment, if that leapt: see _clock.pxd
    int64_t behind_ns       # how far its clock is behind where it was; 0 if it is not, or by less than frames are out of order
    int64_t stepped_ns      # how far it was set back, all in all

cdef struct Memory:
    int64_t sent_bytes      # in rings of all connections of a share
    int64_t hole_bytes      # the same of holes, beyond the first of each direction


cdef inline int64_t larger(int64_t a, int64_t b) noexcept nogil:
    return a if a > b else b


cdef inline int64_t smaller(int64_t a, int64_t b) noexcept nogil:
    return a if a < b else b


cdef inline void pass_step(Slot *slot) noexcept nogil:
    """The capture's clock may have been set back since the connection's last segment."""
    if slot.epoch < MANY:
        slot.epoch += 1
