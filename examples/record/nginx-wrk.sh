#!/usr/bin/env bash
# nginx under wrk from three client machines that join one after the other and leave in the
# same order. Keep-alive connections, small pages and now and then a larger one, a short
# pause after each answer. Leaves nginx-wrk.pcap.
set -euo pipefail
# shellcheck source=lab.sh
. "$(dirname "$0")/lab.sh"

lab_begin nginx wrk
lab_network 3

mkdir "$LAB_DIR/www"
head -c 600 /dev/zero | tr '\0' s >"$LAB_DIR/www/small"
head -c 24000 /dev/zero | tr '\0' l >"$LAB_DIR/www/large"
cat >"$LAB_DIR/nginx.conf" <<CONF
daemon off;
worker_processes 1;
pid $LAB_DIR/nginx.pid;
error_log $LAB_DIR/nginx-error.log;
events { worker_connections 256; }
http {
    access_log off;
    keepalive_requests 100000;
    client_body_temp_path $LAB_DIR/body;
    proxy_temp_path $LAB_DIR/proxy;
    fastcgi_temp_path $LAB_DIR/fastcgi;
    uwsgi_temp_path $LAB_DIR/uwsgi;
    scgi_temp_path $LAB_DIR/scgi;
    server { listen 10.1.1.1:80; root $LAB_DIR/www; }
}
CONF
cat >"$LAB_DIR/load.lua" <<'LUA'
local count = 0
function request()
  count = count + 1
  return wrk.format("GET", count % 10 == 0 and "/large" or "/small")
end
function delay() return math.random(20, 60) end  -- milliseconds
LUA
serve nginx -c "$LAB_DIR/nginx.conf"
wait_for_port 10.1.1.1 80

load() { on_client "$1" wrk -t 1 -c 4 -d 6s -s "$LAB_DIR/load.lua" http://10.1.1.1/ >"$LAB_DIR/wrk-$1.log"; }

capture_start eth0 'tcp port 80'
LOADS=()
for client in 1 2 3; do
    load "$client" &
    LOADS+=($!)
    sleep 2
done
wait "${LOADS[@]}"
capture_stop "$EXAMPLES/nginx-wrk.pcap"
grep -h 'requests in' "$LAB_DIR"/wrk-*.log >&2
