"""Write what a capture shows as a few lines (see `headers`); get what the network room measures of each direction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tcpsight.network import NetworkMeasuring
from tcpsight.tables import Headers, Network
from tests.support.headers import follow, headers, words


def measure(table: Headers) -> Network:
    """Track and measure headers to the end of the capture."""
    followed = follow([table])
    return NetworkMeasuring().feed(followed.segments, table, followed.boundaries)


class Directions:
    """The rows of a capture; of the first connection, what its client and its server sent."""

    def __init__(self, network: Network) -> None:
        self._columns = {c.name: words(Network, network, c.name) for c in Network.columns}

    def of(self, which: int, names: Sequence[str]) -> Any:
        """Give these columns of a row, null as None; of one column, the value alone."""
        values = tuple(self._columns[name][which] for name in names)
        return values[0] if len(values) == 1 else values

    def client(self, *names: str) -> Any:
        """Give columns of what the first connection's client sent."""
        return self.of(0, names)

    def server(self, *names: str) -> Any:
        """Give columns of what the first connection's server sent."""
        return self.of(1, names)

    def causes(self, which: int = 0) -> dict[str, int]:
        """Give how many retransmissions of a row had which cause, where there were any."""
        names = {"timeout_retransmissions": "timeout", "fast_retransmissions": "fast", "tail_loss_probes": "probe"}
        names["spurious_retransmissions"] = "spurious"
        counted = {cause: self.of(which, [name]) for name, cause in names.items()}
        assert self.of(which, ["retransmissions"]) == sum(counted.values())
        return {cause: count for cause, count in counted.items() if count}


def measured(script: str) -> Directions:
    """Measure a script."""
    return Directions(measure(headers(script)))
