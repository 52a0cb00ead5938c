"""What a scenario is: a link, two applications, how their kernels are set, and what must be found.

A catalogue entry makes a `Scenario` from a random generator, so that a seed stands for one set of parameters.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.truth.lab.applications import Client, Server
from tests.truth.lab.path import Link

VANTAGES = ("client", "middle", "server")
"""Where captures are taken."""

KINDS = (
    "bufferbloat",
    "blackhole",
    "path_mtu_blackhole",
    "policing",
    "shaping",
    "zero_window_stall",
    "window_limited",
    "nagle_delayed_ack",
    "slow_start_after_idle",
    "syn_loss",
    "syn_flood",
    "listen_overflow",
    "refused",
    "unanswered",
    "reset_storm",
    "half_open_leak",
    "one_way_capture",
    "connection_churn",
)
"""The conditions the laboratory can make."""


@dataclass(frozen=True)
class Hosts:
    """How both kernels are set."""

    congestion: str = "cubic"
    is_ipv6: bool = False
    has_timestamps: bool = True
    has_sack: bool = True
    has_offload: bool = False  # segmentation left to the device: captures at the sender show up to 64 KB
    settings: tuple[tuple[str, int | str], ...] = ()  # more of net.ipv4.…

    def of_kernel(self) -> dict[str, str | int]:
        """Give the settings as the kernel names them."""
        found: dict[str, str | int] = {
            "net.ipv4.tcp_timestamps": int(self.has_timestamps),
            "net.ipv4.tcp_sack": int(self.has_sack),
            "net.ipv4.tcp_no_metrics_save": 1,
            "net.ipv4.tcp_mtu_probing": 0,
            "net.ipv6.conf.all.disable_ipv6": int(not self.is_ipv6),
        }
        return found | {f"net.ipv4.{name}": value for name, value in self.settings}


@dataclass(frozen=True)
class Expected:
    """A finding that must be there.

    `direction` is the sender of the data concerned (empty where it does not matter). `subject` is `connection` or
    `server`. `span` says how its start and end follow from the log: `connections` (first to last packet),
    `drops:REASON` (first to last packet lost for it), `queue` (packets that waited long), `zero_window`, `resets`,
    `flood` (made-up SYNs). A run where nothing of that happened is not counted. `at` names the captures where
    it can be seen.
    """

    kind: str
    direction: str = ""
    subject: str = "connection"
    span: str = "connections"
    at: tuple[str, ...] = VANTAGES
    values: tuple[tuple[str, float], ...] = ()  # what it must tell besides, such as a policer's rate


@dataclass(frozen=True)
class Scenario:
    """One run: what is done, and what is true of it."""

    name: str
    link: Link = field(default_factory=Link)
    client: Client = field(default_factory=Client)
    server: Server = field(default_factory=Server)
    hosts: Hosts = field(default_factory=Hosts)
    expected: tuple[Expected, ...] = ()
    allowed: tuple[str, ...] = ()  # kinds that would be no error: true of it too, but not what it is for
    vantages: tuple[str, ...] = VANTAGES
    snaplen: int = 128
    seconds: float = 12.0  # the client is ended when it takes longer
    rewrite: str = ""  # what is done to the captures afterwards, see rewriting.py
    parameters: tuple[tuple[str, Any], ...] = ()  # what the seed drew, for people
