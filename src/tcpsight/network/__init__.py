"""Takes Segments, gives Network: round trips and recovery by connection and direction; and where the time went."""

from tcpsight.network.accounting import Account, Accounted, RequestMatching, TimeAccounting, account_for, fill

__all__ = ["Account", "Accounted", "RequestMatching", "TimeAccounting", "account_for", "fill"]
