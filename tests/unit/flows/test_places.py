"""Whose country, whose zone: files that people name, and what is wrong with them."""

from __future__ import annotations

import ipaddress
import sys

import pytest

from tcpsight.errors import TcpsightError, UsageError
from tcpsight.flows.places import countries, zones
from tests.support.mmdb import mmdb_bytes


def at(place, address):
    return place(ipaddress.ip_address(address))


def written(tmp_path, content, name="places"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


# --- zones


@pytest.mark.parametrize(
    "line",
    ["10.1.0.0/16 eu-west", "10.1.0.0/16,eu-west", "10.1.0.0/16\teu-west", " 10.1.0.0/16 ,  eu-west ",
     '10.1.0.0/16,"eu-west"', "10.1.0.0/16 eu-west # Dublin", "\ufeff10.1.0.0/16 eu-west", "10.1.0.0/16 eu-west\r"],
)  # fmt: skip
def test_a_line_is_a_network_and_its_zone(tmp_path, line):
    zone = zones(written(tmp_path, f"{line}\n"))
    assert [at(zone, a) for a in ("10.1.2.3", "10.2.0.0", "::ffff:10.1.2.3")] == ["eu-west", None, None]


def test_the_smallest_network_wins_whatever_the_order(tmp_path):
    lines = ["0.0.0.0/0 world", "10.0.0.0/8 ten", "10.1.1.1 one", "10.1.0.0/16 sixteen"]
    for order in (lines, lines[::-1]):
        zone = zones(written(tmp_path, "\n".join(order)))
        found = [at(zone, a) for a in ("10.1.1.1", "10.1.1.2", "10.200.0.1", "192.0.2.1")]
        assert found == ["one", "sixteen", "ten", "world"]


def test_ipv6_has_its_own_networks(tmp_path):
    zone = zones(written(tmp_path, "2001:db8::/32 lab\n2001:db8:1::/48 bench\n::/0 six\n"))
    assert [at(zone, a) for a in ("2001:db8:1::1", "2001:db8:2::1", "fe80::1", "10.0.0.1")] == [
        "bench", "lab", "six", None,
    ]  # fmt: skip


def test_comments_blank_lines_and_a_heading_say_nothing(tmp_path):
    zone = zones(written(tmp_path, "# zones\n\n  # more\nCIDR,zone\n10.0.0.0/8,ten zone\n"))
    assert at(zone, "10.0.0.1") == "ten zone"


def test_an_empty_table_knows_no_zone(tmp_path):
    assert at(zones(written(tmp_path, "")), "10.0.0.1") is None


@pytest.mark.parametrize(
    ("content", "line", "words"),
    [
        ("10.0.0.0/8", 1, "not a network and its zone"),
        ("10.0.0.0/8 a b", 1, "not a network and its zone"),
        ("10.0.0.0/8,", 1, "not a network and its zone"),
        (",a", 1, "not a network and its zone"),
        ("10.0.0.0/8,a,b", 1, "not a network and its zone"),
        ("10.0.0.0/8 a\n\n10.0.0.1/8 b", 3, "bits beyond its length"),
        ("here there", 1, "'here' is no network"),
        ("fe80::%eth0/64 a", 1, "is no network"),
        ("10.0.0.0/33 a", 1, "is no network"),
        ("10.0.0.0/8 a\n10.0.0.0/8 b", 2, "in zone 'b', but in 'a' on line 1"),
        (b"10.0.0.0/8 \xff", 1, "not UTF-8"),
        ("10.0.0.0/8 \x1b[31m", 1, "printable"),
        ("10.0.0.0/8 " + "x" * 256, 1, "printable"),
        ("10.0.0.0/8 " + "x" * 5000, 1, "longer than"),
        ("10.0.0.0/8 a\ncidr zone", 2, "is no network"),
        ('10.0.0.0/8,"a\rb', 1, ""),
        (b"\x00" * 100, 1, ""),
    ],
)
def test_a_line_that_is_none_is_told_with_its_number(tmp_path, content, line, words):
    path = written(tmp_path, content)
    with pytest.raises(TcpsightError) as told:
        zones(path)
    assert str(told.value).startswith(f"{path}, line {line}: ")
    assert words in str(told.value)


def test_the_same_line_twice_is_no_contradiction(tmp_path):
    assert at(zones(written(tmp_path, "10.0.0.0/8 a\n10.0.0.0/8 a\n")), "10.1.1.1") == "a"


@pytest.mark.parametrize("read", [zones, countries])
def test_a_file_that_is_not_there_is_told(tmp_path, read):
    with pytest.raises(TcpsightError, match="No such file"):
        read(tmp_path / "none")
    with pytest.raises(TcpsightError, match="directory"):
        read(tmp_path)


# --- countries

COUNTRIES = {
    "192.0.2.0/24": {
        "country": {"iso_code": "DE", "names": {"en": "Germany"}},
        "registered_country": {"iso_code": "US"},
    },
    "198.51.100.0/24": {"country_code": "fr", "country": "France"},
    "203.0.113.0/25": {"country": "AT"},
    "203.0.113.128/25": {"registered_country": {"iso_code": "US"}},
    "2001:db8::/32": {"country": {"iso_code": "NZ"}},
    "10.0.0.0/24": {"country": {"iso_code": "\x1b["}},
    "10.0.1.0/24": ["no", "map"],
    "10.0.2.0/24": "text",
    "10.0.3.0/24": {"country": "Somewhere"},
}


@pytest.mark.parametrize(
    ("address", "country"),
    [
        ("192.0.2.7", "DE"),
        ("198.51.100.7", "FR"),
        ("203.0.113.7", "AT"),
        ("203.0.113.200", None),
        ("2001:db8::7", "NZ"),
        ("2001:db9::7", None),
        ("192.0.3.1", None),
        ("10.0.0.1", None),
        ("10.0.1.1", None),
        ("10.0.2.1", None),
        ("10.0.3.1", None),
    ],
)
def test_the_country_is_where_the_address_is_not_where_it_is_registered(tmp_path, address, country):
    assert at(countries(written(tmp_path, mmdb_bytes(COUNTRIES))), address) == country


def test_a_database_of_ipv4_knows_nothing_of_ipv6(tmp_path):
    place = countries(written(tmp_path, mmdb_bytes({"192.0.2.0/24": {"country": {"iso_code": "DE"}}}, ip_version=4)))
    assert [at(place, a) for a in ("192.0.2.7", "2001:db8::1")] == ["DE", None]


@pytest.mark.parametrize("content", [b"", b"no database", b"10.0.0.0/8 a\n", b"\xab\xcd\xefMaxMind.com", bytes(100_000),
                                     b"\xab\xcd\xefMaxMind.com\xe1\x41a\x41b"])  # fmt: skip
def test_a_file_that_is_no_database_is_told(tmp_path, content):
    with pytest.raises(TcpsightError, match="no database in MaxMind's format"):
        countries(written(tmp_path, content))


def test_a_damaged_database_is_told_or_gives_a_country(tmp_path):
    whole = mmdb_bytes(COUNTRIES)
    told = 0
    for place in range(len(whole)):
        for byte in (0xFF, whole[place] ^ 0x20):
            damaged = written(tmp_path, whole[:place] + bytes([byte]) + whole[place + 1 :])
            try:
                found = countries(damaged)
                codes = {at(found, address) for address in ("192.0.2.7", "2001:db8::7", "198.51.100.7")}
            except TcpsightError:
                told += 1
            else:
                assert all(code is None or (len(code) == 2 and code.isalpha()) for code in codes)
    assert told > 60


def test_the_file_may_be_replaced_while_it_is_used(tmp_path):
    path = written(tmp_path, mmdb_bytes(COUNTRIES))
    place = countries(path)
    path.write_bytes(b"")
    assert at(place, "192.0.2.7") == "DE"


def test_a_missing_library_is_told_with_the_way_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "maxminddb", None)
    with pytest.raises(UsageError, match=r"pip install 'tcpsight\[country\]'"):
        countries(written(tmp_path, mmdb_bytes(COUNTRIES)))
