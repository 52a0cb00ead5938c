#!/usr/bin/env bash
# Redis under redis-benchmark on loopback, as fast as it goes, with 1, 2, 4, 8, 16 and 32
# clients one after the other: a staircase of concurrency for the scalability model.
# Recorded from the `any` device. Leaves redis-benchmark.pcap.
set -euo pipefail
# shellcheck source=lab.sh
. "$(dirname "$0")/lab.sh"

lab_begin redis-server redis-benchmark
lab_loopback

serve redis-server --bind 127.0.0.1 --port 6379 --save '' --dir "$LAB_DIR"
wait_for_port 127.0.0.1 6379

capture_start any 'tcp port 6379' --time-stamp-precision=nano
for clients in 1 2 4 8 16 32; do
    on_server redis-benchmark -h 127.0.0.1 -p 6379 -c "$clients" -n 400 -d 64 -r 1000 \
        -t set,get -q 2>&1 | tr '\r' '\n' | grep 'requests per second' | sed "s/^/$clients clients: /" >&2
    sleep 0.3
done
capture_stop "$EXAMPLES/redis-benchmark.pcap"
