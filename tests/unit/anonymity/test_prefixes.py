"""Addresses, ports and clocks are mapped as the published vectors say, and so that prefixes stay prefixes."""

from __future__ import annotations

import ipaddress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcpsight.anonymity.keys import new_key, read_key
from tcpsight.anonymity.prefixes import KEY_BYTES, Secrets
from tcpsight.errors import UsageError

# The key and the trace that come with the authors' program (Crypto-PAn 1.0), and the same for IPv6 of yacryptopan.
SAMPLE_KEY = bytes.fromhex("1522178d33a4cf80130a5b1649907d10d8988f837979652762574c2d2a842202")
VECTORS = {
    "128.11.68.132": "135.242.180.132",
    "129.118.74.4": "134.136.186.123",
    "130.132.252.244": "133.68.164.234",
    "141.223.7.43": "141.167.8.160",
    "141.233.145.108": "141.129.237.235",
    "152.163.225.39": "151.140.114.167",
    "156.29.3.236": "147.225.12.42",
    "165.247.96.84": "162.9.99.234",
    "166.107.77.190": "160.132.178.185",
    "192.102.249.13": "252.138.62.131",
    "::1": "78ff:f001:9fc0:20df:8380:b1f1:704:ed",
    "::2": "78ff:f001:9fc0:20df:8380:b1f1:704:ef",
    "::ffff": "78ff:f001:9fc0:20df:8380:b1f1:704:f838",
    "2001:db8::1": "4401:2bc:603f:d91d:27f:ff8e:e6f1:dc1e",
    "2001:db8::2": "4401:2bc:603f:d91d:27f:ff8e:e6f1:dc1c",
}


def packed(text: str) -> bytes:
    raw = ipaddress.ip_address(text).packed
    return raw if len(raw) == 16 else bytes(10) + b"\xff\xff" + raw


def mapped(secrets: Secrets, *texts: str) -> list[str]:
    rows = np.frombuffer(b"".join(map(packed, texts)), np.uint8).reshape(-1, 16)
    found = [ipaddress.IPv6Address(row.tobytes()) for row in secrets.addresses(rows)]
    return [str(each.ipv4_mapped or each) for each in found]


def test_addresses_are_mapped_as_the_published_vectors_say():
    assert mapped(Secrets(SAMPLE_KEY), *VECTORS) == list(VECTORS.values())
    # One at a time, again and in another order too.
    secrets = Secrets(SAMPLE_KEY)
    assert [mapped(secrets, text)[0] for text in reversed(VECTORS)] == list(reversed(VECTORS.values()))


def shared(one: bytes, other: bytes) -> int:
    """Count the first bits that two addresses share."""
    return 8 * len(one) - (int.from_bytes(one, "big") ^ int.from_bytes(other, "big")).bit_length()


@pytest.mark.parametrize("width", [4, 16])
@given(st.data())
def test_addresses_share_as_many_first_bits_as_before(width, data):
    secrets = Secrets(SAMPLE_KEY)
    one = data.draw(st.binary(min_size=width, max_size=width))
    kept = data.draw(st.integers(0, 8 * width))
    other = (int.from_bytes(one, "big") >> (8 * width - kept) << (8 * width - kept)) | (
        data.draw(st.integers(0, 2 ** (8 * width) - 1)) & (2 ** (8 * width - kept) - 1)
    )
    pair = [one, other.to_bytes(width, "big")]
    found = secrets.map_bits(np.frombuffer(b"".join(pair), np.uint8).reshape(2, width))
    assert shared(found[0].tobytes(), found[1].tobytes()) == shared(*pair)


def test_each_key_maps_otherwise():
    texts = ["10.0.0.1", "2001:db8::1"]
    assert not set(mapped(Secrets(bytes(32)), *texts)) & set(mapped(Secrets(SAMPLE_KEY), *texts))


def test_every_port_is_mapped_to_one_of_its_half_and_none_twice():
    table = Secrets(SAMPLE_KEY).ports()
    assert table[0] == 0
    assert sorted(table[:32768].tolist()) == list(range(32768))
    assert sorted(table[32768:].tolist()) == list(range(32768, 65536))
    assert (table != np.arange(65536)).sum() > 65_000


def test_damage_is_the_same_for_the_same_checksum_and_never_nothing():
    damage = Secrets(SAMPLE_KEY).damage(np.arange(65536).astype(np.uint16))
    assert damage.tolist() == Secrets(SAMPLE_KEY).damage(np.arange(65536).astype(np.uint16)).tolist()
    assert not set(damage.tolist()) & {0, 0xFFFF}
    assert len(set(damage.tolist())) > 30_000


def test_a_key_is_read_raw_or_as_hex_digits(tmp_path):
    raw, text = tmp_path / "raw", tmp_path / "text"
    raw.write_bytes(SAMPLE_KEY)
    text.write_text(f"  {SAMPLE_KEY.hex()}\n")
    assert read_key(str(raw))[0] == read_key(str(text))[0] == SAMPLE_KEY
    raw.chmod(0o600)
    text.chmod(0o640)
    assert (read_key(str(raw))[1], read_key(str(text))[1]) == (False, True)


@pytest.mark.parametrize("content", [b"", b"secret words", bytes(31), bytes(33), b"z" * 64])
def test_what_is_no_key_is_refused_without_showing_it(tmp_path, content):
    file = tmp_path / "key"
    file.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        read_key(str(file))
    assert "no key" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_new_key_is_its_owners_and_replaces_none(tmp_path):
    file = tmp_path / "site.key"
    key = new_key(str(file))
    assert len(key) == KEY_BYTES
    assert file.stat().st_mode & 0o777 == 0o600
    assert read_key(str(file)) == (key, False)
    with pytest.raises(UsageError, match="File exists"):
        new_key(str(file))
    assert read_key(str(file)) == (key, False)
    assert new_key(None) != new_key(None)
