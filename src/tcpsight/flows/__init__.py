"""Flow records: one object per connection, for the monitoring that is already there.

Theory of operation
-------------------
A connection that ended has a row of `Connections` and two of `Network`. `assembling` puts them together: it chooses the
direction that carried more bytes, asks the rules of findings about it, and looks up whose country and zone the two
addresses are (`places`). `schemas` writes what is known then in the words of tcpsight, of Zeek's ``conn.log``
(`zeek`), of the Elastic Common Schema, or of IPFIX. Records come as connections end; nothing is kept but a bounded
number of looked-up addresses.

What it cannot see: what none of the three rows tells. A field that would need more (the history of flags, bytes of IP
headers) is left out, never guessed.
"""

from __future__ import annotations

from tcpsight.flows.assembling import FlowAssembly
from tcpsight.flows.schemas import SCHEMAS, Record

__all__ = ["SCHEMAS", "FlowAssembly", "Record"]
