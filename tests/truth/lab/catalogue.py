"""The conditions that must be found: one entry per kind, its parameters drawn by the seed.

An entry is a function of a random generator. What it draws is kept wide enough that a threshold cannot be fitted to a
single setting, and inside what the condition means: a policer that never drops polices nobody.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

from tests.truth.lab.applications import Client, Exchange, Server
from tests.truth.lab.path import Direction, Link
from tests.truth.lab.scenario import VANTAGES, Expected, Hosts, Scenario

Entry = Callable[[Random], Scenario]
MS, MBIT, KB = 1_000_000, 1_000_000, 1000
FOR_EVER = 3600 * 10**9
ENTRIES: dict[str, Entry] = {}


def entry(function: Entry) -> Entry:
    """Add a scenario to the catalogue under the function's name."""
    ENTRIES[function.__name__] = function
    return function


def make(name: str, seed: int) -> Scenario:
    """Give the scenario that a seed stands for."""
    scenario = ENTRIES[name](Random(f"{name}:{seed}"))
    return replace(scenario, name=name, link=replace(scenario.link, seed=seed))


def hosts(random: Random, *, congestion: tuple[str, ...] = ("cubic", "bbr"), **more: Any) -> Hosts:
    """Draw how the kernels are set."""
    drawn: dict[str, Any] = {
        "congestion": random.choice(congestion),
        "is_ipv6": random.random() < 0.2,
        "has_timestamps": random.random() < 0.8,
        "has_sack": random.random() < 0.9,
        "has_offload": random.random() < 0.2,
    }
    return Hosts(**drawn | more)


def both(rtt_ns: int, up: Direction | None = None, down: Direction | None = None) -> Link:
    """Split a round trip over two directions."""
    return Link(
        replace(up or Direction(), delay_ns=rtt_ns // 2), replace(down or Direction(), delay_ns=rtt_ns - rtt_ns // 2)
    )


def toward(side: str, rtt_ns: int, rules: Direction) -> Link:
    """Put rules on the direction of the data that `side` sends."""
    return both(rtt_ns, **{"up" if side == "client" else "down": rules})


def bulk(side: str, size: int, **more: Any) -> Client:
    """Let `side` send `size` bytes."""
    one = Exchange(size, 100) if side == "client" else Exchange(200, size)
    return Client((one,), **more)


def sending_end(side: str) -> tuple[str, ...]:
    """Name the captures that see what `side` sent before the path loses it: the tap is on the client's side."""
    return ("client", "middle") if side == "client" else ("server",)


def ms(random: Random, low: float, high: float) -> int:
    """Draw a duration."""
    return round(random.uniform(low, high) * MS)


def side_of(random: Random) -> str:
    """Draw who sends: mostly the server, as in life."""
    return "client" if random.random() < 0.35 else "server"


@entry
def bufferbloat(random: Random) -> Scenario:
    side, rtt = side_of(random), ms(random, 5, 60)
    rate = round(random.uniform(3, 16) * MBIT)
    # Without room in the queue to lose anything, all that slow start sends waits in it: 0.8 to 1.5 s at the end.
    size = round(rate / 8 * random.uniform(1.6, 2.6))
    both_hosts = hosts(random, congestion=("reno",))
    seen = VANTAGES if both_hosts.has_timestamps else sending_end(side)
    return Scenario(
        "",
        toward(side, rtt, Direction(rate=rate)),
        bulk(side, size),
        # HyStart would notice the delay: it is what keeps cubic from making this condition at once.
        hosts=both_hosts,
        # From behind the queue it is seen by timestamps alone.
        expected=(Expected("bufferbloat", side, span="queue", at=seen),),
        allowed=("shaping",),
        parameters=(("rtt_ns", rtt), ("rate", rate), ("bytes", size)),
    )


@entry
def blackhole(random: Random) -> Scenario:
    side, rtt = side_of(random), ms(random, 5, 80)
    size, is_both = 600 * KB, random.random() < 0.5
    after = random.randint(20 * KB, 300 * KB)
    rules = Direction(rate=20 * MBIT, queue=150 * KB, outage_after=after, outage_ns=FOR_EVER, outage_both=is_both)
    return Scenario(
        "",
        toward(side, rtt, rules),
        bulk(side, size, timeout_ns=20_000 * MS),
        hosts=hosts(random),
        expected=(Expected("blackhole", side, span="drops:outage", at=sending_end(side)),),
        seconds=random.uniform(3.5, 5.0),
        parameters=(("rtt_ns", rtt), ("after", after), ("is_both", is_both)),
    )


@entry
def path_mtu_blackhole(random: Random) -> Scenario:
    side, rtt = side_of(random), ms(random, 5, 80)
    mtu = random.randint(1280, 1440)
    first = [Exchange(200, 300)] * random.randint(1, 3)  # small ones pass
    big = Exchange(60 * KB, 100) if side == "client" else Exchange(200, 60 * KB)
    return Scenario(
        "",
        toward(side, rtt, Direction(mtu=mtu)),
        Client((*first, big), timeout_ns=20_000 * MS),
        hosts=hosts(random),
        expected=(
            Expected("path_mtu_blackhole", side, span="drops:mtu", at=sending_end(side)),
        ),
        allowed=("blackhole",),
        seconds=random.uniform(3.0, 4.5),
        parameters=(("rtt_ns", rtt), ("mtu", mtu)),
    )  # fmt: skip


@entry
def policing(random: Random) -> Scenario:
    side, rtt = side_of(random), ms(random, 15, 80)
    rate = round(random.uniform(1.5, 8) * MBIT)
    burst = random.randint(15 * KB, 120 * KB)
    size = round(rate / 8 * random.uniform(2.0, 3.0)) + burst
    return Scenario(
        "",
        toward(side, rtt, Direction(policer_rate=rate, policer_burst=burst)),
        bulk(side, size),
        hosts=hosts(random),
        expected=(Expected("policing", side, span="drops:policer", values=(("rate_bits_per_s", rate),)),),
        parameters=(("rtt_ns", rtt), ("rate", rate), ("burst", burst), ("bytes", size)),
    )


@entry
def shaping(random: Random) -> Scenario:
    side, rtt = side_of(random), ms(random, 10, 60)
    rate = round(random.uniform(2, 10) * MBIT)
    burst = random.randint(100 * KB, 400 * KB)
    size = burst + round(rate / 8 * random.uniform(1.8, 3.0))
    rules = Direction(rate=rate, burst=burst, queue=random.randint(100, 400) * KB, line_rate=40 * MBIT)
    return Scenario(
        "",
        toward(side, rtt, rules),
        bulk(side, size),
        hosts=hosts(random),
        expected=(Expected("shaping", side, values=(("rate_bits_per_s", rate),)),),
        seconds=6.0,
        allowed=("bufferbloat",),
        parameters=(("rtt_ns", rtt), ("rate", rate), ("burst", burst), ("bytes", size)),
    )


@entry
def zero_window_stall(random: Random) -> Scenario:
    side, rtt = side_of(random), ms(random, 2, 80)
    pause, first = ms(random, 500, 2500), random.randint(20 * KB, 200 * KB)
    buffer = random.choice((32, 64, 128)) * 1024
    reader: dict[str, Any] = {"receive_buffer": buffer, "read_first": first, "pause_ns": pause}
    size = first + 6 * buffer + random.randint(0, 300 * KB)
    is_up = side == "client"
    return Scenario(
        "",
        both(rtt),
        bulk(side, size, **({} if is_up else reader)),
        Server(**(reader if is_up else {})),
        hosts(random),
        expected=(Expected("zero_window_stall", side, span="zero_window"),),
        allowed=("window_limited",),
        parameters=(("rtt_ns", rtt), ("pause_ns", pause), ("receive_buffer", buffer)),
    )


@entry
def window_limited(random: Random) -> Scenario:
    side, rtt = side_of(random), ms(random, 25, 120)
    buffer = random.choice((6, 8, 12, 16, 24)) * 1024
    trips = random.randint(20, 30)
    size = trips * buffer // 2
    is_up = side == "client"
    return Scenario(
        "",
        both(rtt),
        bulk(side, size, **({} if is_up else {"receive_buffer": buffer})),
        Server(receive_buffer=buffer if is_up else 0),
        hosts(random),
        expected=(Expected("window_limited", side),),
        parameters=(("rtt_ns", rtt), ("receive_buffer", buffer), ("bytes", size)),
    )


@entry
def nagle_delayed_ack(random: Random) -> Scenario:
    rtt = ms(random, 0.5, 15)
    one = Exchange(
        random.randint(60, 900),
        random.randint(50, 1200),
        think_ns=ms(random, 0, 10),
        writes=2,
        server_ns=ms(random, 0, 3),
    )
    return Scenario(
        "",
        both(rtt),
        Client((one,) * random.randint(10, 25), has_nodelay=False),
        Server(has_quick_ack=False),
        hosts(random),
        expected=(Expected("nagle_delayed_ack", "client"),),
        parameters=(("rtt_ns", rtt),),
    )  # fmt: skip


@entry
def slow_start_after_idle(random: Random) -> Scenario:
    side, rtt = side_of(random), ms(random, 30, 100)
    size = random.randint(250, 500) * KB
    # The window is halved for every timeout of silence, so it takes several of them.
    idle = ms(random, 1400, 2300)
    one = Exchange(size, 100, think_ns=idle) if side == "client" else Exchange(200, size, think_ns=idle)
    count = random.randint(3, 4)  # two pauses at least: one could be an outage
    return Scenario(
        "",
        toward(side, rtt, Direction(line_rate=40 * MBIT)),
        Client((replace(one, think_ns=0), *[one] * (count - 1))),
        hosts=hosts(random, congestion=("cubic", "reno")),
        expected=(Expected("slow_start_after_idle", side),),
        parameters=(("rtt_ns", rtt), ("idle_ns", idle), ("bytes", size), ("count", count)),
    )


@entry
def one_way_capture(random: Random) -> Scenario:
    rtt, side = ms(random, 1, 80), random.choice(("client", "server"))
    kept = Expected("one_way_capture", side)
    exchanges = (Exchange(random.randint(200, 20 * KB), random.randint(500, 200 * KB), think_ns=20 * MS),)
    return Scenario(
        "",
        both(rtt, Direction(line_rate=30 * MBIT), Direction(line_rate=30 * MBIT)),
        Client(exchanges * random.randint(2, 6), connections=random.randint(1, 4), is_parallel=True, gap_ns=30 * MS),
        hosts=hosts(random),
        expected=(kept,),
        rewrite=f"only_{side}",
        parameters=(("rtt_ns", rtt), ("kept", side)),
    )
