#!/usr/bin/env bash
# memcached under memcslap from two client machines, one setting and one getting (after it
# has set what it will get), with 1, 2, 4 and 8 connections each in turn. Values are larger
# than a segment, so requests and answers span several. Leaves memcached-memcslap.pcap.
set -euo pipefail
# shellcheck source=lab.sh
. "$(dirname "$0")/lab.sh"

lab_begin memcached memcslap
lab_network 2

serve memcached -u nobody -l 10.1.1.1 -p 11211 -U 0 -m 64 -t 2
wait_for_port 10.1.1.1 11211

load() {
    local client=$1 threads=$2
    shift 2
    on_client "$client" memcslap --servers=10.1.1.1:11211 --concurrency="$threads" \
        --execute-number=60 --initial-load=60 --tcp-nodelay "$@" >>"$LAB_DIR/memcslap-$client.log"
}

capture_start eth0 'tcp port 11211' --time-stamp-precision=nano
for threads in 1 2 4 8; do
    load 1 "$threads" --test=set &
    SETS=$!
    load 2 "$threads" --test=get
    wait "$SETS"
    sleep 0.5
done
capture_stop "$EXAMPLES/memcached-memcslap.pcap"
grep -hE 'Time to (set|get)' "$LAB_DIR"/memcslap-*.log >&2
