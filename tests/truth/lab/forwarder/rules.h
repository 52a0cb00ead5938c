/* What happens to a packet on the way: one struct of rules per direction, each random draw from its own seed. */
#ifndef RULES_H
#define RULES_H

#include <stdint.h>
#include <stdlib.h>

#include "packet.h"

enum fate {
    FORWARDED, LOST_RANDOM, LOST_BURST, LOST_TAIL, LOST_LISTED, LOST_SYN, LOST_MTU, LOST_POLICER, LOST_QUEUE,
    LOST_OUTAGE
};
enum { MOST_LISTED = 64, MOST_OUTAGES = 16, CONNECTIONS = 16384, BILLION = 1000000000 };

/* What a scenario may set, in nanoseconds, bytes, bits per second and parts per billion. */
struct settings {
    int64_t seed, delay_ns, jitter_ns, keep_order;
    int64_t rate, burst, queue, line_rate; /* bottleneck: shaped to `rate` after `burst` bytes, FIFO of `queue` bytes */
    int64_t loss, to_bad, to_good, bad_loss; /* random; Gilbert-Elliott */
    int64_t tail_from, syn, mtu;
    int64_t policer_rate, policer_burst;
    int64_t reorder, reorder_ns, duplicate;
    int64_t outage_after, outage_ns, outage_both;
    int64_t listed_copies;
};

struct seen { /* one direction of one connection */
    uint32_t key, isn, high, syns, news;
    uint32_t listed[MOST_LISTED];
    uint8_t copies[MOST_LISTED], listed_count, has_isn, is_used;
};

struct direction {
    struct settings set;
    int64_t listed[MOST_LISTED], outage_from[MOST_OUTAGES], outage_to[MOST_OUTAGES];
    int listed_count, outages, is_bad;
    uint64_t random;
    double tokens, policer_tokens; /* bytes */
    int64_t tokens_ns, policer_ns, last_due_ns, line_free_ns;
    int64_t *leaving_ns; /* departures from the bottleneck, a ring, of what is queued */
    uint32_t *leaving_bytes, first, count;
    int64_t queued, free_ns;
    struct seen *seen;
};

enum { RING = 65536 };

static uint64_t draw(struct direction *d) { /* splitmix64 */
    uint64_t z = d->random += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}
static int happens(struct direction *d, int64_t billionths) {
    return billionths > 0 && (int64_t)(draw(d) % BILLION) < billionths;
}

static struct seen *seen_of(struct direction *d, const struct packet *p) {
    uint32_t key = (uint32_t)p->source << 16 | p->destination, i = key * 2654435761u % CONNECTIONS;
    for (uint32_t tries = 0; tries < CONNECTIONS; tries++, i = (i + 1) % CONNECTIONS) {
        struct seen *s = &d->seen[i];
        if (s->is_used && s->key != key)
            continue;
        s->key = key, s->is_used = 1;
        return s;
    }
    return NULL;
}

/* Rules on the stream: dropped SYNs, listed segments, tails. Only first transmissions open a rule. */
static enum fate stream_fate(struct direction *d, const struct packet *p, int64_t now, int64_t start) {
    struct seen *s = p->is_tcp ? seen_of(d, p) : NULL;
    if (!s)
        return FORWARDED;
    if (p->flags & TCP_SYN) {
        if (!s->has_isn || s->isn != p->seq)
            s->isn = p->seq, s->high = 0, s->syns = s->news = 0, s->listed_count = 0, s->has_isn = 1;
        return (int64_t)s->syns++ < d->set.syn ? LOST_SYN : FORWARDED;
    }
    if (!p->payload || !s->has_isn)
        return FORWARDED;
    uint32_t offset = p->seq - s->isn - 1, end = offset + p->payload;
    int is_new = offset >= s->high && end - s->high < 1u << 31;
    if (end > s->high && end - s->high < 1u << 31)
        s->high = end;
    if (d->set.outage_after > 0 && (int64_t)s->high > d->set.outage_after && d->outages == 0) {
        d->outage_from[0] = now - start, d->outage_to[0] = now - start + d->set.outage_ns, d->outages = 1;
        return FORWARDED; /* is_out() takes this one already: it crosses the mark */
    }
    for (int i = 0; i < s->listed_count; i++)
        if (!is_new && s->listed[i] == offset && s->copies[i])
            return s->copies[i]--, LOST_LISTED;
    if (!is_new)
        return FORWARDED;
    s->news++;
    for (int i = 0; i < d->listed_count && s->listed_count < MOST_LISTED; i++)
        if (d->listed[i] == (int64_t)s->news) {
            s->listed[s->listed_count] = offset;
            s->copies[s->listed_count++] = (uint8_t)(d->set.listed_copies > 1 ? d->set.listed_copies - 1 : 0);
            return LOST_LISTED;
        }
    return d->set.tail_from > 0 && (int64_t)end > d->set.tail_from ? LOST_TAIL : FORWARDED;
}

static int is_out(const struct direction *d, int64_t since_start) {
    for (int i = 0; i < d->outages; i++)
        if (since_start >= d->outage_from[i] && since_start < d->outage_to[i])
            return 1;
    return 0;
}

static int is_policed(struct direction *d, uint32_t bytes, int64_t now) {
    if (!d->set.policer_rate)
        return 0;
    d->policer_tokens += (double)(now - d->policer_ns) * (double)d->set.policer_rate / 8e9;
    if (d->policer_tokens > (double)d->set.policer_burst || d->policer_ns == 0)
        d->policer_tokens = (double)d->set.policer_burst;
    d->policer_ns = now;
    if (d->policer_tokens < bytes)
        return 1;
    d->policer_tokens -= bytes;
    return 0;
}

static enum fate fate_of(struct direction *d, const struct packet *p, int64_t now, int64_t start) {
    enum fate fate = stream_fate(d, p, now, start);
    if (d->set.mtu && p->length > d->set.mtu)
        return LOST_MTU;
    if (is_out(d, now - start))
        return LOST_OUTAGE;
    if (fate != FORWARDED)
        return fate;
    if (p->flags & TCP_SYN) /* chance spares SYNs: one that is lost costs a second and is another condition */
        return is_policed(d, p->length, now) ? LOST_POLICER : FORWARDED;
    if (happens(d, d->set.loss))
        return LOST_RANDOM;
    if (d->set.to_bad) {
        d->is_bad = d->is_bad ? !happens(d, d->set.to_good) : happens(d, d->set.to_bad);
        if (d->is_bad && happens(d, d->set.bad_loss))
            return LOST_BURST;
    }
    return is_policed(d, p->length, now) ? LOST_POLICER : FORWARDED;
}

static void let_leave(struct direction *d, int64_t now) {
    while (d->count && d->leaving_ns[d->first] <= now) {
        d->queued -= d->leaving_bytes[d->first];
        d->first = (d->first + 1) % RING, d->count--;
    }
}

/* When the last bit leaves the bottleneck; −1 if its queue has no room. The queue holds what has not left. */
static int64_t leave_bottleneck(struct direction *d, uint32_t bytes, int64_t now) {
    if (!d->set.rate)
        return now;
    let_leave(d, now);
    if ((d->set.queue && d->queued + bytes > d->set.queue) || d->count == RING)
        return -1;
    int64_t begin = d->free_ns > now ? d->free_ns : now;
    double per_ns = (double)d->set.rate / 8e9;
    d->tokens += (double)(begin - d->tokens_ns) * per_ns;
    if (d->tokens > (double)d->set.burst || d->tokens_ns == 0)
        d->tokens = (double)d->set.burst;
    d->tokens_ns = begin;
    d->tokens -= bytes;
    int64_t leave = d->tokens < 0 ? begin + (int64_t)(-d->tokens / per_ns) : begin;
    if (d->tokens < 0)
        d->tokens = 0, d->tokens_ns = leave;
    d->free_ns = leave;
    uint32_t at = (d->first + d->count++) % RING;
    d->leaving_ns[at] = leave, d->leaving_bytes[at] = bytes, d->queued += bytes;
    return leave;
}

/* When a forwarded packet arrives at the other end; −1 if the queue was full. */
static int64_t due_of(struct direction *d, uint32_t bytes, int64_t now) {
    int64_t due = leave_bottleneck(d, bytes, now);
    if (due < 0)
        return -1;
    if (d->set.line_rate) {
        if (due < d->line_free_ns)
            due = d->line_free_ns;
        d->line_free_ns = due += (int64_t)bytes * 8 * BILLION / d->set.line_rate;
    }
    due += d->set.delay_ns;
    if (d->set.jitter_ns)
        due += (int64_t)(draw(d) % (uint64_t)d->set.jitter_ns);
    if (happens(d, d->set.reorder))
        return due + d->set.reorder_ns;
    if (d->set.keep_order && due < d->last_due_ns)
        due = d->last_due_ns;
    if (due > d->last_due_ns)
        d->last_due_ns = due;
    return due;
}

#endif
