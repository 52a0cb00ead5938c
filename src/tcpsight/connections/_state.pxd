# What is remembered of an open connection, packed so that the usual segment touches five cache lines:
# the key, the hot line and the last segments of the stream it extends, and the hot line of the stream it acknowledges.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t

cdef enum:
    # Holes kept per direction: room for some at first, and at most; beyond them counts are approximate and say so.
    FIRST_HOLES = 16
    MOST_HOLES = 1024
    # Of room beyond the first, so much for all connections of a share.
    MOST_HOLE_BYTES = 1048576
    # Segments remembered per direction to recognise capture duplicates: at first, and at most.
    FIRST_SEEN = 4
    FIRST_SEEN_BITS = 2
    MOST_SEEN_BITS = 12     # as a power of two
    # Of room beyond the first, so much for all connections of a share.
    MOST_SEEN_BYTES = 1048576

cdef enum:
    # Bits of Stream.flags.
    HAS_BASE = 1            # `base` is known: offsets can be computed
    HAS_ISN = 2             # its SYN was seen
    SAW_FIN = 4
    SYN_ACKED = 8           # the peer acknowledged its SYN
    PROBE_PENDING = 16      # the byte at `next_offset` was sent into a closed window: not yet part of the stream
    SCALE_KNOWN = 32        # its SYN told whether it offers window scaling
    HAS_SCALE = 64          # and it does
    SAW_WINDOW = 128
    SYN_HAD_ACK = 256       # its SYN carried ACK
    BASE_BY_ACK = 512       # `base` is known from the peer's acknowledgments only
    JUMP_PENDING = 1024     # a place far from the stream is held: `jump_number`
    JUMP_BY_ACK = 2048      # it is where an acknowledgment of the peer pointed
    JUMP_IS_FIN = 4096      # a FIN ended there
    GAP_UNKNOWN = 8192      # the stream jumped so far that the gap has no size
    HAS_COPIES = 16384      # certain ones, on the same interface
    ON_SEVERAL_INTERFACES = 32768

cdef enum:
    # Bits of Stream.marks, of what its segments repeat or don't.
    HAS_ID = 1              # `last_id` is known
    IDS_VARY = 2            # identifications are not always the same one
    HAS_NEWEST = 4          # `newest_value` is known
    GROWN_UP = 8            # a copy of the connection's first segment would have come

cdef enum:
    # Bits of State.flags.
    SAW_SYN_ACK = 1         # from the side that did not send the first SYN
    COMPLETE = 2            # handshake seen to its end
    REFUSED = 4
    RESET_BY_CLIENT = 8
    RESET_BY_SERVER = 16
    APPROXIMATE = 32
    UNSEQUENCED = 64
    PENDING_SYN = 128       # a SYN with another ISN came while it was in use
    BEYOND_HANDSHAKE = 256  # anything but SYNs, SYN-ACKs and RSTs was seen
    SYN_AGAIN = 512         # the SYN was repeated since the last SYN-ACK
    SIMULTANEOUS = 1024     # both sides sent a SYN without ACK
    HANDSHAKE_OVER = 4096   # listed so in its share
    SETTLED = 2048          # no more of a handshake is to come: it is complete, or lies before the capture

cdef enum:
    # State.opener while neither SYN nor SYN-ACK was seen.
    NO_OPENER = 2

cdef struct Hole:
    int64_t start
    int64_t end

cdef struct Seen:
    int64_t time_ns
    uint32_t mark           # 0: empty
    uint16_t interface
    uint16_t checksum

cdef struct Stream:
    # hot line
    int64_t next_offset     # one past the highest offset sent, captured or not
    int64_t acked           # highest offset the peer acknowledged; INT64_MIN while none
    int64_t segments
    Hole *holes             # NULL until there is one; in order, none touching another
    Seen *seen_more         # NULL while `seen` is enough
    uint32_t base           # sequence number of offset 0
    uint32_t newest_value   # the highest TSval
    uint16_t last_interface
    uint16_t last_id        # IPv4 identification of its last segment that had one, until they vary
    uint16_t flags
    uint16_t last_window    # as on the wire, unscaled
    uint16_t hole_count
    uint16_t seen_at        # place of the next segment in `seen_more`, or else in `seen`
    uint8_t seen_bits       # the size of `seen_more` as a power of two; 0 while it is NULL
    uint8_t marks
    uint8_t scale
    uint8_t hole_doublings  # how often room was made for twice as many holes
    # second line
    Seen seen[FIRST_SEEN]
    # cold
    int64_t retransmissions
    int64_t retransmitted_bytes
    uint32_t control_retransmissions
    uint32_t isn
    int64_t evicted_bytes   # of holes beyond those that are kept
    int64_t fin_offset
    int64_t jump_frame      # what is held, see JUMP_PENDING: the first frame that showed it
    int64_t jump_since_ns   # highest time of the connection before it
    uint32_t jump_number    # the sequence number where it ends
    uint32_t jump_count     # segments or acknowledgments that showed it

cdef struct State:
    # key line
    uint8_t client_address[16]
    uint8_t server_address[16]
    uint16_t client_port
    uint16_t server_port
    uint8_t ip_version
    uint8_t filed_class     # the time-out class that the filed deadline was last compared with
    uint16_t flags
    int64_t connection_id   # 0 while the slot is free
    int64_t active_ns       # capture clock at its last segment
    int64_t last_ns         # highest time of its segments
    # general
    int64_t start_ns
    int64_t filed_deadline
    uint32_t newer          # neighbours in the list of its share, slot + 1; while the slot is free: the next free one
    uint32_t path           # see `path_of`
    int64_t connect_attempts
    int64_t connect_ns
    int64_t rtt_ns[2]       # handshake round trip to each side
    int64_t syn_first_ns
    int64_t syn_last_ns
    int64_t syn_ack_first_ns
    int64_t syn_ack_last_ns
    uint32_t duplicates
    uint32_t ignored_resets
    uint32_t older
    uint32_t looked_at      # see `recent`
    int64_t pending_frame   # what is known of a SYN that is held: see PENDING_SYN
    int64_t pending_ns
    int64_t pending_last_ns     # its last repetition
    int64_t before_pending_ns   # highest time of the segments that certainly belong here
    uint32_t syn_first_value
    uint32_t syn_last_value
    uint32_t syn_ack_first_value
    uint32_t syn_ack_last_value
    uint32_t syn_acks
    uint32_t pending_isn
    uint32_t pending_value
    uint32_t pending_last_value
    uint32_t pending_count
    int32_t pending_payload
    uint32_t pending_payload_again  # payload of its repetitions
    uint16_t pending_window
    uint16_t pending_flags
    uint8_t pending_options
    uint8_t pending_scale
    uint8_t pending_direction
    uint8_t syn_has_value
    uint8_t syn_ack_has_value
    uint8_t role_source
    uint8_t opener          # direction of the first SYN
    uint8_t share
    Stream streams[2]
