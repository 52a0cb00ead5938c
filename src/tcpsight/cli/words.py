"""What `tcpsight help` tells of the words of a page that are no columns: its labels, and the words of the glossary."""

from __future__ import annotations

import re

WORDS: dict[str, tuple[str, str]] = {
    # How a service does.
    "throughput, rate, req/s, arrive/s": (
        "Requests answered per second: X. In bits it is what connections carried, and counts everything that was sent; "
        "goodput counts new payload.",
        "intervals",
    ),
    "concurrency, conc, N": (
        "How many requests were waited for at a time, in the mean: N. Little's law: it is throughput times response "
        "time.",
        "concurrency",
    ),
    "utilization, busy, U": (
        "The share of the time with at least one request waiting. 100 % does not mean that no more can be done: a "
        "server may do several at a time ('tcpsight help headroom').",
        "utilization",
    ),
    "load": (
        "How much was asked of a service: requests that were waited for at a time, and the share of the time with at "
        "least one.",
        "concurrency",
    ),
    "response time, took, latency, R": (
        "From the last byte of a request to the first byte of its response, as captured: 'tcpsight help "
        "response-time' tells more, and how to choose other instants.",
        "response_time",
    ),
    "percentile, quantile, median, p50, p90, p95, p99, p99.9": (
        "The least value that such a share does not exceed (nearest rank): a p99 of 40 ms says that 99 of 100 took 40 "
        "ms or less, and one took longer. The median is p50. A mean hides the slow ones, percentiles do not.",
        "percentiles",
    ),
    "mean, average": (
        "The sum over the count. A few that are slow raise it far above what most of them took: look at the "
        "percentiles, too.",
        "response_time",
    ),
    "max, maximum, slowest": ("The longest of all.", "response_time"),
    "dispersion": ("The variance over the mean: large where some took far longer than the others.", "intervals"),
    "arrival, arrived, arrives": ("The instant from which response time runs: the request was asked.", "response_time"),
    "completion, answered": (
        "The instant at which response time ends: by default the first byte of the response.",
        "response_time",
    ),
    "request, response": (
        "A run of client data, and the server data that answers it. In tables of requests: the new bytes of either.",
        "requests",
    ),
    "resident, waiting, backlog, in flight": (
        "Requests that have arrived and are not answered yet, at an instant. Bytes in flight are another thing: sent, "
        "and not acknowledged.",
        "concurrency",
    ),
    "unanswered, never answered, waited": (
        "Requests that got no answer in the capture, and how long they waited for it until it or their connection "
        "ended.",
        "requests",
    ),
    "after": ("So long after the first frame of the capture.", "response_time"),
    "share": (
        "Of a client: its part of all the time that clients waited for answers; of anything else, its part of the "
        "whole.",
        "concurrency",
    ),
    "prometheus, grafana, opentelemetry, otlp, statsd, kafka": (
        "Where 'tcpsight watch' gives its numbers to, while it happens: 'tcpsight help metrics' tells how.",
        "feeding",
    ),
    "late": ("Answers that came when their slice of time had been told already.", "watching"),
    "over time": (
        "The capture from its beginning to its end, each column a slice of time: how high it is tells the value "
        "beside the greatest, which stands behind.",
        "intervals",
    ),
    "interval, slice": ("A slice of time for which numbers are told: --interval says how long.", "intervals"),
    "requests by response time, distribution": (
        "How many requests took so long: a bar for each range of response times.",
        "percentiles",
    ),
    "slow, slow requests, slowest requests": (
        "Those with the longest response times, each with the number of its connection and its index in it ('tcpsight "
        "follow FILE NUMBER --request INDEX' shows its bytes where payload was captured), and the capture filter that "
        "isolates it. Why they were slow: 'tcpsight findings FILE', and 'tcpsight help stall'.",
        "response_time",
    ),
    # Who, and where.
    "client, clients, server": (
        "Who sent the SYN, and the other one; where no SYN was captured, by ports: 'tcpsight help services'.",
        "connections",
    ),
    "service": ("A server's address and port, with all connections to it.", "connections"),
    "endpoint": ("An address and a port.", "connections"),
    "connection, number": (
        "Two endpoints from the first SYN to the last segment. Its number is that of the frame that opened it, and "
        "what 'streams', 'follow' and --connection ask for.",
        "connections",
    ),
    "failed": ("Connections that were refused or never established.", "connections"),
    "set-up time, handshake": (
        "From the first SYN to the ACK that completes the handshake: a round trip, and what a SYN that was lost cost.",
        "handshake",
    ),
    "time went to, time account": (
        "Where the time of connections went: the parts connect, think, request_transfer, server, response_transfer, "
        "recovery, receiver_limited, path_limited and unknown add up to how long they lived.",
        "time_account",
    ),
    "captured, vantage": ("Where the capture was taken: at the server, at the client, or between.", "vantage"),
    "tunnels, encapsulation": (
        "What addresses and ports were carried in: VLAN, MPLS, GRE, VXLAN and so on.",
        "encapsulations",
    ),
    "stream": ("One direction's bytes in order.", "bytes"),
    "stream offset, offset": ("The number of a byte in its stream, from 0; it does not wrap.", "bytes"),
    "new bytes": ("Payload that its sender had not sent before: only these make requests and responses.", "bytes"),
    "frame": ("What a capture recorded at once; frames are numbered 1, 2, 3 … through all its files.", "capturing"),
    "segment": ("One TCP header with its payload.", "bytes"),
    "snapshot length, snaplen, cut short, not captured": (
        "How much of each frame a capture keeps. What lies beyond was not captured: its length is known, its bytes "
        "are not.",
        "capturing",
    ),
    "capture gap, gap, hole": (
        "Bytes that were acknowledged or passed over, and never captured: the capture's loss, not the network's.",
        "bytes",
    ),
    "findings, finding": (
        "Conditions that have a name, each with its rule, its numbers and how sure it is: 'tcpsight findings', and "
        "'tcpsight help' with the name of one.",
        "findings",
    ),
    "not understood, unseen, notes": (
        "What could not be read, or is not counted as it stands, with the first frame where it was so. Nothing is "
        "left out without a word.",
        "docs/reference/tables.md",
    ),
    # The network.
    "round trip, RTT": (
        "From a segment to the acknowledgment that covers it, as seen where the capture was taken.",
        "round_trips",
    ),
    "retransmission, sent again": (
        "A segment whose bytes, SYN or FIN its sender had sent already: not always a loss.",
        "retransmissions",
    ),
    "window": ("How many bytes a receiver lets the other side send; always TCP's.", "windows"),
    "bytes in flight": ("Sent, and not yet acknowledged.", "windows"),
    "goodput": ("New payload per second.", "goodput"),
    "lake": ("A folder of Parquet files in which 'tcpsight ingest' keeps what captures tell.", "docs/scale.md"),
    # How much more load.
    "σ, sigma, contention, coherency": (
        "σ is the share of the work that waits for its turn: a lock, one thread. With σ of 0.05 no more than 20 times "
        "the throughput of one request can be had. κ (coherency) is what each pair of requests costs each other.",
        "scalability",
    ),
    "κ, kappa": (
        "What each pair of requests costs each other: caches, row versions, agreement. Where it is above 0 there is a "
        "peak, and more requests at a time get less done.",
        "scalability",
    ),
    "λ, lambda, alone": ("Throughput of one request at a time.", "scalability"),
    "peak": (
        "The most throughput there is, and the concurrency that gives it: more requests at a time make it less.",
        "scalability",
    ),
    "limit": ("λ/σ: what contention alone would allow, whatever the concurrency.", "scalability"),
    "headroom": (
        "How much more throughput there is than the busiest twentieth of the intervals had, up to the peak; 'at most' "
        "where only a limit is known. 'none' says that the load is beyond the peak already. 'tcpsight usl' tells it.",
        "scalability",
    ),
    "forecast": (
        "Throughput and response time at other loads, if the law goes on to hold: --at chooses loads.",
        "scalability",
    ),
    "efficiency": (
        "Throughput over what as many would have if each had the throughput of one alone.",
        "scalability",
    ),
    "law, usl": (
        "The Universal Scalability Law: X(N) = λ N / (1 + σ (N − 1) + κ N (N − 1)).",
        "scalability",
    ),
    "points, left out, stood still, beware, throughput by concurrency": (
        "What the law is fitted to: a point is a slice of time, with its concurrency and its throughput. Those "
        "left out, in which nothing was answered, and what makes concurrency doubtful are told.",
        "scalability",
    ),
    "what helps": ("What to do where a number cannot be told.", "scalability"),
    "superlinear": (
        "Throughput that grows faster than the load, which the law does not allow: it would need a σ or κ below 0.",
        "scalability",
    ),
    "confidence, 95 % band, band, interval of": (
        "Numbers in brackets: the truth lies between them in 95 of 100 such measurements, if the law holds.",
        "scalability",
    ),
    "residuals, how far to trust it": (
        "By how much points miss the law. R² is the share of their differences that it explains; a pattern in what "
        "is left says that something else was at work.",
        "scalability",
    ),
    "Little's law": (
        "Concurrency is throughput times response time, whatever the service does: far from 1, the intervals are too "
        "short.",
        "concurrency",
    ),
    "M/M/m": ("A queue before equal servers, which is compared with the law.", "scalability"),
}
"""Of words that mean the same: what they mean, and the page that tells more, of docs/methods/ if it is only a name."""


def plain(words: str) -> str:
    """Write words as one that is looked up: in lower case, with `_` for blanks and hyphens."""
    return re.sub(r"[\s_-]+", "_", words.strip().lower())


def meanings() -> dict[str, str]:
    """Give what each word means, by the word as it is looked up."""
    return {
        plain(word): f"{names}\n  {_filled(text)}\n  more: {_page(page)}"
        for names, (text, page) in WORDS.items()
        for word in names.split(", ")
    }


def _page(name: str) -> str:
    return name if name.endswith(".md") else f"docs/methods/{name}.md"


def _filled(text: str) -> str:
    import textwrap

    return textwrap.fill(text, 79, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
