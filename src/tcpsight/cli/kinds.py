"""What `tcpsight help` tells of findings: what each kind saw, and what helps."""

from __future__ import annotations

KINDS: dict[str, tuple[str, str]] = {
    "blackhole": (
        "data go out and nothing comes back",
        "The path, or the other machine, has been silent from some instant on. Look for a firewall that forgot "
        "the connection, a route that changed, a machine that went away; capture at the other end tells which.",
    ),
    "path_mtu_blackhole": (
        "large segments vanish, smaller ones pass",
        "A hop takes smaller packets than the sender believes, and its ICMP messages are filtered. Let these "
        "pass, lower the MSS (iptables --clamp-mss-to-pmtu), or set net.ipv4.tcp_mtu_probing=1.",
    ),
    "bufferbloat": (
        "a queue fills up",
        "The sender keeps a long queue full, and whoever shares the path waits in it. A shorter or a fair queue "
        "at the bottleneck (fq_codel, cake) helps, and so does congestion control by delay (BBR) at the sender.",
    ),
    "policing": (
        "a token bucket drops what exceeds a rate",
        "Somebody sells or enforces this rate. Buy more, or shape to a little less before it, so that nothing is lost.",
    ),
    "shaping": (
        "a queue delays what exceeds a rate",
        "Somebody sells or enforces this rate. It costs time and loses nothing; send less, or ask for more.",
    ),
    "zero_window_stall": (
        "the receiver does not read",
        "Its program did something else meanwhile: look at what it was doing (a full disk, a lock, a pause of its"
        " collector). Network and sender are not to blame.",
    ),
    "window_limited": (
        "the receiver's window is too small for the path",
        "A window is what may be on its way: throughput cannot exceed window / round trip. Raise "
        "net.ipv4.tcp_rmem, and do not set SO_RCVBUF in the receiver; if windows are not scaled, see what strips "
        "the option.",
    ),
    "nagle_delayed_ack": (
        "small writes wait for delayed acknowledgments",
        "The sender writes a message in two pieces, and the second waits until the first is acknowledged, mostly "
        "40 ms. Write it in one piece (a buffer, writev), or set TCP_NODELAY.",
    ),
    "slow_start_after_idle": (
        "after pauses the sender begins slowly",
        "It probes the path anew. net.ipv4.tcp_slow_start_after_idle=0 on the sender ends that.",
    ),
    "syn_loss": (
        "SYNs got lost",
        "Each costs a second, then two, four. If connections are short, keep them open; if the server's queue was"
        " full, there is a finding listen_overflow; else the path loses packets.",
    ),
    "syn_flood": (
        "handshakes are begun in numbers by somebody who does not mean to complete them",
        "An attack, or a scan; addresses may be made up, so that blocking them helps little. Let the server answer "
        "with SYN cookies (net.ipv4.tcp_syncookies=1), and filter before it, where the line is wide enough for all "
        "that comes.",
    ),
    "listen_overflow": (
        "the server's queue of connections to accept is full",
        "The program accepts too slowly, or its backlog is too short: raise it in listen() and "
        "net.core.somaxconn, and look at why accepting takes so long. `nstat -az TcpExtListenOverflows` counts "
        "them there.",
    ),
    "refused": (
        "nobody listens",
        "The program is not running, listens on another address or port, or a firewall answers for it.",
    ),
    "unanswered": (
        "nobody answers",
        "The address has no machine, or a firewall drops without a word, in one direction or the other.",
    ),
    "reset_storm": (
        "connections are broken off in numbers",
        "`direction` tells who: a program that closes with unread data or is restarted, a balancer whose time-out"
        " is shorter than its clients', an intrusion filter.",
    ),
    "half_open_leak": (
        "connections that one side has left stay open",
        "The other side's program does not close what its peer has closed (CLOSE_WAIT), or a machine in between "
        "forgot them. `tcpsight sockets --where 'state = close_wait'` shows them on that machine, with their "
        "process.",
    ),
    "one_way_capture": (
        "one direction only was captured",
        "Not a fault of the service: mend the capture. On a mirror port send both directions; with two paths, two"
        " interfaces.",
    ),
    "connection_churn": (
        "connections live hardly longer than it takes to open them",
        "Keep connections open (a pool, HTTP keep-alive): opening costs a round trip, two or three with TLS.",
    ),
    "stall": (
        "requests waited and nothing was answered",
        "All were waiting for one thing. If a request is named, see it: `tcpsight streams FILE -c 'follow "
        "CONNECTION --request N'` where payload was captured. If several services stood still at once, begin with"
        " the one that has no other behind it: the others waited for that one.",
    ),
    "pile_up": (
        "requests waited together while others were answered",
        "Those that waited wanted the same thing: a row, a table, a lock, a shard. The request that came first is"
        " named if order tells it. If several services stood still at once, begin with the one that has no other "
        "behind it.",
    ),
    "no_turns": (
        "the two sides do not take turns: there are no response times; or, of little confidence, it is doubted "
        "that they do",
        "What is sent unasked (a stream, a replica, a chat) has no response time. See `tcpsight network`, and "
        "`tcpsight help response-time`.",
    ),
    "slow_band": (
        "requests take the same long time again and again: a timer, or one slow thing",
        "40 ms is a delayed acknowledgment, 200 ms a retransmission, 1 s a SYN or a sleep, 5 s the name server. "
        "See who they are: `tcpsight requests FILE --where 'response_time > 39ms and response_time < 41ms'`.",
    ),
    "slowdown": (
        "throughput fell while concurrency rose, without a stop",
        "The server had work and did less of it: a collector, a checkpoint, a neighbour, a cache that was "
        "emptied. Compare with its own log of that time.",
    ),
    "no_answers": (
        "no request of the service was ever answered, and several waited a second, or one five, after all of it "
        "had been sent, and for longer than sending it took; or one in twenty at most was answered, and ten "
        "waited a tenth of a second",
        "The server hangs, or what it speaks has no answers (syslog, metrics).",
    ),
    "lasting_slowdown": (
        "requests took longer for a tenth of the capture or more, most often from some instant on to its end",
        "Something changed at that instant: a release, a plan, an index, a neighbour. If throughput rose as well,"
        " it is load: see `tcpsight usl`.",
    ),
}
"""Of each kind of finding what was seen, and where to look next."""


def told(kind: str) -> str:
    """Tell what a kind of finding means, in lines of a terminal."""
    seen, advice = KINDS[kind]
    all_of_them = f"All there are, with numbers: `tcpsight findings FILE --where 'kind = {kind}'`"
    return "\n\n".join(_filled(text) for text in (f"{kind} (a finding): {seen}.", advice, all_of_them))


def _filled(text: str) -> str:
    """Fill lines; commands, in `` ` ``, are for copying: no line ends inside one."""
    import re
    import textwrap

    whole = re.sub(r"`[^`]*`", lambda found: found[0].replace(" ", "\0"), text)
    return textwrap.fill(whole, 79, break_long_words=False, break_on_hyphens=False).replace("\0", " ")
