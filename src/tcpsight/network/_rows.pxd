# The row of a direction, from what is remembered of it.
from libc.stdint cimport int64_t, uint8_t
from libc.string cimport memcpy, memset
from tcpsight.network._evidence cimport correlation, end_stall
from tcpsight.network._round_trips cimport percentile, settle_round_trips, time_out_after
from tcpsight.network._state cimport (
    BUSY, CAUSE_FAST, CAUSE_SPURIOUS, CAUSE_TAIL_LOSS_PROBE, CAUSE_TIMEOUT, HAS_ACKED, HOLES_LOST, IS_BELOW_MSS,
    IS_CLOSED, IS_FULL, WINDOW_UNKNOWN, Flow, Slot, larger,
)
from tcpsight.network._windows cimport note_closed
from tcpsight.tables cimport VANTAGE_UNKNOWN, NetworkRow


cdef inline double smaller_double(double a, double b) noexcept nogil:
    return a if a < b else b


cdef inline int64_t bits_per_s(int64_t byte_count, int64_t duration_ns) noexcept nogil:
    if duration_ns <= 0:
        return -1
    return <int64_t>smaller_double(byte_count * 8e9 / duration_ns, 9e18)


cdef inline void give_counts(NetworkRow *row, const Flow *f) noexcept nogil:
    row.bytes = f.new_bytes
    row.retransmissions = f.retransmissions
    row.timeout_retransmissions = f.causes[CAUSE_TIMEOUT]
    row.fast_retransmissions = f.causes[CAUSE_FAST]
    row.tail_loss_probes = f.causes[CAUSE_TAIL_LOSS_PROBE]
    row.spurious_retransmissions = f.causes[CAUSE_SPURIOUS]
    row.control_retransmissions = f.control_retransmissions
    row.retransmitted_bytes = f.retransmitted_bytes
    row.keep_alives = f.keep_alives
    row.zero_window_probes = f.zero_window_probes
    row.out_of_order = f.out_of_order
    row.reordered = f.reordered
    row.reordering_max_bytes = f.reordering_max if f.reordered else -1
    row.duplicate_acks = f.duplicate_acks
    row.window_full = f.window_full
    # Where nothing was ever acknowledged, nobody knows what was in flight.
    row.in_flight_max_bytes = f.in_flight_max if f.flags & HAS_ACKED or f.new_bytes == 0 else -1


cdef inline void give_round_trips(NetworkRow *row, Flow *f) noexcept nogil:
    settle_round_trips(f)
    row.rtt_samples = f.rtt_samples
    row.rtt_delayed_samples = f.rtt_delayed
    if f.rtt_samples == 0:
        row.rtt_min_ns = row.rtt_p50_ns = row.rtt_p95_ns = row.rtt_max_ns = -1
        row.srtt_ns = row.rttvar_ns = row.rto_ns = -1
        return
    row.rtt_min_ns = f.rtt_min_ns
    # Those within which a clock was set back may be shorter than what counts as the shortest.
    row.rtt_p50_ns = larger(percentile(f, 50), f.rtt_min_ns)
    row.rtt_p95_ns = larger(percentile(f, 95), f.rtt_min_ns)
    row.rtt_max_ns = larger(f.rtt_max_ns, f.rtt_min_ns)
    row.srtt_ns = f.srtt_ns
    row.rttvar_ns = f.rttvar_ns
    row.rto_ns = time_out_after(f.srtt_ns, f.rttvar_ns)


cdef inline void give_rates(NetworkRow *row, Flow *f, const Slot *slot) noexcept nogil:
    cdef int64_t duration_ns = slot.last_ns - slot.first_ns
    row.throughput_bits_per_s = bits_per_s(f.new_bytes + f.retransmitted_bytes, duration_ns)
    row.goodput_bits_per_s = bits_per_s(f.new_bytes, duration_ns)
    row.non_idle_ns = f.non_idle_ns + (slot.last_ns - f.busy_since_ns if f.flags & BUSY else 0)
    row.non_idle_goodput_bits_per_s = bits_per_s(f.new_bytes, row.non_idle_ns)
    row.stepped_back_ns = slot.stepped_ns
    row.unseen_pause_ns = f.unseen_pause_ns
    row.doubtful_pause_ns = f.doubtful_pause_ns


cdef inline void give_evidence(NetworkRow *row, Flow *f, int64_t peer_segments, const Slot *slot) noexcept nogil:
    """What findings are made from."""
    end_stall(f, peer_segments)
    row.window_limited_ns = f.full_ns + (slot.last_ns - f.full_since_ns if f.flags & IS_FULL else 0)
    row.zero_window_longest_ns = f.closed_longest_ns
    row.zero_window_longest_start_ns = f.closed_longest_start_ns
    row.rising_samples = <int64_t>f.rising.n
    row.rising_correlation = correlation(&f.rising)
    row.high_samples = f.high.count
    row.high_first_ns = f.high.first_ns
    row.high_last_ns = f.high.last_ns
    row.echo_rtt_samples = f.echo_samples
    row.echo_rtt_min_ns = f.echo_min_ns if f.echo_samples else -1
    row.echo_rtt_max_ns = f.echo_max_ns if f.echo_samples else -1
    row.echo_high_samples = f.echo_high.count
    row.echo_high_first_ns = f.echo_high.first_ns
    row.echo_high_last_ns = f.echo_high.last_ns
    row.nagle_count = f.nagle.count
    row.nagle_first_ns = f.nagle.first_ns
    row.nagle_last_ns = f.nagle.last_ns
    row.restart_count = f.restart.count
    row.restart_first_ns = f.restart.first_ns
    row.restart_last_ns = f.restart.last_ns
    row.stall_start_ns = f.longest.start_ns
    row.stall_end_ns = f.longest.end_ns
    row.stall_retransmissions = f.longest.retransmissions
    row.stall_peer_segments = f.longest.peer_segments
    row.stall_offset = f.longest.offset
    row.stall_payload_bytes = f.longest.payload
    row.stall_is_over = f.longest.is_over
    row.payload_acked_max_bytes = f.payload_acked_max
    row.needless_syn_acks = f.syn_acks_needless
    row.repeated_syns = f.syns_again
    row.repeated_syn_acks = f.syn_acks_again


cdef inline void forget_sequenced(NetworkRow *row) noexcept nogil:
    """Null whatever needs sequence numbers."""
    row.bytes = row.retransmissions = row.timeout_retransmissions = row.fast_retransmissions = -1
    row.tail_loss_probes = row.spurious_retransmissions = row.control_retransmissions = -1
    row.retransmitted_bytes = row.keep_alives = row.zero_window_probes = row.out_of_order = row.reordered = -1
    row.reordering_max_bytes = row.duplicate_acks = row.window_full = row.in_flight_max_bytes = -1
    row.rtt_samples = row.rtt_delayed_samples = row.rtt_min_ns = row.rtt_p50_ns = row.rtt_p95_ns = row.rtt_max_ns = -1
    row.srtt_ns = row.rttvar_ns = row.rto_ns = -1
    row.zero_windows = row.zero_window_ns = row.window_limited_ns = row.window_max_bytes = row.mss_bytes = -1
    row.window_below_mss_ns = -1
    row.echo_rtt_samples = row.echo_rtt_min_ns = row.echo_rtt_max_ns = -1
    row.throughput_bits_per_s = row.goodput_bits_per_s = -1
    row.non_idle_ns = row.non_idle_goodput_bits_per_s = -1


cdef inline void give_row(NetworkRow *row, Slot *slot, int d) noexcept nogil:
    cdef Flow *f = &slot.flows[d]
    memset(row, 0, sizeof(NetworkRow))
    row.connection_id = slot.connection_id
    row.direction = <uint8_t>d
    memcpy(row.client_address, slot.client_address, 16)
    memcpy(row.server_address, slot.server_address, 16)
    row.client_port = slot.client_port
    row.server_port = slot.server_port
    row.ip_version = slot.ip_version
    row.start_ns = slot.first_ns
    row.end_ns = slot.last_ns
    row.vantage = VANTAGE_UNKNOWN  # others know
    row.vantage_confidence = -1
    row.is_approximate = (f.flags & HOLES_LOST) != 0
    row.segments = f.segments
    row.wire_segments = f.segments + f.more_on_wire
    row.zero_windows = f.zero_windows
    if f.flags & IS_CLOSED:
        note_closed(f, slot.last_ns)
    row.zero_window_ns = f.closed_ns
    row.window_max_bytes = -1 if f.flags & WINDOW_UNKNOWN else f.window_max
    row.mss_bytes = f.mss if f.mss else -1
    row.window_below_mss_ns = -1 if f.flags & WINDOW_UNKNOWN or not f.mss else (
        f.below_mss_ns + (slot.last_ns - f.below_mss_since_ns if f.flags & IS_BELOW_MSS else 0)
    )
    give_counts(row, f)
    give_round_trips(row, f)
    give_rates(row, f, slot)
    give_evidence(row, f, slot.flows[1 - d].segments, slot)
    if slot.is_unsequenced:
        forget_sequenced(row)
