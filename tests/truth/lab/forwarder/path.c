/* A path between two TUN devices: takes packets at one end, decides their fate, lets them out at the other on time.
 *
 * path FD_CLIENT FD_SERVER SETTINGS LOG: both descriptors are TUN devices opened with IFF_NO_PI | IFF_VNET_HDR.
 * SETTINGS has lines `up|down NAME INTEGER` (up: from client to server). It writes "ready" when it forwards and ends
 * at SIGTERM, or when its standard input is closed; then LOG gets one `record` per packet, in order of arrival.
 *
 * Times are read from CLOCK_MONOTONIC, which no adjustment makes jump, and logged as CLOCK_REALTIME, which is what
 * captures are stamped with. Everything is kept in memory until the end: a disk that waits must not delay packets.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "rules.h"

/* A sleeping process wakes tens of microseconds late: the last SPIN_NS before a departure are not slept. */
enum { HEADER_BYTES = 128, BATCH = 64, SPIN_NS = 60000, OFFSET_EVERY_NS = 100000000 };

struct record {
    int64_t in_ns, due_ns, out_ns; /* realtime; out_ns is 0 for what never left */
    uint32_t wire_bytes, queued, seq, ack, payload;
    uint16_t source, destination, window;
    uint8_t flags, direction, fate, version, copy, header_bytes;
    uint8_t headers[HEADER_BYTES];
    uint8_t padding[8];
};

struct waiting {
    int64_t due_ns;
    uint64_t order;
    size_t record;
    uint8_t *bytes; /* with OFFLOAD_BYTES zeroes before the packet */
    uint32_t length;
    int to;
};

static volatile sig_atomic_t is_ending;
static struct direction directions[2];
static int devices[2];
static struct record *records;
static size_t record_count, record_room;
static struct waiting *heap;
static size_t heap_count, heap_room;
static uint64_t orders;
static int64_t start_ns, realtime_offset_ns;

static void end(int signal_number) { (void)signal_number, is_ending = 1; }

static void *grown(void *old, size_t count, size_t *room, size_t size) {
    if (count < *room)
        return old;
    *room = *room ? *room * 2 : 4096;
    void *more = realloc(old, *room * size);
    if (!more)
        abort();
    return more;
}

static int64_t clock_ns(clockid_t which) {
    struct timespec t;
    clock_gettime(which, &t);
    return t.tv_sec * (int64_t)BILLION + t.tv_nsec;
}

/* The monotonic time; now and then what turns it into realtime is measured anew, unless we were interrupted at it. */
static int64_t now_ns(void) {
    static int64_t measured_ns;
    int64_t now = clock_ns(CLOCK_MONOTONIC);
    for (int tries = 0; now - measured_ns > OFFSET_EVERY_NS && tries < 20; tries++) {
        int64_t before = clock_ns(CLOCK_MONOTONIC), real = clock_ns(CLOCK_REALTIME);
        if (clock_ns(CLOCK_MONOTONIC) - before > 400)
            continue;
        realtime_offset_ns = real - before;
        measured_ns = now;
    }
    return now;
}

static int is_before(const struct waiting *a, const struct waiting *b) {
    return a->due_ns != b->due_ns ? a->due_ns < b->due_ns : a->order < b->order;
}

static void push(struct waiting item) {
    heap = grown(heap, heap_count, &heap_room, sizeof *heap);
    size_t i = heap_count++;
    for (; i && is_before(&item, &heap[(i - 1) / 2]); i = (i - 1) / 2)
        heap[i] = heap[(i - 1) / 2];
    heap[i] = item;
}

static struct waiting pop(void) {
    struct waiting least = heap[0], last = heap[--heap_count];
    size_t i = 0;
    for (size_t child; (child = 2 * i + 1) < heap_count; i = child) {
        child += child + 1 < heap_count && is_before(&heap[child + 1], &heap[child]);
        if (!is_before(&heap[child], &last))
            break;
        heap[i] = heap[child];
    }
    heap[i] = last;
    return least;
}

static struct record *new_record(const struct packet *p, int direction, int64_t now) {
    records = grown(records, record_count, &record_room, sizeof *records);
    struct record *r = &records[record_count++];
    memset(r, 0, sizeof *r);
    r->in_ns = now + realtime_offset_ns, r->wire_bytes = p->length, r->payload = p->payload;
    r->seq = p->seq, r->ack = p->ack, r->source = p->source, r->destination = p->destination;
    r->window = p->window, r->flags = p->flags, r->version = p->version, r->direction = (uint8_t)direction;
    uint32_t bytes = p->is_tcp ? p->ip_bytes + p->tcp_bytes : p->length;
    r->header_bytes = (uint8_t)(bytes < HEADER_BYTES ? bytes : HEADER_BYTES);
    memcpy(r->headers, p->data, r->header_bytes);
    return r;
}

static void keep(const struct packet *p, int direction, int64_t now, int copy) {
    struct direction *d = &directions[direction];
    struct record *r = new_record(p, direction, now);
    int64_t due = due_of(d, p->length, now);
    r->copy = (uint8_t)copy, r->queued = (uint32_t)d->queued;
    if (due < 0) {
        r->fate = LOST_QUEUE;
        return;
    }
    r->due_ns = due + realtime_offset_ns;
    uint8_t *bytes = calloc(1, OFFLOAD_BYTES + p->length);
    if (!bytes)
        abort();
    memcpy(bytes + OFFLOAD_BYTES, p->data, p->length);
    push((struct waiting){due, orders++, record_count - 1, bytes, OFFLOAD_BYTES + p->length, !direction});
}

static void take(const struct packet *p, int direction, int64_t now) {
    struct direction *d = &directions[direction];
    if (!start_ns && p->is_tcp)
        start_ns = now;
    int outages = d->outages;
    enum fate fate = fate_of(d, p, now, start_ns ? start_ns : now);
    if (d->outages > outages && d->set.outage_both) {
        struct direction *other = &directions[!direction];
        other->outage_from[0] = d->outage_from[0], other->outage_to[0] = d->outage_to[0], other->outages = 1;
    }
    if (fate != FORWARDED) {
        new_record(p, direction, now)->fate = (uint8_t)fate;
        return;
    }
    keep(p, direction, now, 0);
    if (happens(d, d->set.duplicate))
        keep(p, direction, now, 1);
}

static void read_device(int direction) {
    static uint8_t buffer[OFFLOAD_BYTES + LARGEST], cut[LARGEST];
    for (int i = 0; i < BATCH; i++) {
        ssize_t n = read(devices[direction], buffer, sizeof buffer);
        if (n <= OFFLOAD_BYTES)
            return;
        int64_t now = now_ns();
        struct offload offload;
        memcpy(&offload, buffer, OFFLOAD_BYTES);
        struct packet whole = {.data = buffer + OFFLOAD_BYTES, .length = (uint32_t)n - OFFLOAD_BYTES}, part;
        parse(&whole);
        if (whole.is_tcp && offload.gso_type && offload.gso_size)
            for (uint32_t k = 0; cut_segment(&whole, offload.gso_size, k, cut, &part); k++)
                take(&part, direction, now);
        else {
            if (whole.is_tcp && offload.flags & NEEDS_CSUM)
                write_checksums(&whole);
            take(&whole, direction, now);
        }
    }
}

static void let_out(void) {
    int64_t now = now_ns();
    while (heap_count && heap[0].due_ns <= now) {
        struct waiting item = pop();
        now = now_ns();
        records[item.record].out_ns = now + realtime_offset_ns;
        if (write(devices[item.to], item.bytes, item.length) < 0)
            records[item.record].out_ns = 0;
        free(item.bytes);
    }
}

static void run(void) {
    struct pollfd ready[3] = {{devices[0], POLLIN, 0}, {devices[1], POLLIN, 0}, {0, POLLIN, 0}};
    sigset_t blocked, unblocked; /* SIGTERM comes while it waits, or it could come just before and be slept over */
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGTERM);
    sigprocmask(SIG_BLOCK, &blocked, &unblocked);
    while (!is_ending) {
        struct timespec wait, *until = NULL;
        if (heap_count) {
            int64_t left = heap[0].due_ns - clock_ns(CLOCK_MONOTONIC) - SPIN_NS;
            if (left < 0)
                left = 0;
            wait = (struct timespec){left / BILLION, left % BILLION}, until = &wait;
        }
        int n = ppoll(ready, 3, until, &unblocked);
        if (n < 0 && errno != EINTR)
            break;
        let_out();
        for (int i = 0; n > 0 && i < 2; i++)
            if (ready[i].revents)
                read_device(i);
        char ignored;
        if (n > 0 && ready[2].revents && read(0, &ignored, 1) <= 0)
            break;
    }
}

#define SETTING(field) {#field, offsetof(struct settings, field)}
static const struct { const char *name; size_t at; } settings[] = {
    SETTING(seed), SETTING(delay_ns), SETTING(jitter_ns), SETTING(keep_order), SETTING(rate), SETTING(burst),
    SETTING(queue), SETTING(line_rate), SETTING(loss), SETTING(to_bad), SETTING(to_good), SETTING(bad_loss),
    SETTING(tail_from), SETTING(syn), SETTING(mtu), SETTING(policer_rate), SETTING(policer_burst),
    SETTING(reorder), SETTING(reorder_ns), SETTING(duplicate), SETTING(outage_after), SETTING(outage_ns),
    SETTING(outage_both), SETTING(listed_copies),
};

static int set(struct direction *d, const char *name, int64_t value) {
    if (!strcmp(name, "listed") && d->listed_count < MOST_LISTED)
        return d->listed[d->listed_count++] = value, 1;
    if (!strcmp(name, "outage_from") && d->outages < MOST_OUTAGES)
        return d->outage_from[d->outages] = value, 1;
    if (!strcmp(name, "outage_to") && d->outages < MOST_OUTAGES)
        return d->outage_to[d->outages++] = value, 1;
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
        if (!strcmp(name, settings[i].name)) {
            memcpy((char *)&d->set + settings[i].at, &value, sizeof value);
            return 1;
        }
    return 0;
}

static int read_settings(const char *path) {
    char which[16], name[32];
    long long value;
    FILE *f = fopen(path, "r");
    if (!f)
        return 0;
    while (fscanf(f, "%15s %31s %lld", which, name, &value) == 3)
        if (!set(&directions[strcmp(which, "up") != 0], name, value))
            return fprintf(stderr, "unknown setting %s\n", name), 0;
    fclose(f);
    for (int i = 0; i < 2; i++) {
        struct direction *d = &directions[i];
        d->random = (uint64_t)d->set.seed * 2 + (uint64_t)i;
        d->leaving_ns = calloc(RING, sizeof *d->leaving_ns);
        d->leaving_bytes = calloc(RING, sizeof *d->leaving_bytes);
        d->seen = calloc(CONNECTIONS, sizeof *d->seen);
    }
    return 1;
}

static int write_log(const char *path) {
    FILE *f = fopen(path, "wb");
    if (!f)
        return 0;
    size_t n = fwrite(records, sizeof *records, record_count, f);
    return fclose(f) == 0 && n == record_count;
}

int main(int n, char **arguments) {
    if (n != 5 || !read_settings(arguments[3]))
        return 2;
    devices[0] = atoi(arguments[1]), devices[1] = atoi(arguments[2]);
    for (int i = 0; i < 2; i++)
        fcntl(devices[i], F_SETFL, O_NONBLOCK);
    prctl(PR_SET_TIMERSLACK, 1);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    struct sched_param first = {.sched_priority = 10};
    sched_setscheduler(0, SCHED_FIFO, &first);
    mlockall(MCL_CURRENT | MCL_FUTURE);
    struct sigaction action = {.sa_handler = end};
    sigaction(SIGTERM, &action, NULL);
    signal(SIGINT, SIG_IGN); /* the run that started it ends it */
    now_ns();
    if (write(1, "ready\n", 6) != 6)
        return 1;
    run();
    return write_log(arguments[4]) ? 0 : 1;
}
