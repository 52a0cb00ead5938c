"""What link types are called, and which of them are decoded.

Numbers and names are those of the registry of LINKTYPE_ values that the tcpdump project keeps.
"""

from __future__ import annotations

from tcpsight.tables import LINK_TYPE_TEXT_LENGTHS

DECODED = frozenset({0, 1, 12, 14, 101, 108, 113, 228, 229, 276, LINK_TYPE_TEXT_LENGTHS})
"""The link types whose frames are understood."""

NAMES = {
    0: "BSD loopback",
    1: "Ethernet",
    6: "Token Ring",
    8: "SLIP",
    9: "PPP",
    10: "FDDI",
    12: "raw IP",
    14: "raw IP",
    50: "PPP in HDLC",
    51: "PPPoE",
    100: "ATM, LLC",
    101: "raw IP",
    104: "Cisco HDLC",
    105: "Wi-Fi",
    107: "Frame Relay",
    108: "OpenBSD loopback",
    113: "Linux cooked",
    117: "OpenBSD pflog",
    119: "Wi-Fi, Prism",
    122: "IP over Fibre Channel",
    127: "Wi-Fi, radiotap",
    138: "IP over FireWire",
    163: "Wi-Fi, AVS",
    187: "Bluetooth HCI",
    189: "USB, Linux",
    192: "PPI",
    195: "IEEE 802.15.4",
    201: "Bluetooth HCI",
    220: "USB, Linux",
    227: "CAN bus",
    228: "IPv4",
    229: "IPv6",
    230: "IEEE 802.15.4",
    239: "Linux NFLOG",
    247: "InfiniBand",
    249: "USBPcap",
    252: "Wireshark upper PDU",
    253: "Linux netlink",
    276: "Linux cooked v2",
}
"""The common ones."""
