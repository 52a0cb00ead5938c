#!/usr/bin/env bash
# Apache under wrk: the server closes each connection after twenty requests, so connections
# come and go. Leaves apache-wrk.pcap.
set -euo pipefail
# shellcheck source=lab.sh
. "$(dirname "$0")/lab.sh"

lab_begin apache2 wrk
lab_network 1

MODULES=/usr/lib/apache2/modules
mkdir "$LAB_DIR/www"
head -c 5000 /dev/zero | tr '\0' p >"$LAB_DIR/www/page"
cat >"$LAB_DIR/apache.conf" <<CONF
LoadModule mpm_event_module $MODULES/mod_mpm_event.so
LoadModule authz_core_module $MODULES/mod_authz_core.so
ServerRoot $LAB_DIR
ServerName example
PidFile $LAB_DIR/apache.pid
ErrorLog $LAB_DIR/apache-error.log
User www-data
Group www-data
Listen 10.1.1.1:80
DocumentRoot $LAB_DIR/www
KeepAlive On
MaxKeepAliveRequests 20
CONF
cat >"$LAB_DIR/load.lua" <<'LUA'
function delay() return math.random(10, 50) end  -- milliseconds
LUA
serve apache2 -f "$LAB_DIR/apache.conf" -D FOREGROUND
wait_for_port 10.1.1.1 80

capture_start eth0 'tcp port 80'
on_client 1 wrk -t 2 -c 6 -d 6s -s "$LAB_DIR/load.lua" http://10.1.1.1/page >"$LAB_DIR/wrk.log"
capture_stop "$EXAMPLES/apache-wrk.pcap"
grep -E 'requests in|Socket errors' "$LAB_DIR/wrk.log" >&2 || true
