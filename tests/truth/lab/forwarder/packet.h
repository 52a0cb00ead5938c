/* What the path reads of a packet, and the splitting of super-segments that a sender left to its "hardware". */
#ifndef PACKET_H
#define PACKET_H

#include <stdint.h>
#include <string.h>

enum { TCP_FIN = 1, TCP_SYN = 2, TCP_RST = 4, TCP_PSH = 8, TCP_ACK = 16, TCP_CWR = 128 };

/* struct virtio_net_hdr: what precedes every packet of a TUN device opened with IFF_VNET_HDR. */
struct offload {
    uint8_t flags, gso_type;
    uint16_t hdr_len, gso_size, csum_start, csum_offset;
};
enum { OFFLOAD_BYTES = 10, NEEDS_CSUM = 1, LARGEST = 65536 };

struct packet {
    uint8_t *data; /* the IP header */
    uint32_t length, ip_bytes, tcp_bytes, payload;
    uint32_t seq, ack;
    uint16_t source, destination, window;
    uint8_t version, flags, is_tcp;
};

static inline uint16_t get16(const uint8_t *p) { return (uint16_t)(p[0] << 8 | p[1]); }
static inline uint32_t get32(const uint8_t *p) { return (uint32_t)get16(p) << 16 | get16(p + 2); }
static inline void put16(uint8_t *p, uint32_t v) { p[0] = (uint8_t)(v >> 8); p[1] = (uint8_t)v; }
static inline void put32(uint8_t *p, uint32_t v) { put16(p, v >> 16); put16(p + 2, v); }

/* Read the headers; what is no whole TCP segment of IPv4 or IPv6 without extensions keeps is_tcp = 0. */
static void parse(struct packet *p) {
    uint8_t *ip = p->data;
    p->is_tcp = p->flags = 0;
    p->payload = p->seq = p->ack = p->source = p->destination = p->window = 0;
    p->version = p->length ? ip[0] >> 4 : 0;
    if (p->version == 4 && p->length >= 20 && ip[9] == 6)
        p->ip_bytes = (ip[0] & 15u) * 4;
    else if (p->version == 6 && p->length >= 40 && ip[6] == 6)
        p->ip_bytes = 40;
    else
        return;
    if (p->length < p->ip_bytes + 20)
        return;
    uint8_t *tcp = ip + p->ip_bytes;
    p->tcp_bytes = (tcp[12] >> 4) * 4u;
    if (p->tcp_bytes < 20 || p->length < p->ip_bytes + p->tcp_bytes)
        return;
    p->is_tcp = 1;
    p->source = get16(tcp), p->destination = get16(tcp + 2), p->window = get16(tcp + 14);
    p->seq = get32(tcp + 4), p->ack = get32(tcp + 8), p->flags = tcp[13];
    p->payload = p->length - p->ip_bytes - p->tcp_bytes;
}

/* One's complement sum of RFC 1071. */
static uint32_t sum16(const uint8_t *p, uint32_t n, uint32_t sum) {
    for (; n > 1; p += 2, n -= 2)
        sum += get16(p);
    return n ? sum + ((uint32_t)p[0] << 8) : sum;
}
static uint16_t folded(uint32_t sum) {
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

/* Write the checksums of a whole TCP packet. */
static void write_checksums(struct packet *p) {
    uint8_t *ip = p->data, *tcp = ip + p->ip_bytes;
    uint32_t bytes = p->length - p->ip_bytes, sum = 6 + bytes;
    if (p->version == 4) {
        put16(ip + 10, 0);
        put16(ip + 10, folded(sum16(ip, p->ip_bytes, 0)));
        sum = sum16(ip + 12, 8, sum);
    } else
        sum = sum16(ip + 8, 32, sum);
    put16(tcp + 16, 0);
    put16(tcp + 16, folded(sum16(tcp, bytes, sum)));
}

/* Make the n-th segment of a super-segment in `out` (RFC 9293 §3.7.1: each with its own sequence number). */
static int cut_segment(const struct packet *whole, uint32_t segment_bytes, uint32_t n, uint8_t *out,
                       struct packet *part) {
    uint32_t headers = whole->ip_bytes + whole->tcp_bytes, from = n * segment_bytes, bytes = whole->payload - from;
    if (from >= whole->payload)
        return 0;
    int is_last = bytes <= segment_bytes;
    if (!is_last)
        bytes = segment_bytes;
    memcpy(out, whole->data, headers);
    memcpy(out + headers, whole->data + headers + from, bytes);
    uint8_t *tcp = out + whole->ip_bytes;
    if (whole->version == 4) {
        put16(out + 2, headers + bytes);
        put16(out + 4, get16(out + 4) + n);
    } else
        put16(out + 4, whole->tcp_bytes + bytes);
    put32(tcp + 4, whole->seq + from);
    if (!is_last)
        tcp[13] &= (uint8_t) ~(TCP_FIN | TCP_PSH);
    if (n)
        tcp[13] &= (uint8_t)~TCP_CWR;
    part->data = out, part->length = headers + bytes;
    parse(part);
    write_checksums(part);
    return 1;
}

#endif
