#!/usr/bin/env bash
# Record every example again, and the stored logs of the response-time comparison.
# Needs root and the packages named in ../README.md; takes about four minutes.
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)

for name in mariadb-lock postgresql-pgbench redis-benchmark memcached-memcslap nginx-wrk apache-wrk; do
    "$HERE/$name.sh"
    # No byte after any TCP header is left if cutting again changes nothing.
    python3 "$HERE/cut_payload.py" "$HERE/../$name.pcap" - 2>/dev/null | cmp - "$HERE/../$name.pcap"
done
"$HERE/response_times.py"
# The stalls, each with the truth of both sides.
"$HERE/stalls.py"
python3 "$HERE/describe.py" "$HERE"/../*.pcap
