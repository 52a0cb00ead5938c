"""What must yield no finding: healthy links, ordinary loss, slow people, and captures that are not what they seem.

Most are also where quantities are measured: every way to lose, reorder and repeat packets is here, in both directions.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random

from tests.truth.lab.applications import Client, Exchange, Server
from tests.truth.lab.catalogue import KB, MBIT, MS, both, bulk, entry, hosts, ms, side_of, toward
from tests.truth.lab.path import Direction, Link
from tests.truth.lab.scenario import Expected, Scenario

LINE = Direction(line_rate=40 * MBIT)
"""A link that is never full for long."""


def quick(random: Random, count: int = 12) -> Client:
    """Draw a client that asks small things."""
    one = Exchange(random.randint(80, 900), random.randint(100, 20 * KB), think_ns=ms(random, 5, 60))
    return Client((one,) * count, connections=random.randint(1, 3), is_parallel=True, gap_ns=ms(random, 5, 50))


@entry
def clean_exchanges(random: Random) -> Scenario:
    rtt = ms(random, 0.4, 120)
    return Scenario("", both(rtt, LINE, LINE), quick(random), hosts=hosts(random), parameters=(("rtt_ns", rtt),))


@entry
def clean_bulk(random: Random) -> Scenario:
    rtt, side = ms(random, 0.5, 60), side_of(random)
    size = random.randint(300, 1500) * KB
    rules = Direction(rate=random.randint(10, 40) * MBIT, queue=64 * KB)
    return Scenario(
        "", toward(side, rtt, rules), bulk(side, size), hosts=hosts(random),
        allowed=("shaping",), parameters=(("rtt_ns", rtt), ("bytes", size)),
    )  # fmt: skip


@entry
def slow_server(random: Random) -> Scenario:
    rtt, wait = ms(random, 1, 60), ms(random, 300, 1200)
    one = Exchange(300, random.randint(200, 30 * KB), server_ns=wait)
    return Scenario(
        "", both(rtt), Client((one,) * 3), hosts=hosts(random), parameters=(("rtt_ns", rtt), ("server_ns", wait))
    )


@entry
def idle(random: Random) -> Scenario:
    rtt, wait = ms(random, 1, 80), ms(random, 800, 1800)
    one = Exchange(200, random.randint(200, 5 * KB), think_ns=wait)
    return Scenario(
        "", both(rtt), Client((one,) * 3), hosts=hosts(random), parameters=(("rtt_ns", rtt), ("think_ns", wait))
    )


@entry
def idle_bulk_without_slow_start(random: Random) -> Scenario:
    """Bursts after silence, by a kernel that keeps its window: the twin of slow_start_after_idle."""
    rtt, size = ms(random, 30, 100), random.randint(100, 300) * KB
    one = Exchange(200, size, think_ns=ms(random, 700, 1200))
    kept = hosts(random, congestion=("cubic", "reno"), settings=(("tcp_slow_start_after_idle", 0),))
    return Scenario("", both(rtt, LINE, LINE), Client((one,) * 3), hosts=kept, parameters=(("rtt_ns", rtt),))


@entry
def jitter(random: Random) -> Scenario:
    rtt, side, size = ms(random, 10, 80), side_of(random), random.randint(200, 800) * KB
    rules = replace(LINE, jitter_ns=ms(random, 1, 15), keep_order=random.random() < 0.5)
    return Scenario(
        "", toward(side, rtt, rules), bulk(side, size), hosts=hosts(random),
        parameters=(("rtt_ns", rtt), ("jitter_ns", rules.jitter_ns), ("keep_order", rules.keep_order)),
    )  # fmt: skip


@entry
def random_loss(random: Random) -> Scenario:
    rtt, side, size = ms(random, 4, 80), side_of(random), random.randint(200, 900) * KB
    rules = replace(LINE, loss=random.uniform(0.002, 0.02))
    back = Direction(loss=random.uniform(0, 0.02))  # of ACKs
    link = both(rtt, rules, back) if side == "client" else both(rtt, back, rules)
    return Scenario("", link, bulk(side, size), hosts=hosts(random), parameters=(("rtt_ns", rtt), ("loss", rules.loss)))


@entry
def burst_loss(random: Random) -> Scenario:
    rtt, side, size = ms(random, 4, 60), side_of(random), random.randint(200, 600) * KB
    rules = replace(LINE, to_bad=random.uniform(0.002, 0.01), to_good=random.uniform(0.2, 0.6), bad_loss=0.8)
    return Scenario("", toward(side, rtt, rules), bulk(side, size), hosts=hosts(random), parameters=(("rtt_ns", rtt),))


@entry
def tail_loss(random: Random) -> Scenario:
    """The last segments of a response are lost once: probes or timeouts repair it."""
    rtt, size = ms(random, 4, 80), random.randint(20, 120) * KB
    rules = replace(LINE, tail_from=size - random.randint(1, 4) * 1400)
    return Scenario(
        "", toward("server", rtt, rules), bulk("server", size, linger_ns=200 * MS), hosts=hosts(random),
        parameters=(("rtt_ns", rtt), ("bytes", size), ("tail_from", rules.tail_from)),
    )  # fmt: skip


@entry
def listed_loss(random: Random) -> Scenario:
    rtt, side, size = ms(random, 4, 60), side_of(random), random.randint(150, 400) * KB
    listed = tuple(sorted(random.sample(range(5, 100), random.randint(1, 8))))
    rules = replace(LINE, listed=listed, listed_copies=random.randint(1, 2))
    return Scenario(
        "", toward(side, rtt, rules), bulk(side, size), hosts=hosts(random),
        parameters=(("rtt_ns", rtt), ("listed", listed), ("copies", rules.listed_copies)),
    )  # fmt: skip


@entry
def reordering(random: Random) -> Scenario:
    rtt, side, size = ms(random, 10, 80), side_of(random), random.randint(200, 700) * KB
    rules = replace(LINE, reorder=random.uniform(0.005, 0.05), reorder_ns=ms(random, 1, 12))
    return Scenario(
        "", toward(side, rtt, rules), bulk(side, size), hosts=hosts(random),
        parameters=(("rtt_ns", rtt), ("reorder", rules.reorder), ("reorder_ns", rules.reorder_ns)),
    )  # fmt: skip


@entry
def duplication(random: Random) -> Scenario:
    """The network delivers some packets twice."""
    rtt, side, size = ms(random, 4, 60), side_of(random), random.randint(200, 600) * KB
    rules = replace(LINE, duplicate=random.uniform(0.005, 0.03))
    return Scenario("", toward(side, rtt, rules), bulk(side, size), hosts=hosts(random), parameters=(("rtt_ns", rtt),))


@entry
def short_outage(random: Random) -> Scenario:
    """Silence for less than a second in one direction or both; timeouts, some of them spurious."""
    rtt, side, size = ms(random, 4, 60), side_of(random), random.randint(400, 800) * KB
    begin = ms(random, 60, 120)
    out = ((begin, begin + ms(random, 50, 500)),)
    rules, back = replace(LINE, outages=out), Direction(outages=out if random.random() < 0.5 else ())
    if random.random() < 0.3:  # only the ACKs are lost: what is sent again had arrived
        rules, back = LINE, Direction(outages=out)
    link = both(rtt, rules, back) if side == "client" else both(rtt, back, rules)
    return Scenario("", link, bulk(side, size), hosts=hosts(random), parameters=(("rtt_ns", rtt), ("outage", out[0])))


@entry
def shallow_queue(random: Random) -> Scenario:
    """A bottleneck whose queue is short: congestion loss as it should be."""
    rtt, side = ms(random, 10, 60), side_of(random)
    rate = random.randint(4, 20) * MBIT
    rules = Direction(rate=rate, queue=max(15 * KB, round(rate / 8 * rtt / 1e9 * random.uniform(0.3, 1))))
    size = round(rate / 8 * random.uniform(1, 2))
    return Scenario(
        "", toward(side, rtt, rules), bulk(side, size), hosts=hosts(random, congestion=("cubic",)),
        allowed=("shaping",), parameters=(("rtt_ns", rtt), ("rate", rate), ("queue", rules.queue)),
    )  # fmt: skip


@entry
def several_clients(random: Random) -> Scenario:
    """Connections that are kept for many exchanges: not churn."""
    rtt = ms(random, 1, 50)
    client = replace(quick(random, 15), connections=random.randint(5, 15))
    return Scenario("", both(rtt, LINE, LINE), client, hosts=hosts(random), parameters=(("rtt_ns", rtt),))


@entry
def few_resets(random: Random) -> Scenario:
    """A client that closes with a RST now and then: no storm."""
    rtt = ms(random, 1, 50)
    client = replace(quick(random, 8), connections=2, close="reset")
    return Scenario("", both(rtt, LINE, LINE), client, hosts=hosts(random), parameters=(("rtt_ns", rtt),))


@entry
def nagle_without_delay(random: Random) -> Scenario:
    """Requests in two writes with TCP_NODELAY: the twin of nagle_delayed_ack."""
    rtt = ms(random, 0.5, 15)
    one = Exchange(random.randint(60, 900), random.randint(50, 1200), think_ns=ms(random, 0, 10), writes=2)
    return Scenario(
        "", both(rtt), Client((one,) * 15), Server(has_quick_ack=False), hosts(random), parameters=(("rtt_ns", rtt),)
    )


# --- captures that are not what they seem: made from runs without faults, and from runs with light loss


def _base(random: Random, rewrite: str) -> Scenario:
    rtt, side = ms(random, 1, 60), side_of(random)
    rules = replace(LINE, loss=random.choice((0, 0.005)))
    size = random.randint(100, 500) * KB
    one = Exchange(size, 500) if side == "client" else Exchange(300, size)
    exchanges = (Exchange(300, 900, think_ns=10 * MS), one) * 2
    link: Link = toward(side, rtt, rules)
    return Scenario(
        "", link, Client(exchanges, connections=random.randint(1, 3), is_parallel=True, gap_ns=30 * MS),
        hosts=replace(hosts(random), has_offload=False), rewrite=rewrite, parameters=(("rtt_ns", rtt), ("bytes", size)),
    )  # fmt: skip


@entry
def mid_stream(random: Random) -> Scenario:
    return _base(random, "mid_stream")


@entry
def lost_in_capture(random: Random) -> Scenario:
    return _base(random, "lose_frames")


@entry
def lost_acknowledgments_in_capture(random: Random) -> Scenario:
    return _base(random, "lose_acknowledgments")


@entry
def asymmetric(random: Random) -> Scenario:
    """One direction of each connection was captured: nothing but that is to be said."""
    scenario = _base(random, "only_" + random.choice(("client", "server")))
    return replace(scenario, expected=(Expected("one_way_capture", scenario.rewrite.removeprefix("only_")),))


@entry
def clock_backwards(random: Random) -> Scenario:
    return _base(random, "clock_backwards")


@entry
def cut_options(random: Random) -> Scenario:
    return _base(random, "cut_options")


@entry
def merged_segments(random: Random) -> Scenario:
    """Segments merged up to 64 KB, as receive offload shows them."""
    return _base(random, "merge_segments")


@entry
def duplicate_frames(random: Random) -> Scenario:
    return _base(random, "duplicate_frames")
