"""The rules of findings about exchanges: policing and shaping, judged where segments are still known."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tcpsight.model.finding_shapes import Hits
from tcpsight.tables import Policed

POLICED = "a token bucket explains which segments were lost, and no queue does"
SHAPED = "behind a queue, or after a burst, everything was delivered at one rate"


def look_at_exchanges(policed: Policed) -> Iterator[tuple[str, str, Hits]]:
    """Give which exchanges were policed, and which were shaped: kind, rule and hits, each of shape (n,)."""
    n = len(policed)
    yield (
        "policing",
        POLICED,
        Hits(
            policed.is_policed != 0,
            policed.loss_start_ns,
            policed.loss_end_ns,
            policed.losses,
            {
                "rate_bits_per_s": policed.rate_bits_per_s,
                "rate_low_bits_per_s": policed.rate_low_bits_per_s,
                "rate_high_bits_per_s": policed.rate_high_bits_per_s,
                "bucket_bytes": policed.bucket_bytes,
                "burst_bytes": policed.burst_bytes,
                "losses": policed.losses,
                "passes": policed.passes,
            },
            np.broadcast_to(np.asarray("warning"), (n,)),
            np.broadcast_to(0.9, (n,)),
        ),
    )
    # Without a burst before it a slow link looks the same.
    yield (
        "shaping",
        SHAPED,
        Hits(
            (policed.is_shaped != 0) & (policed.shaped_burst_bytes > 0) & (policed.is_policed == 0),
            policed.start_ns,
            policed.end_ns,
            policed.segments,
            {"rate_bits_per_s": policed.shaped_rate_bits_per_s, "burst_bytes": policed.shaped_burst_bytes},
            np.broadcast_to(np.asarray("info"), (n,)),
            np.broadcast_to(0.8, (n,)),
        ),
    )
