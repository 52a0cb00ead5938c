"""What link types are called, which of them are decoded, and what can be done about the others.

Numbers and names are those of the registry of LINKTYPE_ values that the tcpdump project keeps.
"""

from __future__ import annotations

from tcpsight.tables import LINK_TYPE_TEXT_LENGTHS

NAMES = {
    0: "BSD loopback",
    1: "Ethernet",
    6: "Token Ring",
    7: "ARCNET",
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
    106: "classical IP over ATM",
    107: "Frame Relay",
    108: "OpenBSD loopback",
    109: "OpenBSD enc",
    113: "Linux cooked",
    114: "LocalTalk",
    117: "OpenBSD pflog",
    119: "Wi-Fi, Prism",
    122: "IP over Fibre Channel",
    123: "SunATM",
    127: "Wi-Fi, radiotap",
    129: "ARCNET, Linux",
    130: "Juniper MLPPP",
    131: "Juniper MLFR",
    132: "Juniper ES",
    133: "Juniper GGSN",
    134: "Juniper MFR",
    135: "Juniper ATM 2",
    136: "Juniper services",
    137: "Juniper ATM 1",
    138: "IP over FireWire",
    139: "SS7 MTP2",
    140: "SS7 MTP2",
    141: "SS7 MTP3",
    142: "SS7 SCCP",
    143: "DOCSIS",
    144: "IrDA",
    163: "Wi-Fi, AVS",
    164: "Juniper monitor",
    165: "BACnet",
    166: "PPP, pppd",
    167: "Juniper PPPoE",
    168: "Juniper PPPoE on ATM",
    169: "GPRS LLC",
    177: "LAPD",
    178: "Juniper Ethernet",
    179: "Juniper PPP",
    180: "Juniper frame relay",
    181: "Juniper Cisco HDLC",
    182: "multilink frame relay",
    183: "Juniper voice",
    186: "USB, FreeBSD",
    187: "Bluetooth HCI",
    189: "USB, Linux",
    190: "CAN bus",
    192: "PPI",
    194: "Juniper ISM",
    195: "IEEE 802.15.4",
    196: "SITA",
    197: "Endace ERF",
    199: "IPMB",
    200: "Juniper secure tunnel",
    201: "Bluetooth HCI",
    202: "AX.25",
    203: "LAPD",
    204: "PPP with direction",
    205: "Cisco HDLC with direction",
    206: "Frame Relay with direction",
    207: "LAPB with direction",
    209: "IPMB",
    210: "FlexRay",
    211: "MOST",
    212: "LIN",
    215: "IEEE 802.15.4",
    220: "USB, Linux",
    226: "Solaris IPNET",
    227: "CAN bus",
    228: "IPv4",
    229: "IPv6",
    230: "IEEE 802.15.4",
    231: "D-Bus",
    233: "Juniper SRX",
    235: "DVB-CI",
    239: "Linux NFLOG",
    240: "netANALYZER",
    241: "netANALYZER, transparent",
    242: "IP over InfiniBand",
    243: "MPEG-2 transport stream",
    245: "NFC",
    247: "InfiniBand",
    248: "SCTP",
    249: "USBPcap",
    251: "Bluetooth low energy",
    252: "Wireshark upper PDU",
    253: "Linux netlink",
    254: "Bluetooth monitor",
    255: "Bluetooth baseband",
    256: "Bluetooth low energy",
    258: "Apple pktap",
    259: "EPON",
    266: "USB, macOS",
    271: "vsock",
    272: "Nordic Bluetooth sniffer",
    274: "Ethernet mPackets",
    276: "Linux cooked v2",
    281: "Ethernet, Broadcom switch tag",
    282: "Ethernet, Broadcom switch tag before",
    283: "IEEE 802.15.4",
    284: "Ethernet, Marvell switch tag",
    285: "Ethernet, Marvell switch tag with EtherType",
    288: "USB 2.0",
} | {147 + i: f"private use, USER{i}" for i in range(16)}
"""The common ones."""

_WITHOUT_TCP = """
    139 140 141 142 165 177 186 187 189 190 199 201 203 209 210 211 212 220 227 235 243 245 249 251 253 254 255 256 266
    271 272 288
"""
_DECODED = """
    0 1 6 8 9 10 12 14 50 51 100 101 104 105 106 107 108 109 113 117 119 122 123 127 133 136 137 138 143 163 164 166 167
    168 178 179 180 181 192 197 204 205 206 226 228 229 239 240 241 252 258 274 276 281 282 284 285
"""

HOLDS_NO_TCP = frozenset(map(int, _WITHOUT_TCP.split()))
"""The link types that are known and carry no TCP: signalling, buses, Bluetooth, USB, netlink."""

DECODED = frozenset(map(int, _DECODED.split())) | {LINK_TYPE_TEXT_LENGTHS}
"""The link types whose frames are understood."""


def advice(link_type: int) -> str:
    """Say what can be done about a link type that is not decoded."""
    if 147 <= link_type <= 162:
        return (
            "only its maker knows what it is; if each frame is, say, Ethernet, write the file again with"
            " `editcap -T ether IN OUT`"
        )
    return "capture on another interface, or convert the file"
