"""Why a peer and tcpsight differ: few classes, each with a proof that must hold in the frames for it to apply.

A proof works from the headers of the capture and never from the result of the room that is in question, except for
which frames form a connection. The classes are argued in ``docs/methods/differences.md``; a difference belongs to the
first of them whose proof holds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from tests.peers import proofs_bytes, proofs_handshakes, proofs_kinds, proofs_network, proofs_sums
from tests.peers.case import Case, Difference

BYTES = ("client bytes", "server bytes")
DUPLICATES = ("duplicate ack",)
ROUND_TRIP = ("round trip",)
CAUSE = ("cause",)
ROUND_TRIPS = ("server round trip", "client round trip")


class Reason(NamedTuple):
    """A class of differences.

    Attributes
    ----------
    code : str
        Its name in the list of accepted differences and in the documentation.
    whose : str
        `peer`: the frames prove the peer wrong. `definition`: the same thing by another definition. `damage`: the
        capture contradicts itself. `limit`: something that tcpsight does not do.
    peers : str
        Whose words they are about: ``tshark``, ``tcptrace`` or both.
    what : tuple of str
        What can differ for this reason.
    holds : callable
        Proves it.
    """

    code: str
    whose: str
    peers: str
    what: tuple[str, ...]
    holds: Callable[[Case, Difference], bool]


REASONS = (
    Reason("no-capture", "damage", "tshark", ("capture",), proofs_sums.is_no_capture),
    Reason("gave-up", "peer", "tcptrace", ("capture",), proofs_sums.gave_up),
    Reason("trailer", "peer", "tshark", ("frame",), proofs_bytes.is_short_of_a_trailer),
    Reason("malformed", "damage", "tshark", ("frame",), proofs_bytes.is_malformed),
    Reason("jumbo", "peer", "tshark", ("frame",), proofs_bytes.is_jumbo),
    Reason("ip-length-confirmed", "peer", "tshark", ("payload",), proofs_bytes.is_length_confirmed),
    Reason("ip-length", "damage", "tshark", ("payload",), proofs_bytes.ends_with_the_frame),
    Reason("timed-out", "definition", "tshark", ("connection",), proofs_bytes.timed_out),
    Reason("tunnel", "definition", "tshark", ("connection",), proofs_bytes.takes_other_paths),
    Reason("refused-before", "limit", "tshark", ("connection",), proofs_bytes.is_refused_before),
    Reason("malformed", "damage", "tshark", ("connection",), proofs_bytes.is_divided_by_malformed),
    Reason("ip-length-confirmed", "peer", "tshark", BYTES, proofs_bytes.differ_by_confirmed_length),
    Reason("ip-length", "damage", "tshark", BYTES, proofs_bytes.differ_by_length),
    Reason("unbelievable", "damage", "tshark", BYTES, proofs_bytes.differ_by_unbelievable),
    Reason("second-number", "peer", "tshark", BYTES, proofs_bytes.differ_by_second_number),
    Reason("ip-length", "damage", "tshark", ("kind",), proofs_kinds.follows_other_length),
    Reason("ip-length", "damage", "tcptrace", ("kind", "bytes"), proofs_kinds.follows_other_length),
    Reason("capture-duplicate", "peer", "tshark tcptrace", ("kind", "bytes"), proofs_kinds.is_copy),
    Reason("unbelievable", "damage", "tshark tcptrace", ("kind", "bytes"), proofs_kinds.is_unbelievable),
    Reason("first-seen", "definition", "tshark tcptrace", ("kind",), proofs_kinds.fills_a_hole),
    Reason("new-bytes", "definition", "tshark tcptrace", ("kind",), proofs_kinds.brings_new_bytes),
    Reason("impossible-fin", "damage", "tshark tcptrace", ("kind",), proofs_kinds.is_impossible_fin),
    Reason("impossible-fin", "damage", "tshark tcptrace", ("kind",), proofs_kinds.follows_impossible_fin),
    Reason("second-fin", "peer", "tshark tcptrace", ("kind",), proofs_kinds.is_second_fin),
    Reason("simultaneous-open", "definition", "tshark tcptrace", ("kind",), proofs_kinds.is_simultaneous_open),
    Reason("first-fin", "peer", "tshark tcptrace", ("kind",), proofs_kinds.is_first_fin),
    Reason("all-old", "definition", "tshark tcptrace", ("kind",), proofs_kinds.is_all_old),
    Reason("second-syn", "peer", "tcptrace", ("kind",), proofs_kinds.is_second_syn),
    Reason("before-beginning", "definition", "tshark tcptrace", ("kind",), proofs_kinds.is_before_beginning),
    Reason("fin-number", "peer", "tshark", ("kind",), proofs_kinds.is_bare_ack_below_fin),
    Reason("zero-window-probe", "peer", "tshark tcptrace", ("kind",), proofs_kinds.is_probe),
    Reason("keep-alive", "definition", "tshark tcptrace", ("kind",), proofs_kinds.is_keep_alive),
    Reason("data-on-reset", "definition", "tcptrace", ("kind", "bytes"), proofs_kinds.is_data_on_reset),
    Reason("new-syn", "definition", "tcptrace", ("kind",), proofs_kinds.is_first_syn),
    Reason("epoch-zero", "peer", "tshark", ("connect", *ROUND_TRIPS), proofs_handshakes.begins_at_epoch_zero),
    Reason("refused", "peer", "tshark", ("connect",), proofs_handshakes.ends_at_reset),
    Reason("no-answer", "peer", "tshark", ("connect",), proofs_handshakes.ends_at_no_answer),
    Reason("same-time", "definition", "tshark", ("connect", *ROUND_TRIPS), proofs_handshakes.times_do_not_advance),
    Reason("not-captured", "definition", "tshark", ("connect", *ROUND_TRIPS), proofs_handshakes.misses_bytes),
    Reason("clock-set", "damage", "tshark", ("connect", *ROUND_TRIPS), proofs_handshakes.outlasts_its_connection),
    Reason("last-syn", "definition", "tshark", ("connect",), proofs_handshakes.is_from_last_syn),
    Reason("simultaneous-open", "definition", "tshark", ("connect",), proofs_handshakes.is_simultaneous),
    Reason("server-ack", "definition", "tshark", ("connect",), proofs_handshakes.ends_at_the_server),
    Reason("ambiguous-ack", "definition", "tshark", ROUND_TRIPS, proofs_handshakes.is_ambiguous),
    Reason("exact-ack", "definition", "tshark", ROUND_TRIPS, proofs_handshakes.has_no_exact_ack),
    Reason("refused", "peer", "tshark", ("server round trip",), proofs_handshakes.is_refused_first),
    Reason("late-syn", "peer", "tshark", ("client round trip",), proofs_handshakes.has_late_syn),
    Reason("no-time", "peer", "tshark", ROUND_TRIPS, proofs_handshakes.has_exact_ack),
    Reason("capture-duplicate", "peer", "tshark", ("duplicate ack",), proofs_kinds.is_copy),
    Reason("nothing-outstanding", "definition", "tshark", DUPLICATES, proofs_network.leaves_nothing_outstanding),
    Reason("cut-options", "peer", "tshark", DUPLICATES, proofs_network.has_cut_options),
    Reason("own-number", "peer", "tshark", DUPLICATES, proofs_network.is_not_at_its_own_end),
    Reason("beyond-window", "definition", "tshark", ("window full",), proofs_network.goes_beyond_window),
    Reason("adds-nothing", "definition", "tshark", ("window full",), proofs_network.adds_nothing),
    Reason("unbelievable", "damage", "tshark", ("zero window",), proofs_kinds.is_unbelievable),
    Reason("capture-duplicate", "peer", "tshark tcptrace", ROUND_TRIP, proofs_network.is_copied),
    Reason("capture-duplicate", "peer", "tcptrace", ROUND_TRIP, proofs_network.covers_copied),
    Reason("by-reset", "definition", "tshark tcptrace", ROUND_TRIP, proofs_network.is_told_by_reset),
    Reason("apart", "definition", "tshark tcptrace", ROUND_TRIP, proofs_network.is_apart),
    Reason("apart", "definition", "tshark tcptrace", ROUND_TRIP, proofs_network.has_been_told_by_another),
    Reason("clock-step", "damage", "tshark tcptrace", ROUND_TRIP, proofs_network.crosses_a_step),
    Reason("ambiguous-ack", "definition", "tshark tcptrace", ROUND_TRIP, proofs_network.covers_repetition),
    Reason("ip-length", "damage", "tshark", ROUND_TRIP, proofs_network.has_other_length),
    Reason("keep-alive", "definition", "tshark", ROUND_TRIP, proofs_network.answers_a_probe),
    Reason("acked-before", "peer", "tshark tcptrace", ROUND_TRIP, proofs_network.was_acknowledged_before),
    Reason("held-back", "definition", "tshark tcptrace", ROUND_TRIP, proofs_network.was_held_back),
    Reason("idle-4-minutes", "peer", "tcptrace", ROUND_TRIP, proofs_network.was_forgotten),
    Reason("lower-again", "definition", "tcptrace", ROUND_TRIP, proofs_network.follows_lower_repetition),
    Reason("wraparound", "peer", "tcptrace", ROUND_TRIP, proofs_network.is_at_a_quarter),
    Reason("in-part", "peer", "tcptrace", ROUND_TRIP, proofs_network.was_covered_in_part),
    Reason("same-time", "definition", "tshark", ROUND_TRIP, proofs_network.has_same_stamp),
    Reason("no-time", "peer", "tshark", ROUND_TRIP, proofs_network.is_exact_and_alone),
    Reason("acked-before", "peer", "tshark", CAUSE, proofs_network.had_been_acknowledged),
    Reason("by-reset", "definition", "tshark", CAUSE, proofs_network.was_acknowledged_by_reset),
    Reason("needless-later", "definition", "tshark", CAUSE, proofs_network.turns_out_needless),
    Reason("told-of-loss", "definition", "tshark", CAUSE, proofs_network.was_told_of_loss),
    Reason("too-few-duplicates", "definition", "tshark", CAUSE, proofs_network.was_told_too_little),
    Reason("idle-4-minutes", "peer", "tcptrace", ("connection",), proofs_sums.is_divided_by_silence),
    Reason("answer-divides", "peer", "tcptrace", ("connection",), proofs_sums.is_divided_by_answer),
    Reason("another-syn", "peer", "tcptrace", ("connection",), proofs_sums.holds_another_syn),
    Reason("more-than-sent", "peer", "tcptrace", ("bytes",), proofs_sums.is_more_than_sent),
    Reason("fin-is-a-byte", "damage", "tcptrace", ("bytes",), proofs_sums.holds_the_number_of_a_fin),
    Reason("before-beginning", "definition", "tcptrace", ("bytes",), proofs_sums.lies_below_beginning),
    Reason("idle-4-minutes", "peer", "tcptrace", ("bytes", "kind"), proofs_sums.was_sent_before_the_silence),
    Reason("answer-divides", "peer", "tcptrace", ("kind",), proofs_sums.begins_a_conversation),
    Reason("fragment", "peer", "tcptrace", ("sums",), proofs_sums.has_whole_fragments),
    Reason("lost-fragment", "limit", "tcptrace", ("sums",), proofs_sums.has_lost_fragments),
    Reason("extension-header", "peer", "tcptrace", ("sums",), proofs_sums.has_extension_headers),
    Reason("jumbo", "peer", "tcptrace", ("sums",), proofs_sums.has_jumbo),
    Reason("malformed", "damage", "tcptrace", ("sums",), proofs_sums.has_malformed),
    Reason("any-repeat", "definition", "tcptrace", ("duplicate acks",), proofs_network.repeats_whatever_is_outstanding),
    Reason("other-time", "damage", "tcptrace", ("times",), proofs_sums.is_stamped_otherwise),
    Reason("other-time", "damage", "tcptrace", ("sums",), proofs_sums.has_other_times),
    Reason("labels", "peer", "tcptrace", ("sums",), proofs_sums.has_labels),
    Reason("frame-left-out", "peer", "tcptrace", ("sums",), proofs_sums.leaves_one_out),
    Reason("lost-in-table", "peer", "tcptrace", ("sums",), proofs_sums.is_lost_in_table),
)


def why(case: Case, d: Difference) -> str:
    """Give the first class that this difference belongs to; empty if there is none."""
    fitting = (r for r in REASONS if d.peer in r.peers.split() and d.what in r.what)
    return next((r.code for r in fitting if r.holds(case, d)), "")
