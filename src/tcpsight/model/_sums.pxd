# Exact sums of nanoseconds, wider than 64 bits.
#
# A second squared is 10**18 ns², so the sum of squares of ten response times of a second no longer fits
# in 64 bits. It is kept in 192 bits (128 and a carry), all else in 128, so that neither the order of the
# rows nor the cutting into batches can change the last digit of a result.
#
# The arithmetic is C because Cython knows no type wider than 64 bits; to Cython these types are opaque.
from libc.stdint cimport int64_t, uint64_t

cdef extern from *:
    """
    #include <stdint.h>
    __extension__ typedef unsigned __int128 tcpsight_wide;

    typedef struct {
        tcpsight_wide total;
        tcpsight_wide squares;
        uint64_t squares_carry; /* in units of 2**128 */
    } tcpsight_sums;

    static inline void tcpsight_wide_clear(tcpsight_wide *wide) { *wide = 0; }

    static inline void tcpsight_wide_add_product(tcpsight_wide *wide, uint64_t a, uint64_t b) {
        *wide += (tcpsight_wide)a * b;
    }

    /* Saturates: 292 years of residence is where int64 ends. */
    static inline int64_t tcpsight_wide_to_int64(const tcpsight_wide *wide) {
        return *wide > (tcpsight_wide)INT64_MAX ? INT64_MAX : (int64_t)*wide;
    }

    static inline double tcpsight_wide_to_double(const tcpsight_wide *wide) { return (double)*wide; }

    static inline void tcpsight_sums_clear(tcpsight_sums *sums) {
        sums->total = 0;
        sums->squares = 0;
        sums->squares_carry = 0;
    }

    static inline void tcpsight_sums_add(tcpsight_sums *sums, uint64_t value) {
        const tcpsight_wide square = (tcpsight_wide)value * value;
        sums->total += value;
        sums->squares += square;
        sums->squares_carry += sums->squares < square;
    }

    /* Population variance over mean = (n·Σx² − (Σx)²) / (n·Σx); 0 where all are 0. */
    static inline double tcpsight_sums_dispersion(const tcpsight_sums *sums, uint64_t n) {
        const tcpsight_wide most = ~(tcpsight_wide)0;
        const double total = (double)sums->total;
        if (sums->total == 0)
            return 0.0;
        if (sums->squares_carry == 0 && sums->squares <= most / n && sums->total <= UINT64_MAX) {
            /* Never negative (Cauchy-Schwarz), and exact until the division. */
            const tcpsight_wide numerator = sums->squares * n - sums->total * sums->total;
            return (double)numerator / ((double)n * total);
        }
        /* Mean response times of days: floating point, whose relative error is about 2**-52 of Σx²/Σx. */
        {
            const double squares = (double)sums->squares + (double)sums->squares_carry * 340282366920938463463374607431768211456.0;
            const double dispersion = squares / total - total / (double)n;
            return dispersion > 0.0 ? dispersion : 0.0;
        }
    }
    """
    ctypedef struct Wide "tcpsight_wide":
        pass
    ctypedef struct Sums "tcpsight_sums":
        Wide total
    void clear_wide "tcpsight_wide_clear"(Wide *wide) noexcept nogil
    void add_product "tcpsight_wide_add_product"(Wide *wide, uint64_t a, uint64_t b) noexcept nogil
    int64_t wide_to_int64 "tcpsight_wide_to_int64"(const Wide *wide) noexcept nogil
    double wide_to_double "tcpsight_wide_to_double"(const Wide *wide) noexcept nogil
    void clear_sums "tcpsight_sums_clear"(Sums *sums) noexcept nogil
    void add_to_sums "tcpsight_sums_add"(Sums *sums, uint64_t value) noexcept nogil
    double dispersion_of "tcpsight_sums_dispersion"(const Sums *sums, uint64_t n) noexcept nogil
