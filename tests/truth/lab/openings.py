"""The conditions of connections as such that must be found: how they open, end and are left."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from tests.truth.lab.applications import Client, Exchange, Server
from tests.truth.lab.catalogue import FOR_EVER, KB, MS, both, entry, hosts, ms, toward
from tests.truth.lab.path import Direction
from tests.truth.lab.scenario import VANTAGES, Expected, Scenario


@entry
def syn_loss(random: Random) -> Scenario:
    rtt, times = ms(random, 1, 100), random.randint(1, 2)
    side = "client" if random.random() < 0.6 else "server"
    exchanges = (Exchange(300, random.randint(500, 50 * KB)),) * random.randint(1, 3)
    count = random.randint(1, 3)
    return Scenario(
        "",
        toward(side, rtt, Direction(syn=times)),
        Client(exchanges, connections=count, is_parallel=True, gap_ns=20 * MS),
        hosts=hosts(random),
        # A SYN lost on its way is not seen at the server; an answer that was lost is, by the SYN that comes again.
        expected=(
            Expected("syn_loss", side, span="drops:syn", at=VANTAGES if side == "server" else ("client", "middle")),
        ),
        allowed=("connection_churn",),
        parameters=(("rtt_ns", rtt), ("times", times), ("connections", count)),
    )


@entry
def listen_overflow(random: Random) -> Scenario:
    rtt, backlog = ms(random, 0.5, 40), random.randint(1, 4)
    count, wait = backlog + random.randint(5, 15), ms(random, 1200, 2800)
    return Scenario(
        "",
        both(rtt),
        Client((Exchange(200, 500),), connections=count, is_parallel=True, gap_ns=ms(random, 2, 20)),
        Server(backlog=backlog, accept_after_ns=wait),
        hosts(random),
        expected=(Expected("listen_overflow", "", subject="server"),),
        allowed=("syn_loss", "connection_churn", "unanswered"),
        seconds=5.0,
        parameters=(("rtt_ns", rtt), ("backlog", backlog), ("connections", count), ("wait_ns", wait)),
    )


@entry
def refused(random: Random) -> Scenario:
    rtt, count = ms(random, 0.5, 80), random.randint(1, 6)
    return Scenario(
        "",
        both(rtt),
        Client(connections=count, gap_ns=ms(random, 50, 300), port=8081, linger_ns=300 * MS),
        hosts=hosts(random),
        expected=(Expected("refused", "server", subject="server"),),
        allowed=("connection_churn",),
        parameters=(("rtt_ns", rtt), ("connections", count)),
    )


@entry
def unanswered(random: Random) -> Scenario:
    rtt, count = ms(random, 0.5, 80), random.randint(1, 5)
    return Scenario(
        "",
        both(rtt, up=Direction(outages=((0, FOR_EVER),))),
        Client(connections=count, is_parallel=True, gap_ns=ms(random, 5, 100), timeout_ns=20_000 * MS),
        hosts=hosts(random),
        expected=(Expected("unanswered", "client", subject="server", at=("client", "middle")),),
        allowed=("syn_loss",),
        vantages=("client", "middle"),
        seconds=random.uniform(3.2, 4.5),
        parameters=(("rtt_ns", rtt), ("connections", count)),
    )


@entry
def reset_storm(random: Random) -> Scenario:
    rtt, count = ms(random, 0.5, 20), random.randint(25, 80)
    is_client = random.random() < 0.3
    return Scenario(
        "",
        both(rtt),
        Client(
            (Exchange(300, 400),), connections=count, is_parallel=True, gap_ns=ms(random, 8, 30),
            close="reset" if is_client else "fin",
        ),
        Server(close="fin" if is_client else "reset"),
        hosts(random),
        expected=(Expected("reset_storm", "client" if is_client else "server", subject="server", span="resets"),),
        allowed=("connection_churn",),
        parameters=(("rtt_ns", rtt), ("connections", count)),
    )  # fmt: skip


@entry
def half_open_leak(random: Random) -> Scenario:
    rtt, count = ms(random, 0.5, 40), random.randint(8, 25)
    client = Client((Exchange(200, 900),), connections=count, is_parallel=True, gap_ns=ms(random, 5, 20))
    if random.random() < 0.6:  # the server forgets to close what its clients closed
        return Scenario(
            "",
            both(rtt),
            # Silence is only seen when something else goes on.
            replace(client, linger_ns=ms(random, 2500, 4000), background_ns=200 * MS),
            Server(close="never"),
            hosts(random),
            expected=(Expected("half_open_leak", "server", subject="server"),),
            allowed=("connection_churn",),
            parameters=(("rtt_ns", rtt), ("connections", count), ("variant", "never_closed")),
        )
    gone = Direction(outages=((1000 * MS, FOR_EVER),))
    return Scenario(
        "",
        both(rtt, gone, gone),
        replace(client, exchanges=(Exchange(200, 900), Exchange(200, 900, think_ns=20_000 * MS))),
        Server(keep_alive_s=1),
        hosts(random),
        expected=(Expected("half_open_leak", "client", subject="server", at=("server",)),),
        allowed=("connection_churn", "blackhole"),
        seconds=4.5,
        parameters=(("rtt_ns", rtt), ("connections", count), ("variant", "vanished")),
    )


@entry
def connection_churn(random: Random) -> Scenario:
    rtt, count = ms(random, 4, 30), random.randint(40, 90)
    return Scenario(
        "",
        both(rtt),
        Client((Exchange(random.randint(50, 500), random.randint(50, 1400)),), connections=count),
        hosts=hosts(random),
        expected=(Expected("connection_churn", "", subject="server"),),
        parameters=(("rtt_ns", rtt), ("connections", count)),
    )


@entry
def syn_flood(random: Random) -> Scenario:
    rtt, count, gap = ms(random, 0.5, 80), random.randint(130, 500), ms(random, 1, 8)
    flood = Client(
        (Exchange(300, 2000, think_ns=ms(random, 50, 200)),) * 10,
        connections=random.randint(1, 5),
        is_parallel=True,
        gap_ns=20 * MS,
        # Whether a client was merely slow is known 3 s later.
        linger_ns=ms(random, 3300, 4000),
        background_ns=200 * MS,
        flood=count,
        flood_gap_ns=gap,
    )
    return Scenario(
        "",
        both(rtt),
        flood,
        Server(backlog=random.choice((16, 128, 4096))),
        hosts(random, is_ipv6=False),
        expected=(Expected("syn_flood", "client", subject="server", span="flood"),),
        # Made-up handshakes fill the queue: real ones may be dropped.
        allowed=("connection_churn", "listen_overflow", "syn_loss"),
        parameters=(("rtt_ns", rtt), ("count", count), ("gap_ns", gap), ("connections", flood.connections)),
    )
