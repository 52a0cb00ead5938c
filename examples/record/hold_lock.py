#!/usr/bin/env python3
"""Hold a write lock on one MariaDB table for a known time, and print when as CSV.

    hold_lock.py HOST PORT USER DATABASE TABLE SECONDS

The lock was certainly held from `lock_granted` to `release_sent`, and certainly not held
before `lock_sent` or after `release_confirmed`. Times are this machine's clock, in
nanoseconds since the Unix epoch: the clock that also stamps the capture.
"""

import sys

from mysql_client import Connection


def main() -> None:
    """Lock, sleep inside the server, unlock."""
    host, port, user, database, table, seconds = sys.argv[1:]
    connection = Connection(host, int(port), user, database)
    lock = connection.execute(f"LOCK TABLES {table} WRITE")
    connection.execute(f"DO SLEEP({float(seconds)})")
    release = connection.execute("UNLOCK TABLES")
    print("event,time_ns,client_port")
    for event, time_ns in (
        ("lock_sent", lock.start_ns),
        ("lock_granted", lock.end_ns),
        ("release_sent", release.start_ns),
        ("release_confirmed", release.end_ns),
    ):
        print(f"{event},{time_ns},{connection.port}")
    connection.close()


if __name__ == "__main__":
    main()
