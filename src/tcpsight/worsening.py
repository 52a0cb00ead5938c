"""What got worse between two captures, by kind: what the verdict and the exit status of a comparison follow from.

Theory of operation
-------------------
A comparison is a gate: whoever runs it after a change wants it closed by anything that a user of the service would
mind. The two questions of `tcpsight.model.verdicts` about response times, and the two about what failed, are two of
the kinds; the others are here. Of each kind no more is said than is beyond doubt: an interval that lies wholly beyond
what is tolerated, or a fact that has no interval.

What it cannot see: that less was asked. A service with half the throughput at the same concurrency is worse; one that
was asked half as often is not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tcpsight.model.grouping import Endpoint
from tcpsight.tables import SEVERITIES

if TYPE_CHECKING:
    from tcpsight.comparison import CollectedCapture, Comparison, ServicePair
    from tcpsight.model.services import Service

Facts = dict[str, Any]

WORSE_KINDS = ("response_time", "failures", "throughput", "retransmissions", "vanished", "findings")
"""How a service can be worse, in the order in which it is told."""

LEAST_EXPECTED = 20
"""A service is missed that would have had so many requests by its rate before; of fewer none may be an accident."""

LEAST_EXPECTED_ALONE = 5
"""As many where no service is in both captures, so that this is the only question there is. Of five that come at
random none is missed once in 150 times."""

LEAST_TAKEN_OVER = 0.1
"""A service is not missed if addresses that came served so much of what it would have on its port: it has moved."""

LEAST_SHARE = 0.01
"""A service with fewer of all requests than this is not missed: on a machine that asks many, some always change."""


def worse_kinds(service: Facts, tolerances: tuple[float, float], *, is_gone: bool) -> list[str]:
    """Tell how one service is worse, by what is told of it.

    Parameters
    ----------
    service : dict
        One of the ``services`` of `tcpsight.comparison_facts.comparison_facts`.
    tolerances : tuple of float
        By which share response times may be longer, or throughput lower; by how much shares may be larger.
    is_gone : bool
        Whether it answers nobody any more.
    """
    slower, more = tolerances
    equal = service["throughput_at_equal_concurrency"]
    shares = {row["name"]: row for row in service["shares"]}
    found = {
        "response_time": any(
            row["is_decisive"] and _is_above(row["low"], 1 + slower) for row in service["response_time"]
        ),
        "failures": any(row["is_decisive"] and _is_above(row["low"], more) for row in shares.values()),
        "throughput": equal["high"] is not None and equal["high"] * (1 + slower) < 1,
        "retransmissions": _is_above(shares["retransmitted"]["low"], more),
        "vanished": is_gone,
        "findings": any(is_new_critical(row) for when in ("came", "stayed") for row in service["findings"][when]),
    }
    return [kind for kind in WORSE_KINDS if found[kind]]


def is_new_critical(finding: Facts) -> bool:
    """Tell whether a finding is critical, and was not before; what may be is as what is: a gate does not stay open."""
    return bool(finding["possible_severity"] == SEVERITIES[-1] != finding["possible_severity_before"])


def vanished(comparison: Comparison) -> list[Endpoint]:
    """Give the services that are in the capture before only, and are missed after."""
    return [each for each in comparison.only[0] if _is_missed(comparison, each)]


def is_gone(comparison: Comparison, pair: ServicePair) -> bool:
    """Tell whether a service that both captures have is asked and answered no more, and is missed."""
    after = pair.after.service
    is_silent = not (after.requests or after.unanswered or after.in_flight_at_end)
    if not is_silent or not pair.before.service.requests:
        return False
    return _is_missed(comparison, pair.before.endpoint)


def _is_missed(comparison: Comparison, endpoint: Endpoint) -> bool:
    before, after = comparison.before, comparison.after
    services = before.summary.services
    # Of a service that was never seen to answer, connections are what there was.
    count = _requests if services[endpoint].requests else _established
    own, all_of_them = count(services[endpoint]), sum(map(count, services.values()))
    expected = own * _length(after) / max(_length(before), 1)
    least = LEAST_EXPECTED if comparison.pairs else LEAST_EXPECTED_ALONE
    if own < LEAST_SHARE * all_of_them or expected < least:
        return False
    newcomers = (after.summary.services[each] for each in comparison.only[1] if each[1] == endpoint[1])
    return sum(map(count, newcomers)) < LEAST_TAKEN_OVER * expected


def _requests(service: Service) -> int:
    return service.requests


def _established(service: Service) -> int:
    """Count connections over which something could be asked: a port that refuses everybody is no service."""
    return service.connections - service.failed_connections


def _length(capture: CollectedCapture) -> int:
    return capture.run.pipeline.elapsed_ns


def _is_above(low: float | None, most: float) -> bool:
    return low is not None and low > most
