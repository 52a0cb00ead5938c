"""Takes Segments, gives what the network did to each connection, direction and exchange, and where the time went."""

from tcpsight.network.accounting import (
    Account,
    Accounted,
    Placing,
    RequestMatching,
    TimeAccounting,
    account_for,
    fill,
)
from tcpsight.network.measuring import NetworkMeasuring, agree_on_times, see_from_there

__all__ = [
    "Account",
    "Accounted",
    "NetworkMeasuring",
    "Placing",
    "RequestMatching",
    "TimeAccounting",
    "account_for",
    "agree_on_times",
    "fill",
    "see_from_there",
]
