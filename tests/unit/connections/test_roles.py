"""Who is client and who is server, and how it was known."""

from __future__ import annotations

import pytest

from tcpsight.connections import Server
from tests.support.headers import A_ADDRESS, B_ADDRESS, follow, headers_of, rows_of, server, track


def role(script: str, *servers: Server) -> tuple[int, int, str]:
    client, its_server, source = track(script, servers=servers).one("client_port", "server_port", "role_source")
    return client, its_server, source


def test_the_client_sent_the_syn():
    assert role("0 > S seq=1 port=22") == (22, 80, "syn")
    assert role("0 < S seq=1") == (80, 40000, "syn")


def test_the_server_sent_the_syn_ack():
    assert role("0 < SA seq=1") == (40000, 80, "syn_ack")
    assert role("0 > SA seq=1 port=22") == (80, 22, "syn_ack")


@pytest.mark.parametrize(
    ("ports", "server_port"),
    [
        ("port=32768 bport=32767", 32767),
        ("port=32767 bport=32768", 32767),
        ("port=5 bport=7", 5),
        ("port=50001 bport=50000", 50000),
    ],
)
@pytest.mark.parametrize("side", "<>")
def test_a_port_below_32768_is_the_servers_then_the_lower_one(ports: str, server_port: int, side: str):
    assert role(f"0 {side} PA 10 seq=1 ack=1 {ports}")[1:] == (server_port, "port")


def test_with_equal_ports_the_first_sender_is_the_client():
    followed = track("0 < PA 10 seq=1 ack=1 port=7 bport=7")
    assert followed.one("role_source") == "first"
    assert bytes(followed.connections.client_address[0]) == B_ADDRESS


def test_the_users_word_outweighs_the_syn():
    assert role("0 > S seq=1", server("A")) == (80, 40000, "option")
    assert role("0 > S seq=1", server("", 40000)) == (80, 40000, "option")
    assert role("0 > S seq=1", server("B", 80)) == (40000, 80, "option")


def test_an_option_that_fits_both_ends_or_neither_decides_nothing():
    assert role("0 > S seq=1", server("A"), server("B"))[2] == "syn"
    assert role("0 > S seq=1", server("B", 81))[2] == "syn"
    assert role("0 > S seq=1", Server(A_ADDRESS, 0, 6))[2] == "syn"


def test_each_of_several_options_is_looked_at():
    assert role("0 > S seq=1", server("B", 81), server("A", 40000)) == (80, 40000, "option")
    assert role("0 > S seq=1", server("B", 81), server("B", 82), server("A", 40000)) == (80, 40000, "option")


def test_roles_are_never_revised():
    followed = track("0 > PA 10 seq=1 ack=1 port=5 \n 10 < S seq=0 port=5")
    assert followed.named("role_source")[0] == "port"
    assert followed.of_segments("direction")[0] == "server"


def test_text_without_flags_tells_by_port():
    assert role("0 > ? 100") == (40000, 80, "port")
    assert role("0 < ? 100") == (40000, 80, "port")


def test_a_connection_to_itself_is_one_connection():
    # RFC 9293 §3.5, figure 7, with both ends the same: Linux allows it.
    ports = "port=7 bport=7"
    talk = rows_of(f"0 > S seq=1000 {ports} \n 1 > SA seq=1000 ack=1001 {ports} \n 2 > PA 9 seq=1001 ack=1001 {ports}")
    same = [row | {"destination_address": row["source_address"]} for row in talk]
    followed = follow([headers_of(same)])
    assert followed.one("client_bytes", "client_segments", "server_segments") == (9, 3, 0)
