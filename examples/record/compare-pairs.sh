#!/usr/bin/env bash
# Five servers under steady load, three times each: as they are, once more as they are, and slowed
# down by half. Their answers take 10 to 20 ms, or 15 to 30 ms, because they are told to wait:
# so the difference is known. Record on a machine with nothing else to do, or under `chrt -r 1`. Leaves SERVER-1.pcap.zst (before),
# SERVER-2.pcap.zst (no change) and SERVER-3.pcap.zst (slower) in the directory that is named.
set -euo pipefail
# shellcheck source=lab.sh
. "$(dirname "$0")/lab.sh"

[ $# = 1 ] || die "name a directory: compare-pairs.sh DIRECTORY"
TARGET=$(cd "$1" && pwd)
ROUNDS=(10 10 15) # milliseconds that the fastest answer takes
CONNECTIONS=4 EACH=300

for directory in /usr/lib/postgresql/*/bin; do
    PATH="$directory:$PATH"
done
AS_POSTGRES=(setpriv --reuid=postgres --regid=postgres --clear-groups)

lab_begin mariadbd mariadb-install-db postgres initdb pgbench redis-server redis-benchmark memcached nginx wrk cc zstd
lab_loopback

# record NAME PORT ROUND COMMAND...     capture one port of the loopback while the command runs
record() {
    local file="$LAB_DIR/$1-$3.pcap" port=$2
    shift
    capture_start lo "tcp port $port" --time-stamp-precision=nano
    "${@:3}" >"$LAB_DIR/load.log" 2>&1
    capture_stop "$file"
    zstd -q -19 -f "$file" -o "$TARGET/$(basename "$file").zst"
}

mariadb() {
    mkdir "$LAB_DIR/mariadb"
    chown mysql "$LAB_DIR/mariadb"
    mariadb-install-db --no-defaults --user=mysql --datadir="$LAB_DIR/mariadb" \
        --auth-root-authentication-method=normal --skip-test-db >"$LAB_DIR/install.log" 2>&1
    cat >"$LAB_DIR/init.sql" <<'SQL'
CREATE DATABASE example;
CREATE USER 'example'@'%' IDENTIFIED BY '';
GRANT ALL ON example.* TO 'example'@'%';
SQL
    serve mariadbd --no-defaults --user=mysql --datadir="$LAB_DIR/mariadb" --socket="$LAB_DIR/mariadb/socket" \
        --pid-file="$LAB_DIR/mariadb/pid" --bind-address=127.0.0.1 --port=3306 --skip-name-resolve \
        --init-file="$LAB_DIR/init.sql"
    wait_for_port 127.0.0.1 3306
    cat >"$LAB_DIR/load.py" <<'PYTHON'
import sys
from threading import Thread

from mysql_client import Connection


def ask(base_ms: float, count: int) -> None:
    connection = Connection("127.0.0.1", 3306, "example", "example")
    for _ in range(count):
        connection.execute(f"DO SLEEP({base_ms / 1000} * (1 + RAND()))")
    connection.close()


threads = [Thread(target=ask, args=(float(sys.argv[1]), int(sys.argv[3]))) for _ in range(int(sys.argv[2]))]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
PYTHON
    for i in 0 1 2; do
        record mariadb 3306 $((i + 1)) on_server env PYTHONPATH="$LAB_HERE" PYTHONDONTWRITEBYTECODE=1 \
            python3 "$LAB_DIR/load.py" "${ROUNDS[i]}" "$CONNECTIONS" "$EACH"
    done
}

postgresql() {
    mkdir "$LAB_DIR/postgresql"
    chown postgres:postgres "$LAB_DIR/postgresql"
    "${AS_POSTGRES[@]}" initdb -A trust -D "$LAB_DIR/postgresql" >"$LAB_DIR/initdb.log" 2>&1
    serve "${AS_POSTGRES[@]}" postgres -D "$LAB_DIR/postgresql" -h 127.0.0.1 -p 5432 -k "$LAB_DIR/postgresql"
    wait_for_port 127.0.0.1 5432
    sleep 2 # the port is open a moment before the server is ready
    for i in 0 1 2; do
        echo "SELECT pg_sleep(${ROUNDS[i]} / 1000.0 * (1 + random()));" >"$LAB_DIR/sleep.sql"
        record postgresql 5432 $((i + 1)) on_server pgbench -h 127.0.0.1 -U postgres -n -f "$LAB_DIR/sleep.sql" \
            -c "$CONNECTIONS" -t "$EACH" postgres
    done
}

redis() {
    serve redis-server --bind 127.0.0.1 --port 6379 --save '' --dir "$LAB_DIR" --enable-debug-command yes
    wait_for_port 127.0.0.1 6379
    for i in 0 1 2; do # one after the other, as Redis does everything: two connections wait for each other
        record redis 6379 $((i + 1)) on_server redis-benchmark -p 6379 -c 2 -n 900 \
            DEBUG SLEEP "$(awk "BEGIN { print ${ROUNDS[i]} / 2000 }")"
    done
}

memcached_delayed() {
    local i server
    cc -shared -fPIC -O1 -o "$LAB_DIR/slow_sendmsg.so" "$LAB_HERE/slow_sendmsg.c" -ldl
    cat >"$LAB_DIR/get.py" <<'PYTHON'
import socket
import sys
from threading import Thread


def ask(port: int, count: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        for _ in range(count):
            connection.sendall(b"get key\r\n")
            while not connection.recv(100).endswith(b"END\r\n"):
                pass


threads = [Thread(target=ask, args=(int(sys.argv[1]), int(sys.argv[3]))) for _ in range(int(sys.argv[2]))]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
PYTHON
    for i in 0 1 2; do
        serve env SLOW_MS="${ROUNDS[i]}" LD_PRELOAD="$LAB_DIR/slow_sendmsg.so" \
            memcached -u nobody -l 127.0.0.1 -p 11211 -U 0 -m 16 -t "$CONNECTIONS"
        server=$!
        wait_for_port 127.0.0.1 11211
        record memcached 11211 $((i + 1)) on_server python3 "$LAB_DIR/get.py" 11211 "$CONNECTIONS" "$EACH"
        kill "$server"
        wait "$server" || true
    done
}

nginx_delayed() {
    local i each
    {
        cat <<CONF
daemon off;
worker_processes 1;
load_module /usr/lib/nginx/modules/ngx_http_echo_module.so;
pid $LAB_DIR/nginx.pid;
error_log $LAB_DIR/nginx-error.log;
events { worker_connections 64; }
http {
    access_log off;
    keepalive_requests 100000;
    client_body_temp_path $LAB_DIR/body;
    proxy_temp_path $LAB_DIR/proxy;
    fastcgi_temp_path $LAB_DIR/fastcgi;
    uwsgi_temp_path $LAB_DIR/uwsgi;
    scgi_temp_path $LAB_DIR/scgi;
    server {
        listen 127.0.0.1:80;
CONF
        for i in 0 2; do
            for each in 0 1 2 3 4 5 6 7; do
                echo "location /${ROUNDS[i]}/$each {" \
                    "echo_sleep $(awk "BEGIN { printf \"%.3f\", ${ROUNDS[i]} * (1 + $each / 7) / 1000 }"); echo done; }"
            done
        done
        echo '} }'
    } >"$LAB_DIR/nginx.conf"
    serve nginx -c "$LAB_DIR/nginx.conf"
    wait_for_port 127.0.0.1 80
    for i in 0 1 2; do
        cat >"$LAB_DIR/load.lua" <<LUA
function request() return wrk.format("GET", "/${ROUNDS[i]}/" .. math.random(0, 7)) end
LUA
        record nginx 80 $((i + 1)) on_server wrk -t 1 -c "$CONNECTIONS" -d 5s -s "$LAB_DIR/load.lua" http://127.0.0.1/
    done
}

mariadb
postgresql
redis
memcached_delayed
nginx_delayed
