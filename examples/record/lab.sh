# shellcheck shell=bash
# The laboratory that the recording scripts share. Source it; do not run it.
#
#   lab_begin TOOL...            check that we are root and the tools exist; make $LAB_DIR
#   lab_network N                a server namespace and N client namespaces on one bridge:
#                                server 10.1.1.1 fd00:1::1, clients 10.1.1.11.. fd00:1::11..
#   lab_loopback                 a server namespace with nothing but its loopback
#   on_server CMD... / on_client I CMD...      run in a namespace
#   serve CMD...                 start a server on the server side, in the background
#   wait_for_port ADDRESS PORT   until the server accepts connections
#   capture_start INTERFACE FILTER [TCPDUMP OPTION...]
#   capture_stop FILE            stop, refuse if the kernel dropped frames, cut the payload
#
# Whatever happens, the processes started here are stopped and the namespaces removed on exit.

LAB_HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck disable=SC2034 # used by the scripts that source this
EXAMPLES=$(dirname "$LAB_HERE")
LAB="tcpsight-$$"
LAB_DIR=
LAB_NAMESPACES=()
CAPTURE_PID=
export PATH="$PATH:/usr/sbin:/sbin"

say() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; }
die() { say "$*"; exit 1; }

lab_begin() {
    [ "$(id -u)" = 0 ] || die "must run as root (network namespaces and tcpdump)"
    local tool
    for tool in ip tcpdump python3 ethtool "$@"; do
        command -v "$tool" >/dev/null || die "needs $tool"
    done
    LAB_DIR=$(mktemp -d)
    chmod 755 "$LAB_DIR" # servers run as their own users
    trap lab_end EXIT
    trap 'exit 130' INT TERM
}

lab_end() {
    local status=$? namespace i
    trap - EXIT
    lab_signal TERM
    for ((i = 0; i < 100; i++)); do
        [ -n "$(lab_processes)" ] || break
        sleep 0.1
    done
    lab_signal KILL
    wait || true
    for namespace in "${LAB_NAMESPACES[@]}"; do
        ip netns del "$namespace" || true
    done
    if [ "$status" != 0 ]; then
        tail -n 20 "$LAB_DIR"/*.log >&2 2>/dev/null || true
    fi
    rm -rf "$LAB_DIR"
    exit "$status"
}

# Every process in our namespaces was started by us, and nothing else runs there.
lab_processes() {
    local namespace
    for namespace in "${LAB_NAMESPACES[@]}"; do
        ip netns pids "$namespace" || true
    done
}

lab_signal() {
    local pid
    for pid in $(lab_processes); do
        kill -s "$1" "$pid" 2>/dev/null || true
    done
}

lab_namespace() {
    ip netns add "$1"
    LAB_NAMESPACES+=("$1")
    ip -n "$1" link set lo up
}

lab_loopback() {
    lab_namespace "$LAB-server"
}

# Segments as a wire would show them: no offload that merges them or leaves checksums open.
plain_segments() {
    ip netns exec "$1" ethtool -K "$2" tx off tso off gso off gro off >/dev/null
}

lab_network() {
    local i
    lab_namespace "$LAB-server"
    ip -n "$LAB-server" link add eth0 type bridge
    for ((i = 1; i <= $1; i++)); do
        lab_namespace "$LAB-client$i"
        ip -n "$LAB-server" link add "port$i" type veth peer name eth0 netns "$LAB-client$i"
        ip -n "$LAB-server" link set "port$i" master eth0 up
        ip -n "$LAB-client$i" addr add "10.1.1.1$i/24" dev eth0
        ip -n "$LAB-client$i" addr add "fd00:1::1$i/64" dev eth0 nodad
        ip -n "$LAB-client$i" link set eth0 up
        plain_segments "$LAB-client$i" eth0
        plain_segments "$LAB-server" "port$i"
    done
    ip -n "$LAB-server" addr add 10.1.1.1/24 dev eth0
    ip -n "$LAB-server" addr add fd00:1::1/64 dev eth0 nodad
    ip -n "$LAB-server" link set eth0 up
    plain_segments "$LAB-server" eth0
}

on_server() { ip netns exec "$LAB-server" "$@"; }

on_client() {
    local i=$1
    shift
    ip netns exec "$LAB-client$i" "$@"
}

serve() {
    ip netns exec "$LAB-server" "$@" >>"$LAB_DIR/server.log" 2>&1 &
}

wait_for_port() {
    local i
    for ((i = 0; i < 300; i++)); do
        # shellcheck disable=SC2016 # expanded by the inner shell
        if on_server bash -c 'exec 3<>"/dev/tcp/$1/$2"' - "$1" "$2" 2>/dev/null; then
            return
        fi
        sleep 0.1
    done
    die "nothing listens on $1 port $2 after 30 s"
}

# 160 bytes hold every link, IP and TCP header here; what follows them is cut in capture_stop.
capture_start() {
    local interface=$1 filter=$2 i
    shift 2
    ip netns exec "$LAB-server" tcpdump -i "$interface" -s 160 -n -U --immediate-mode \
        -Z root -B 16384 "$@" -w "$LAB_DIR/raw.pcap" "$filter" 2>"$LAB_DIR/tcpdump.log" &
    CAPTURE_PID=$!
    for ((i = 0; i < 100; i++)); do
        grep -q 'listening on' "$LAB_DIR/tcpdump.log" && return
        sleep 0.1
    done
    die "tcpdump did not start"
}

capture_stop() {
    sleep 1 # the last FINs and ACKs
    kill -INT "$CAPTURE_PID"
    wait "$CAPTURE_PID" || true
    CAPTURE_PID=
    grep -q '^0 packets dropped by kernel' "$LAB_DIR/tcpdump.log" ||
        die "the kernel dropped frames: $(tail -n 1 "$LAB_DIR/tcpdump.log")"
    python3 "$LAB_HERE/cut_payload.py" "$LAB_DIR/raw.pcap" "$LAB_DIR/cut.pcap"
    mv "$LAB_DIR/cut.pcap" "$1"
    chmod 644 "$1"
    say "wrote $1, $(stat -c %s "$1") bytes"
}
