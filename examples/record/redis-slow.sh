#!/usr/bin/env bash
# Redis on loopback, three clients that read and write, and a fourth that runs one script that takes
# a second: Redis does one thing at a time, so all of them wait for it. Frames are kept whole,
# payload and all. Leaves streams/redis-slow.pcap. Needs root (tcpdump).
set -euo pipefail
HERE="$(cd "$(dirname "$0")" && pwd)"
OUT="$HERE/../streams/redis-slow.pcap"
PORT=6391
FOLDER="$(mktemp -d)"
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$FOLDER"' EXIT
redis-server --port $PORT --bind 127.0.0.1 --save '' --dir "$FOLDER" >"$FOLDER/redis.log" &
until redis-cli -p $PORT ping >/dev/null 2>&1; do sleep 0.1; done
tcpdump -q -i lo -s 0 -U --time-stamp-precision=nano -w "$FOLDER/whole.pcap" "tcp port $PORT" 2>"$FOLDER/tcpdump.log" &
until grep -q listening "$FOLDER/tcpdump.log"; do sleep 0.1; done
python3 "$HERE/redis_slow.py" $PORT
sleep 1
kill -INT %2
wait %2 || true
install -m 644 "$FOLDER/whole.pcap" "$OUT"
