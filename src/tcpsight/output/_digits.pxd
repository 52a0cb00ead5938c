"""Integers as text, and the hash's mixing step: what wraps or shifts by design, in C."""

from libc.stdint cimport int64_t, uint64_t

cdef enum:
    # "-9223372036854775808"
    INTEGER_TEXT_BYTES = 20

cdef extern from *:
    """
    #include <stdint.h>
    #include <string.h>

    /* Both halves of a 64 by 64 bit product, folded. In C, because a checked build forbids wrapping in Cython. */
    static inline uint64_t tcpsight_mix(uint64_t a, uint64_t b) {
        __uint128_t product = (__uint128_t)a * b;
        return (uint64_t)product ^ (uint64_t)(product >> 64);
    }

    static const char tcpsight_pairs[] =
        "0001020304050607080910111213141516171819202122232425262728293031323334353637383940414243444546474849"
        "5051525354555657585960616263646566676869707172737475767778798081828384858687888990919293949596979899";

    static inline int64_t tcpsight_put_unsigned(unsigned char *out, uint64_t value) {
        unsigned char digits[20];
        int at = 20;
        while (value >= 100) {
            uint64_t rest = value / 100;
            at -= 2;
            memcpy(digits + at, tcpsight_pairs + 2 * (value - rest * 100), 2);
            value = rest;
        }
        if (value >= 10) {
            at -= 2;
            memcpy(digits + at, tcpsight_pairs + 2 * value, 2);
        } else {
            digits[--at] = (unsigned char)('0' + value);
        }
        memcpy(out, digits + at, 20 - at);
        return 20 - at;
    }

    static inline int64_t tcpsight_put_signed(unsigned char *out, int64_t value) {
        if (value >= 0) return tcpsight_put_unsigned(out, (uint64_t)value);
        out[0] = '-';
        return 1 + tcpsight_put_unsigned(out + 1, ~(uint64_t)value + 1);
    }

    static inline int64_t tcpsight_put_hex(unsigned char *out, unsigned int value) {
        int shift = value >= 0x1000 ? 12 : value >= 0x100 ? 8 : value >= 0x10 ? 4 : 0;
        int64_t n = 0;
        for (; shift >= 0; shift -= 4) out[n++] = "0123456789abcdef"[(value >> shift) & 15];
        return n;
    }
    """
    uint64_t mix "tcpsight_mix"(uint64_t a, uint64_t b) noexcept nogil
    int64_t put_unsigned "tcpsight_put_unsigned"(unsigned char *out, uint64_t value) noexcept nogil
    int64_t put_signed "tcpsight_put_signed"(unsigned char *out, int64_t value) noexcept nogil
    int64_t put_hex "tcpsight_put_hex"(unsigned char *out, unsigned int value) noexcept nogil
