#!/usr/bin/env bash
# MariaDB under sysbench oltp_read_write, eight threads and a limited rate, with one table
# locked by another client for a known time in the middle: every thread piles up behind the
# lock and all are released together. Leaves mariadb-lock.pcap and mariadb-lock.truth.csv,
# which says when the lock was taken and given back.
set -euo pipefail
# shellcheck source=lab.sh
. "$(dirname "$0")/lab.sh"

SECONDS_OF_LOAD=13 LOCK_AFTER=6 LOCK_FOR=1.5 TRANSACTIONS_PER_SECOND=24 THREADS=8

lab_begin mariadbd mariadb-install-db sysbench
lab_network 2

mkdir "$LAB_DIR/data"
chown mysql "$LAB_DIR/data"
mariadb-install-db --no-defaults --user=mysql --datadir="$LAB_DIR/data" \
    --auth-root-authentication-method=normal --skip-test-db >"$LAB_DIR/install.log" 2>&1
cat >"$LAB_DIR/init.sql" <<'SQL'
CREATE DATABASE sbtest;
CREATE USER 'sbtest'@'%' IDENTIFIED BY '';
GRANT ALL ON sbtest.* TO 'sbtest'@'%';
SQL
serve mariadbd --no-defaults --user=mysql --datadir="$LAB_DIR/data" \
    --socket="$LAB_DIR/data/socket" --pid-file="$LAB_DIR/data/pid" \
    --bind-address=10.1.1.1 --port=3306 --skip-name-resolve \
    --innodb-flush-log-at-trx-commit=2 --init-file="$LAB_DIR/init.sql"
wait_for_port 10.1.1.1 3306

load() {
    on_client 1 sysbench oltp_read_write --db-driver=mysql --mysql-host=10.1.1.1 \
        --mysql-port=3306 --mysql-user=sbtest --mysql-password= --mysql-db=sbtest \
        --tables=1 --table-size=10000 "$@"
}

load prepare >"$LAB_DIR/sysbench-prepare.log"
# Two warm-up seconds, not captured, so that the capture shows a server in its stride.
load --threads="$THREADS" --time=2 run >"$LAB_DIR/sysbench-warm.log"

capture_start eth0 'tcp port 3306' --time-stamp-precision=nano
load --threads="$THREADS" --rate="$TRANSACTIONS_PER_SECOND" --time="$SECONDS_OF_LOAD" \
    --point-selects=4 --range-size=20 --index-updates=1 --non-index-updates=1 run >"$LAB_DIR/sysbench.log" &
LOAD=$!
sleep "$LOCK_AFTER"
on_client 2 python3 "$LAB_HERE/hold_lock.py" 10.1.1.1 3306 sbtest sbtest sbtest1 "$LOCK_FOR" \
    >"$LAB_DIR/truth.csv"
wait "$LOAD"
capture_stop "$EXAMPLES/mariadb-lock.pcap"
install -m 644 "$LAB_DIR/truth.csv" "$EXAMPLES/mariadb-lock.truth.csv"
grep -E 'transactions:|queries:|errors:|min:|avg:|95th|max:' "$LAB_DIR/sysbench.log" >&2
cat "$EXAMPLES/mariadb-lock.truth.csv" >&2
