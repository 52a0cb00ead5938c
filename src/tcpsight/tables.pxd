# Generated from tables.py by tools/layout.py (make layout). Do not edit.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t

cdef enum:
    LINK_TYPE_TEXT_LENGTHS = 65280
    OPTION_TIMESTAMPS = 1
    OPTION_MSS = 2
    OPTION_WINDOW_SCALE = 4
    OPTION_SACK_PERMITTED = 8
    OPTION_SACK = 16
    OPTION_UNSEQUENCED = 32
    OPTION_CUT = 64
    OPTION_FRAGMENTED = 128
    FLAG_FIN = 1
    FLAG_SYN = 2
    FLAG_RST = 4
    FLAG_PSH = 8
    FLAG_ACK = 16
    FLAG_URG = 32
    FLAG_ECE = 64
    FLAG_CWR = 128
    FLAG_AE = 256
    MAX_SACK_BLOCKS = 4
    REASONS = 35

cdef enum:
    DIRECTION_CLIENT = 0
    DIRECTION_SERVER = 1

cdef enum:
    KIND_NEW = 0
    KIND_RETRANSMISSION = 1
    KIND_OUT_OF_ORDER = 2
    KIND_KEEP_ALIVE = 3
    KIND_ZERO_WINDOW_PROBE = 4
    KIND_DUPLICATE = 5

cdef enum:
    STATE_UNANSWERED = 0
    STATE_HANDSHAKING = 1
    STATE_REFUSED = 2
    STATE_CLOSED = 3
    STATE_CLIENT_RESET = 4
    STATE_SERVER_RESET = 5
    STATE_HALF_CLOSED = 6
    STATE_OPEN = 7

cdef enum:
    ROLE_OPTION = 0
    ROLE_SYN = 1
    ROLE_SYN_ACK = 2
    ROLE_PORT = 3
    ROLE_FIRST = 4

cdef enum:
    PART_CONNECT = 0
    PART_THINK = 1
    PART_REQUEST_TRANSFER = 2
    PART_SERVER = 3
    PART_RESPONSE_TRANSFER = 4
    PART_RECOVERY = 5
    PART_RECEIVER_LIMITED = 6
    PART_PATH_LIMITED = 7
    PART_UNKNOWN = 8

cdef enum:
    VANTAGE_SERVER = 0
    VANTAGE_CLIENT = 1
    VANTAGE_BETWEEN = 2
    VANTAGE_UNKNOWN = 3

cdef enum:
    BOUNDARY_OPENED = 0
    BOUNDARY_ENDED = 1

cdef enum:
    REASON_TRUNCATED_FRAME = 0
    REASON_UNKNOWN_LINK_TYPE = 1
    REASON_NOT_IP = 2
    REASON_NOT_TCP = 3
    REASON_FRAGMENT = 4
    REASON_MALFORMED_LINK = 5
    REASON_MALFORMED_IP = 6
    REASON_MALFORMED_TCP = 7
    REASON_TOO_DEEP = 8
    REASON_AGGREGATE = 9
    REASON_WIFI_WITHOUT_DATA = 10
    REASON_ENCRYPTED_WIFI = 11
    REASON_ENCRYPTED_LINK = 12
    REASON_ENCRYPTED_PACKET = 13
    REASON_COMPRESSED = 14
    REASON_DAMAGED_FRAME = 15
    REASON_NETLINK = 16
    REASON_NO_NETWORK = 17
    REASON_UNREADABLE_TEXT = 18
    REASON_KERNEL_DROP = 19
    REASON_INTERFACE_DROP = 20
    REASON_CAPTURE_DUPLICATE = 21
    REASON_AMBIGUOUS_DUPLICATE = 22
    REASON_CAPTURE_GAP = 23
    REASON_UNSEQUENCED = 24
    REASON_TIME_BACKWARDS = 25
    REASON_TIME_JUMP = 26
    REASON_RESET_OUTSIDE_WINDOW = 27
    REASON_SEGMENT_OUTSIDE_WINDOW = 28
    REASON_HOLE_OVERFLOW = 29
    REASON_ACKNOWLEDGMENT_OUTSIDE_WINDOW = 30
    REASON_UNREPRESENTABLE_TIME = 31
    REASON_UNTIMED_FRAME = 32
    REASON_CONNECTION_OVERFLOW = 33
    REASON_BAD_FILE = 34

cdef enum:
    ENCAPSULATION_NONE = 0
    ENCAPSULATION_IP_IN_IP = 1
    ENCAPSULATION_GRE = 2
    ENCAPSULATION_NVGRE = 3
    ENCAPSULATION_ERSPAN = 4
    ENCAPSULATION_VXLAN = 5
    ENCAPSULATION_GENEVE = 6
    ENCAPSULATION_GTP = 7
    ENCAPSULATION_TEREDO = 8
    ENCAPSULATION_L2TP = 9
    ENCAPSULATION_ETHERNET_IN_IP = 10
    ENCAPSULATION_MPLS_IN_IP = 11
    ENCAPSULATION_TZSP = 12

cdef enum:
    TLS_NONE = 0
    TLS_HELLO = 1
    TLS_HANDSHAKE = 2
    TLS_CHANGE = 3
    TLS_FINISHED = 4
    TLS_ALERT = 5
    TLS_CLOSING = 6
    TLS_ALIKE = 7
    TLS_DATA = 8

cdef struct Frame:
    int64_t frame_number
    int64_t time_ns
    int64_t position
    int64_t frame_in_file
    uint32_t captured_bytes
    uint32_t wire_bytes
    uint32_t interface_id
    uint16_t link_type
    uint16_t file

cdef struct Header:
    int64_t frame_number
    int64_t time_ns
    int64_t frame_in_file
    uint8_t source_address[16]
    uint8_t destination_address[16]
    uint16_t source_port
    uint16_t destination_port
    uint32_t interface_id
    uint32_t acknowledgment_number
    uint32_t sequence_number
    uint16_t window
    uint16_t flags
    uint16_t checksum
    uint16_t ip_id
    int32_t payload_bytes
    uint32_t options_hash
    int32_t captured_payload_bytes
    uint32_t timestamp_value
    uint32_t timestamp_echo
    uint8_t ip_version
    uint8_t encapsulation
    uint16_t tunnel
    uint8_t options
    uint8_t window_scale
    uint8_t sack_count
    uint8_t ttl
    uint16_t mss_bytes
    uint16_t file
    uint32_t sack[8]
    int32_t tls_bytes
    uint8_t tls
    uint8_t tls_records

cdef struct Segment:
    int64_t frame_number
    int64_t time_ns
    int64_t connection_id
    int64_t offset
    int64_t acked_offset
    uint32_t slot
    int32_t payload_bytes
    int32_t new_bytes
    int32_t new_at
    int32_t window_bytes
    uint16_t flags
    uint8_t direction
    uint8_t kind

cdef struct Boundary:
    int64_t connection_id
    int64_t time_ns
    uint8_t client_address[16]
    uint8_t server_address[16]
    uint16_t client_port
    uint16_t server_port
    uint32_t slot
    int32_t position
    int32_t row
    uint8_t share
    int64_t due_ns
    uint8_t boundary
    uint8_t ip_version
    uint8_t is_open

cdef struct Piece:
    int64_t connection_id
    int64_t offset
    int64_t position
    int64_t previous
    int64_t frame_number
    int64_t time_ns
    int32_t payload_bytes
    int32_t captured_bytes
    uint16_t file
    uint16_t flags
    uint8_t direction
    uint8_t kind

cdef struct Stream:
    int64_t connection_id
    int64_t last_piece
    int64_t pieces
    int64_t fin_offset
    int64_t fragment_bytes
    uint8_t direction

cdef struct Connection:
    int64_t connection_id
    char community_id[30]
    uint8_t client_address[16]
    uint16_t client_port
    uint8_t server_address[16]
    uint16_t server_port
    uint8_t ip_version
    uint8_t role_source
    uint8_t state
    uint8_t is_sequenced
    uint8_t is_approximate
    int64_t start_ns
    int64_t end_ns
    int64_t duration_ns
    int64_t connect_attempts
    int64_t connect_ns
    int64_t server_handshake_rtt_ns
    int64_t client_handshake_rtt_ns
    int64_t server_handshake_least_ns
    int64_t client_handshake_least_ns
    int64_t client_isn
    int64_t server_isn
    int64_t client_bytes
    int64_t server_bytes
    int64_t client_segments
    int64_t server_segments
    int64_t client_retransmissions
    int64_t server_retransmissions
    int64_t client_control_retransmissions
    int64_t server_control_retransmissions
    int64_t client_retransmitted_bytes
    int64_t server_retransmitted_bytes
    int64_t client_gap_bytes
    int64_t server_gap_bytes
    int64_t duplicates
    int64_t ignored_resets
    int64_t requests
    int64_t unanswered
    uint8_t is_farewell
    int64_t unsolicited_bytes
    uint8_t encapsulation
    uint8_t fin_from
    int64_t think_ns
    int64_t request_transfer_ns
    int64_t server_ns
    int64_t response_transfer_ns
    int64_t recovery_ns
    int64_t receiver_limited_ns
    int64_t path_limited_ns
    int64_t unknown_ns
    uint8_t limited_by
    uint8_t vantage
    double vantage_confidence

cdef struct Request:
    int64_t connection_id
    int64_t request_index
    uint8_t client_address[16]
    uint16_t client_port
    uint8_t server_address[16]
    uint16_t server_port
    uint8_t ip_version
    int64_t request_number
    int32_t made_by
    int64_t request_first_ns
    int64_t request_last_ns
    int64_t response_first_ns
    int64_t response_last_ns
    int64_t request_bytes
    int64_t response_bytes
    int64_t arrival_ns
    int64_t completion_ns
    int64_t response_time_ns
    uint8_t is_overlapped
    uint8_t is_first
    uint8_t is_handshake

cdef struct UnansweredRequest:
    int64_t connection_id
    int64_t request_index
    uint8_t client_address[16]
    uint16_t client_port
    uint8_t server_address[16]
    uint16_t server_port
    uint8_t ip_version
    int64_t request_number
    int32_t made_by
    int64_t request_first_ns
    int64_t request_last_ns
    int64_t response_first_ns
    int64_t response_last_ns
    int64_t request_bytes
    int64_t response_bytes
    int64_t arrival_ns
    int64_t completion_ns
    int64_t response_time_ns
    uint8_t is_overlapped
    uint8_t is_first
    uint8_t is_handshake
    int64_t end_ns
    uint8_t is_open

cdef struct RequestCount:
    int64_t connection_id
    int64_t requests
    int64_t unanswered
    int64_t unsolicited_bytes
    uint8_t is_farewell

cdef struct ConnectionAccount:
    int64_t connection_id
    int64_t think_ns
    int64_t request_transfer_ns
    int64_t server_ns
    int64_t response_transfer_ns
    int64_t recovery_ns
    int64_t receiver_limited_ns
    int64_t path_limited_ns
    int64_t unknown_ns
    uint8_t limited_by
    uint8_t vantage
    double vantage_confidence

cdef struct RequestAccount:
    int64_t connection_id
    int64_t request_index
    int64_t request_first_ns
    int64_t request_transfer_ns
    int64_t server_ns
    int64_t response_transfer_ns
    int64_t recovery_ns
    int64_t receiver_limited_ns
    int64_t path_limited_ns

cdef struct Interval:
    int64_t start_ns
    int64_t length_ns
    uint8_t is_partial
    uint8_t is_gap
    int64_t arrivals
    int64_t completions
    int64_t backlog
    int64_t unanswered
    int64_t unanswered_backlog
    int64_t unanswered_weighted_ns
    double arrival_rate_per_s
    double throughput_per_s
    double concurrency
    int64_t busy_ns
    double utilization_fraction
    int64_t weighted_ns
    int64_t response_time_sum_ns
    double response_time_mean_ns
    int64_t response_time_p50_ns
    int64_t response_time_p95_ns
    int64_t response_time_p99_ns
    int64_t response_time_max_ns
    double response_time_dispersion_ns
    int64_t late

cdef struct NetworkRow:
    int64_t connection_id
    uint8_t direction
    uint8_t client_address[16]
    uint16_t client_port
    uint8_t server_address[16]
    uint16_t server_port
    uint8_t ip_version
    int64_t start_ns
    int64_t end_ns
    uint8_t vantage
    double vantage_confidence
    uint8_t is_approximate
    int64_t segments
    int64_t wire_segments
    int64_t bytes
    int64_t retransmissions
    int64_t timeout_retransmissions
    int64_t fast_retransmissions
    int64_t tail_loss_probes
    int64_t spurious_retransmissions
    int64_t control_retransmissions
    int64_t retransmitted_bytes
    int64_t keep_alives
    int64_t zero_window_probes
    int64_t out_of_order
    int64_t reordered
    int64_t reordering_max_bytes
    int64_t duplicate_acks
    int64_t zero_windows
    int64_t zero_window_ns
    int64_t window_full
    int64_t window_max_bytes
    int64_t in_flight_max_bytes
    int64_t mss_bytes
    int64_t rtt_samples
    int64_t rtt_delayed_samples
    int64_t rtt_min_ns
    int64_t rtt_p50_ns
    int64_t rtt_p95_ns
    int64_t rtt_max_ns
    int64_t srtt_ns
    int64_t rttvar_ns
    int64_t rto_ns
    int64_t echo_rtt_samples
    int64_t echo_rtt_min_ns
    int64_t echo_rtt_max_ns
    int64_t throughput_bits_per_s
    int64_t goodput_bits_per_s
    int64_t non_idle_goodput_bits_per_s
    int64_t non_idle_ns
    int64_t window_limited_ns
    int64_t window_below_mss_ns
    int64_t zero_window_longest_ns
    int64_t zero_window_longest_start_ns
    int64_t rising_samples
    double rising_correlation
    int64_t high_samples
    int64_t high_first_ns
    int64_t high_last_ns
    int64_t echo_high_samples
    int64_t echo_high_first_ns
    int64_t echo_high_last_ns
    int64_t nagle_count
    int64_t nagle_first_ns
    int64_t nagle_last_ns
    int64_t restart_count
    int64_t restart_first_ns
    int64_t restart_last_ns
    int64_t stall_start_ns
    int64_t stall_end_ns
    int64_t stall_retransmissions
    int64_t stall_peer_segments
    int64_t stall_offset
    int64_t stall_payload_bytes
    uint8_t stall_is_over
    int64_t payload_acked_max_bytes
    int64_t needless_syn_acks
    int64_t repeated_syns
    int64_t repeated_syn_acks
    int64_t stepped_back_ns
    int64_t unseen_pause_ns
    int64_t doubtful_pause_ns

cdef struct PolicedRow:
    int64_t connection_id
    uint8_t direction
    int32_t made_by
    uint8_t client_address[16]
    uint16_t client_port
    uint8_t server_address[16]
    uint16_t server_port
    uint8_t ip_version
    int64_t start_ns
    int64_t end_ns
    uint8_t is_cut
    uint8_t is_lost_before
    int64_t segments
    int64_t losses
    int64_t passes
    uint8_t is_policed
    int64_t rate_bits_per_s
    int64_t rate_low_bits_per_s
    int64_t rate_high_bits_per_s
    int64_t bucket_bytes
    int64_t burst_bytes
    int64_t loss_start_ns
    int64_t loss_end_ns
    int64_t slices_with_loss
    double order_fraction
    double queued_fraction
    uint8_t verdict
    uint8_t trimmed_verdict
    int64_t paper_rate_bits_per_s
    int64_t inflated_losses
    int64_t rtt_p50_ns
    uint8_t is_shaped
    int64_t shaped_rate_bits_per_s
    int64_t shaped_burst_bytes
    int64_t shaped_start_ns
    int64_t shaped_end_ns
    int64_t queue_p50_ns
    int64_t queue_max_ns
    int64_t this_side_ns
    int64_t other_side_ns
