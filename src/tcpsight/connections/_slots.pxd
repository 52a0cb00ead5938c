# Where open connections live: slots that are recycled, and a hash table to find them.
cimport cython
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy, memset
from tcpsight._door cimport allocate, prefetch
from tcpsight.tables cimport Header
from tcpsight.connections._state cimport FIRST_HOLES, Hole, Seen, State, Stream

cdef extern from * nogil:
    """
    static inline unsigned long long tcpsight_fold(unsigned long long a, unsigned long long b)
    {
        unsigned __int128 product = (unsigned __int128) a * b;
        return (unsigned long long) product ^ (unsigned long long) (product >> 64);
    }
    """
    uint64_t fold "tcpsight_fold" (uint64_t a, uint64_t b)

cdef struct Entry:
    uint32_t hash
    uint32_t slot           # slot + 1; 0 marks an empty place

cdef struct Timer:
    int64_t deadline
    int64_t connection_id
    uint32_t slot
    uint32_t padding

cdef enum:
    SHARES = 256
    # So many times what is needed is asked for, if it is to be had: memory is taken where it is written to, so that
    # room costs nothing until it is used, but growing costs a copy in memory that was never touched.
    GROWTH = 8

cdef struct Share:
    uint32_t count
    uint32_t embryonic      # of these, those whose handshake is not over
    uint32_t oldest[2]      # slot + 1: ends of its two lists
    uint32_t newest[2]
    int64_t hole_bytes      # room for holes, beyond the first of each direction
    int64_t seen_bytes      # room for what copies are recognised by, beyond the first

cdef struct Slots:
    State *states
    uint32_t capacity
    uint32_t used           # slots ever used
    uint32_t free_head      # slot + 1 of the first recycled slot; 0: none
    uint32_t open_count
    Entry *entries
    uint32_t mask
    uint64_t seed
    Timer *timers
    int64_t timer_count
    int64_t timer_capacity
    Share shares[SHARES]
    uint32_t share_limit


@cython.overflowcheck(False)  # modular on purpose
cdef inline uint64_t endpoint_hash(const uint8_t *address, uint16_t port, uint8_t ip_version, uint64_t seed) noexcept nogil:
    # All factors are secret, so that nobody can prepare endpoints that collide.
    cdef uint64_t high, low
    cdef uint64_t factor = (seed ^ 0x94D049BB133111EBull) | 1
    memcpy(&low, address + 8, 8)
    if ip_version == 4:
        # The two bytes before ::ffff: are zero in every one of them: there is room for the port.
        return fold(low ^ port ^ seed, factor)
    memcpy(&high, address, 8)
    low = fold(low ^ seed, high ^ (seed * 0x9E3779B97F4A7C15ull) ^ 0xD6E8FEB86659FD93ull)
    return fold(low ^ port, factor)


@cython.overflowcheck(False)  # modular on purpose
cdef inline uint32_t pair_hash(uint64_t a, uint64_t b, uint32_t path) noexcept nogil:
    return <uint32_t>(((a + b + path) * 0xBF58476D1CE4E5B9ull) >> 32)


cdef inline uint32_t path_of(const Header *h) noexcept nogil:
    """IP version and tunnel as one number.

    The same endpoints in other tunnels are other connections. Nothing but the hash tells them apart, and nothing else
    need: two paths never give the same endpoints the same hash, by the choice of its multiplier.
    """
    return h.ip_version | (<uint32_t>h.encapsulation << 8) | (<uint32_t>h.tunnel << 16)


cdef inline uint32_t header_hash(const Header *h, uint64_t seed) noexcept nogil:
    """The same for both directions of a connection."""
    return pair_hash(
        endpoint_hash(h.source_address, h.source_port, h.ip_version, seed),
        endpoint_hash(h.destination_address, h.destination_port, h.ip_version, seed),
        path_of(h),
    )


cdef inline uint32_t state_hash(const State *c, uint64_t seed) noexcept nogil:
    """`header_hash` of this connection's segments."""
    return pair_hash(
        endpoint_hash(c.client_address, c.client_port, c.ip_version, seed),
        endpoint_hash(c.server_address, c.server_port, c.ip_version, seed),
        c.path,
    )


cdef inline bint same_address(const uint8_t *a, const uint8_t *b) noexcept nogil:
    # Two 8-byte comparisons; a call of memcmp costs more than they do.
    cdef uint64_t x[2]
    cdef uint64_t y[2]
    memcpy(x, a, 16)
    memcpy(y, b, 16)
    return ((x[0] ^ y[0]) | (x[1] ^ y[1])) == 0


cdef inline int direction_of(const State *c, const Header *h) noexcept nogil:
    """0 if the client sent it, 1 if the server did, -1 if it belongs to another connection."""
    if c.ip_version != h.ip_version:
        return -1
    if (
        h.source_port == c.client_port
        and h.destination_port == c.server_port
        and same_address(h.source_address, c.client_address)
        and same_address(h.destination_address, c.server_address)
    ):
        return 0
    if (
        h.source_port == c.server_port
        and h.destination_port == c.client_port
        and same_address(h.source_address, c.server_address)
        and same_address(h.destination_address, c.client_address)
    ):
        return 1
    return -1


cdef inline int64_t find(const Slots *s, const Header *h, uint32_t hash, int *direction) noexcept nogil:
    """The slot of the header's connection, or -1."""
    cdef uint32_t place = hash & s.mask
    cdef const Entry *e
    while True:
        e = &s.entries[place]
        if e.slot == 0:
            return -1
        if e.hash == hash:
            direction[0] = direction_of(&s.states[e.slot - 1], h)
            if direction[0] >= 0:
                return e.slot - 1
        place = (place + 1) & s.mask


cdef inline void look_ahead(const Slots *s, uint32_t hash) noexcept nogil:
    """Start fetching the state that this hash most likely means."""
    cdef uint32_t place = hash & s.mask
    cdef const char *c
    cdef int i
    for i in range(4):
        if s.entries[place].slot == 0:
            return
        if s.entries[place].hash == hash:
            c = <const char *>&s.states[s.entries[place].slot - 1]
            prefetch(c)
            c = <const char *>&s.states[s.entries[place].slot - 1].streams[0]
            prefetch(c)
            prefetch(c + 64)
            prefetch(c + sizeof(Stream))
            prefetch(c + sizeof(Stream) + 64)
            return
        place = (place + 1) & s.mask


cdef inline void insert(Slots *s, uint32_t hash, uint32_t slot) noexcept nogil:
    cdef uint32_t place = hash & s.mask
    while s.entries[place].slot != 0:
        place = (place + 1) & s.mask
    s.entries[place].hash = hash
    s.entries[place].slot = slot + 1


@cython.overflowcheck(False)  # modular on purpose
cdef inline void remove(Slots *s, uint32_t hash, uint32_t slot) noexcept nogil:
    """Take an entry out and close the gap, so that no tombstones pile up."""
    cdef uint32_t place = hash & s.mask
    cdef uint32_t after, home
    while s.entries[place].slot != slot + 1:
        place = (place + 1) & s.mask
    after = place
    while True:
        after = (after + 1) & s.mask
        if s.entries[after].slot == 0:
            break
        home = s.entries[after].hash & s.mask
        # Move it back unless its home lies cyclically within (place, after].
        if ((after - home) & s.mask) >= ((after - place) & s.mask):
            s.entries[place] = s.entries[after]
            place = after
    s.entries[place].slot = 0


cdef inline uint32_t take_slot(Slots *s) noexcept nogil:
    """A zeroed slot; `reserve` made sure that there is one."""
    cdef uint32_t slot
    if s.free_head:
        slot = s.free_head - 1
        s.free_head = s.states[slot].newer
    else:
        slot = s.used
        s.used += 1
    memset(&s.states[slot], 0, sizeof(State))
    s.open_count += 1
    return slot


cdef inline int64_t more_hole_bytes(const Stream *s) noexcept nogil:
    """Room for holes beyond the first."""
    return (((<int64_t>1 << s.hole_doublings) - 1) * FIRST_HOLES) * <int64_t>sizeof(Hole)


cdef inline int64_t more_seen_bytes(const Stream *s) noexcept nogil:
    """Room for what copies are recognised by, beyond the first."""
    return (<int64_t>1 << s.seen_bits) * <int64_t>sizeof(Seen) if s.seen_bits else 0


cdef inline void give_slot(Slots *s, uint32_t slot) noexcept nogil:
    cdef State *c = &s.states[slot]
    cdef int d
    for d in range(2):
        s.shares[c.share].hole_bytes -= more_hole_bytes(&c.streams[d])
        s.shares[c.share].seen_bytes -= more_seen_bytes(&c.streams[d])
        free(c.streams[d].holes)
        free(c.streams[d].seen_more)
    remove(s, state_hash(c, s.seed), slot)
    c.connection_id = 0
    c.newer = s.free_head
    s.free_head = slot + 1
    s.open_count -= 1


cdef inline int grow_table(Slots *s, uint64_t places) noexcept nogil:
    cdef Entry *fresh
    cdef Entry *old = s.entries
    cdef uint64_t i, before = 0
    if old != NULL:
        before = <uint64_t>s.mask + 1
    fresh = <Entry *>allocate(places * sizeof(Entry))
    if fresh == NULL:
        return -1
    memset(fresh, 0, places * sizeof(Entry))
    s.entries = fresh
    s.mask = <uint32_t>(places - 1)
    for i in range(before):
        if old[i].slot:
            insert(s, old[i].hash, old[i].slot - 1)
    free(old)
    return 0


cdef inline int grow_states(Slots *s, uint64_t capacity) noexcept nogil:
    cdef void *fresh = allocate(capacity * sizeof(State))
    if fresh == NULL:
        return -1
    if s.states != NULL:
        memcpy(fresh, s.states, s.used * sizeof(State))
        free(s.states)
    s.states = <State *>fresh
    s.capacity = <uint32_t>capacity
    return 0


cdef inline uint64_t doubled(uint64_t capacity, uint64_t need) noexcept nogil:
    if capacity < 4096:
        capacity = 4096
    while capacity < need:
        capacity *= 2
    return capacity


cdef inline int reserve_slots(Slots *s, int64_t rows) noexcept nogil:
    cdef uint64_t need = <uint64_t>s.open_count + rows
    if need > 0x7FFFFFFF:
        return -1
    if (
        need > s.capacity
        and grow_states(s, doubled(s.capacity, min(GROWTH * need, <uint64_t>0x7FFFFFFF)))
        and grow_states(s, doubled(s.capacity, need))
    ):
        return -1
    if s.entries == NULL or need * 2 > <uint64_t>s.mask + 1:
        return grow_table(s, doubled(8192, need * 2))
    return 0


cdef inline void release(Slots *s) noexcept nogil:
    cdef uint32_t slot
    cdef int d
    for slot in range(s.used):
        if s.states[slot].connection_id:
            for d in range(2):
                free(s.states[slot].streams[d].holes)
                free(s.states[slot].streams[d].seen_more)
    free(s.states)
    free(s.entries)
    free(s.timers)
    memset(s, 0, sizeof(Slots))
