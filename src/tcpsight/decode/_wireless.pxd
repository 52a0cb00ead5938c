"""Wi-Fi (IEEE 802.11), and what radios write before its frames: radiotap, AVS, Prism.

A frame's check sequence may follow it or not: the length of the IP packet within makes that irrelevant.
"""

from libc.stdint cimport int64_t, uint8_t

from tcpsight.decode._wire cimport (
    LAYER_WIFI,
    PROTOCOL_LLC,
    Cursor,
    cut_short,
    holds,
    load16,
    load16_little,
    load24,
    load32,
    load32_little,
    skip,
    step,
)
from tcpsight.tables cimport (
    REASON_DAMAGED_FRAME,
    REASON_ENCRYPTED_WIFI,
    REASON_FRAGMENT,
    REASON_MALFORMED_LINK,
    REASON_WIFI_WITHOUT_DATA,
)

cdef enum:
    # IEEE 802.11-2020 §9.2.4.1: the first byte of frame control, masked and as it must be.
    TYPE_MASK = 0x0F  # version and type
    TYPE_DATA = 0x08
    SUBTYPE_NULL = 0x40  # no data
    SUBTYPE_QOS = 0x80
    # The second byte.
    TO_AND_FROM = 0x03  # four addresses
    MORE_FRAGMENTS = 0x04
    PROTECTED = 0x40
    ORDER = 0x80  # with QoS: HT control follows
    # The first byte of QoS control.
    AGGREGATED = 0x80

cdef enum:
    # Radiotap's fields and flags (radiotap.org).
    FIELD_TSFT = 1
    FIELD_FLAGS = 2
    MORE_FIELDS = 0x80000000u
    FLAG_PADDED = 0x20  # between header and body, to four bytes
    FLAG_DAMAGED = 0x40

cdef enum:
    AVS_COOKIE = 0x80211000u
    PRISM_BYTES = 144  # what every driver wrote


cdef inline int read_radiotap(Cursor *cursor) noexcept nogil:
    """Step over a radiotap header; its flags tell of padding and damage."""
    cdef const uint8_t *p = cursor.bytes + cursor.at
    cdef int64_t size, at
    cdef uint8_t flags = 0
    if not holds(cursor, 8):
        return cut_short(cursor)
    size = load16_little(p + 2)
    if p[0] != 0 or size < 8:
        return REASON_MALFORMED_LINK
    if not holds(cursor, size):
        return cut_short(cursor)
    at = 8
    while load32_little(p + at - 4) & MORE_FIELDS:
        at += 4
        if at > size:
            return REASON_MALFORMED_LINK
    if load32_little(p + 4) & FIELD_TSFT:
        # Aligned to its own size.
        at = ((at + 7) & ~7) + 8
    if load32_little(p + 4) & FIELD_FLAGS:
        if at >= size:
            return REASON_MALFORMED_LINK
        flags = p[at]
    if flags & FLAG_DAMAGED:
        return REASON_DAMAGED_FRAME
    cursor.at += size
    return read_wifi(cursor, (flags & FLAG_PADDED) != 0)


cdef inline int read_prism(Cursor *cursor) noexcept nogil:
    """Step over a Prism header, or an AVS header that says it is one; numbers are in the order of the machine."""
    cdef const uint8_t *p = cursor.bytes + cursor.at
    cdef int64_t size
    if not holds(cursor, 8):
        return cut_short(cursor)
    if load32(p) & 0xFFFFF000u == AVS_COOKIE:
        return read_avs(cursor)
    size = load32_little(p + 4)
    if size != PRISM_BYTES and load32(p + 4) == PRISM_BYTES:
        size = PRISM_BYTES
    if size < 8:
        return REASON_MALFORMED_LINK
    return skip(cursor, size, LAYER_WIFI)


cdef inline int read_avs(Cursor *cursor) noexcept nogil:
    """Step over an AVS header."""
    cdef const uint8_t *p = cursor.bytes + cursor.at
    if not holds(cursor, 8):
        return cut_short(cursor)
    if load32(p) & 0xFFFFF000u != AVS_COOKIE or load32(p + 4) < 8:
        return REASON_MALFORMED_LINK
    return skip(cursor, load32(p + 4), LAYER_WIFI)


cdef inline int read_wifi(Cursor *cursor, bint is_padded) noexcept nogil:
    """Read a frame's header (IEEE 802.11-2020 §9.3.2)."""
    cdef const uint8_t *p = cursor.bytes + cursor.at
    cdef int64_t size = 24
    cdef bint is_aggregated = False
    if not holds(cursor, 2):
        return cut_short(cursor)
    if p[0] & TYPE_MASK != TYPE_DATA or p[0] & SUBTYPE_NULL:
        return REASON_WIFI_WITHOUT_DATA
    if p[1] & TO_AND_FROM == TO_AND_FROM:
        size = 30
    if not holds(cursor, size + 2):
        return cut_short(cursor)
    if p[1] & MORE_FRAGMENTS or p[22] & 0x0F:
        return REASON_FRAGMENT
    if p[0] & SUBTYPE_QOS:
        is_aggregated = (p[size] & AGGREGATED) != 0
        size += 6 if p[1] & ORDER else 2
    if is_padded:
        size = (size + 3) & ~3
    if p[1] & PROTECTED:
        return read_protected(cursor, size, is_aggregated)
    return read_body(cursor, size, is_aggregated)


cdef inline int read_protected(Cursor *cursor, int64_t size, bint is_aggregated) noexcept nogil:
    """Read a body that the adapter decrypted, with or without the eight bytes of CCMP or TKIP, and left marked."""
    if not is_aggregated and is_snap(cursor, size):
        return read_body(cursor, size, False)
    if not is_aggregated and is_snap(cursor, size + 8):
        return read_body(cursor, size + 8, False)
    return REASON_ENCRYPTED_WIFI


cdef inline bint is_snap(const Cursor *cursor, int64_t behind) noexcept nogil:
    """Tell whether LLC and SNAP stand so many bytes ahead: six bytes that chance does not make."""
    cdef const uint8_t *p = cursor.bytes + cursor.at + behind
    return holds(cursor, behind + 8) and load24(p) == 0xAAAA03 and load24(p + 3) == 0


cdef inline int read_body(Cursor *cursor, int64_t size, bint is_aggregated) noexcept nogil:
    """Go to the LLC header, the first one of an A-MSDU (IEEE 802.11-2020 §9.3.2.2)."""
    cdef const uint8_t *p = cursor.bytes + cursor.at + size
    if not is_aggregated:
        return skip(cursor, size, PROTOCOL_LLC)
    if not holds(cursor, size + 14):
        return cut_short(cursor)
    # Subframes are padded to four bytes; a check sequence is shorter than another one's header.
    cursor.has_more = cursor.wire - cursor.at >= size + ((14 + <int64_t>load16(p + 12) + 3) & ~3) + 14
    return step(cursor, size + 14, PROTOCOL_LLC)
