#!/usr/bin/env bash
# PostgreSQL under pgbench over IPv6: the built-in TPC-B-like transaction, prepared
# statements, four clients at a limited rate. Leaves postgresql-pgbench.pcap.
set -euo pipefail
# shellcheck source=lab.sh
. "$(dirname "$0")/lab.sh"

# Debian keeps the server's programs out of the PATH, one directory per version.
for directory in /usr/lib/postgresql/*/bin; do
    PATH="$directory:$PATH"
done

lab_begin initdb postgres pgbench setpriv
lab_network 1

AS_POSTGRES=(setpriv --reuid=postgres --regid=postgres --clear-groups)
mkdir "$LAB_DIR/data"
chown postgres:postgres "$LAB_DIR/data"
"${AS_POSTGRES[@]}" initdb -A trust -D "$LAB_DIR/data" >"$LAB_DIR/initdb.log" 2>&1
echo 'host all all fd00:1::/64 trust' >>"$LAB_DIR/data/pg_hba.conf"
serve "${AS_POSTGRES[@]}" postgres -D "$LAB_DIR/data" -h fd00:1::1 -p 5432 -k "$LAB_DIR/data"
wait_for_port fd00:1::1 5432

load() { on_client 1 pgbench -h fd00:1::1 -p 5432 -U postgres "$@" postgres; }

for ((i = 0; i < 50; i++)); do # the port is open a moment before the server is ready
    load -i -q -s 2 >"$LAB_DIR/pgbench-init.log" 2>&1 && break
    sleep 0.2
done
load -n -M prepared -c 4 -j 1 -T 1 >"$LAB_DIR/pgbench-warm.log" 2>&1

capture_start eth0 'tcp port 5432'
load -n -M prepared -c 4 -j 1 -R 45 -T 10 >"$LAB_DIR/pgbench.log" 2>&1
capture_stop "$EXAMPLES/postgresql-pgbench.pcap"
grep -E 'actually processed|latency average|tps' "$LAB_DIR/pgbench.log" >&2
