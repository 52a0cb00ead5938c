"""One frame for each way in which TCP may be packed: link types, tags, labels, tunnels, and some of them together.

Inside is always 10.0.0.1:1234 (or 2001:db8::1) to port 80 of the second address, with five bytes of payload. What is
claimed to be readable stands here, so that a test and a peer can both be asked.
"""

from __future__ import annotations

import struct
import zlib
from typing import NamedTuple

from tests.support import layers as l
from tests.support.layers import Typed, ethernet, over_udp, typed
from tests.support.pcap import ip_packet, tcp_segment

V4 = typed(ip_packet("10.0.0.1", "10.0.0.2", tcp_segment("10.0.0.1", "10.0.0.2", 1234, 80, payload=b"hello")))
V6 = typed(
    ip_packet("2001:db8::1", "2001:db8::2", tcp_segment("2001:db8::1", "2001:db8::2", 1234, 80, payload=b"hello"))
)
OTHER = typed(ip_packet("10.0.0.1", "10.0.0.2", tcp_segment("10.0.0.1", "10.0.0.2", 1235, 80)))


class Case(NamedTuple):
    """A frame and what it is packed in."""

    link_type: int
    data: bytes
    encapsulation: str = "none"


def on_ethernet(inner: Typed, encapsulation: str = "none") -> Case:
    return Case(1, ethernet(inner).data, encapsulation)


def _tags() -> dict[str, Case]:
    made = {f"tag {kind:x}": l.tagged(kind, V4) for kind in (0x8100, 0x88A8, 0x9100)}
    made |= {
        "three tags": l.tagged(0x88A8, l.tagged(0x8100, l.tagged(0x8100, V6))),
        "802.1ah": l.backbone(V4),
        "802.1ah in 802.1ad": l.tagged(0x88A8, l.backbone(l.tagged(0x8100, V4))),
        "802.1BR": l.tagged(0x893F, V4, bytes(6)),
        "VN-Tag": l.tagged(0x8926, V4, bytes(4)),
        "HSR": l.tagged(0x892F, V4, b"\0\x40\0\1"),
        "security group": l.tagged(0x8909, V4, b"\1\1\0\1\0\7"),
        "MACsec without encryption": l.macsec(V4),
        "TRILL": l.trill(V4),
        "TRILL with options": l.trill(V4, bytes(8)),
        "PPPoE": l.pppoe(V4),
        "PPPoE with IPv6 in a tag": l.tagged(0x8100, l.pppoe(V6)),
        "MPLS": l.labelled(V4),
        "MPLS with IPv6": l.labelled(V6),
        "five labels": l.labelled(V4, 5),
        "pseudowire with a control word": l.pseudowire(V4),
        "pseudowire with a tag": l.pseudowire(l.tagged(0x8100, V4)),
        "NSH": l.nsh(V4),
        "NSH with Ethernet": l.nsh(ethernet(V6)),
        "authenticated": l.authenticated(V4),
    }
    cases = {name: on_ethernet(inner) for name, inner in made.items()}
    cases["LLC and SNAP"] = Case(1, l.ethernet_llc(V4).data)
    # The outer frame's check sequence: some peers insist on one.
    cases["FabricPath"] = Case(1, ethernet(l.fabricpath(V4)).data + bytes(4))
    return cases


def _ip_tunnels() -> dict[str, Case]:
    made = {
        "4 in 4": ("ip_in_ip", l.ip_in_ip(V4)),
        "6 in 4": ("ip_in_ip", l.ip_in_ip(V6)),
        "4 in 6": ("ip_in_ip", l.ip_in_ip(V4, 6)),
        "6 in 6": ("ip_in_ip", l.ip_in_ip(V6, 6)),
        "GRE": ("gre", l.gre(V4)),
        "GRE with IPv6 over IPv6": ("gre", l.gre(V6, version=6)),
        "GRE with everything optional": ("gre", l.gre(V4, 0xB000)),
        "GRE with MPLS": ("gre", l.gre(l.labelled(V4, 2))),
        "GRE with Ethernet": ("gre", l.gre(ethernet(V4))),
        "NVGRE": ("nvgre", l.gre(ethernet(V4), 0x2000)),
        "PPTP": ("gre", l.pptp(V4)),
        "PPTP with an acknowledgment": ("gre", l.pptp(V4, acknowledges=True)),
        "WCCP": ("gre", l.gre(Typed(0x883E, bytes(4) + V4.data))),
        "ERSPAN I": ("erspan", l.erspan(V4, 1)),
        "ERSPAN II": ("erspan", l.erspan(l.tagged(0x8100, V4), 2)),
        "ERSPAN III": ("erspan", l.erspan(V4, 3)),
        "ERSPAN III with a subheader": ("erspan", l.erspan(V4, 4)),
        "EtherIP": ("ethernet_in_ip", l.over_ip(97, b"\x30\0" + ethernet(V4).data)),
        "MPLS in IP": ("mpls_in_ip", l.over_ip(137, l.labelled(V4).data)),
        "L2TPv3 in IP": ("l2tp", l.l2tp3(V4)),
    }
    return {name: on_ethernet(inner, kind) for name, (kind, inner) in made.items()}


def _udp_tunnels() -> dict[str, Case]:
    container = ((0x85, b"\1\2"),)
    made = {
        "VXLAN": ("vxlan", l.vxlan(V4)),
        "VXLAN on Linux's port": ("vxlan", l.vxlan(V6, port=8472)),
        "VXLAN over IPv6": ("vxlan", l.vxlan(V4, version=6)),
        "VXLAN with a group": ("vxlan", l.vxlan(V4, 0x88000007)),
        "VXLAN-GPE with IP": ("vxlan", l.vxlan_gpe(V4)),
        "VXLAN-GPE with Ethernet": ("vxlan", l.vxlan_gpe(ethernet(V4))),
        "VXLAN-GPE with NSH": ("vxlan", l.vxlan_gpe(l.nsh(V4))),
        "Geneve with Ethernet": ("geneve", l.geneve(ethernet(V4))),
        "Geneve with IPv6": ("geneve", l.geneve(V6)),
        "Geneve with options over IPv6": ("geneve", l.geneve(ethernet(V4), bytes.fromhex("0102000100000001"), 6)),
        "GTP-U": ("gtp", l.gtp(V4)),
        "GTP-U with a sequence number": ("gtp", l.gtp(V6, flags=0x32)),
        "GTP-U with an extension": ("gtp", l.gtp(V4, container)),
        "GTP-U with two extensions over IPv6": ("gtp", l.gtp(V4, (*container, (0xC0, b"\0\1")), version=6)),
        "Teredo": ("teredo", l.teredo(V6)),
        "Teredo with an origin": ("teredo", l.teredo(V6, b"\0\0" + bytes(6))),
        "Teredo with authentication": ("teredo", l.teredo(V6, b"\0\1\0\0" + bytes(9))),
        "L2TP": ("l2tp", l.l2tp(V4)),
        "L2TP with everything optional": ("l2tp", l.l2tp(V4, 0x4A02)),
        "MPLS in UDP": ("mpls_in_ip", over_udp(6635, l.labelled(V4, 2).data)),
        "TZSP": ("tzsp", l.tzsp(V4)),
    }
    return {name: on_ethernet(inner, kind) for name, (kind, inner) in made.items()}


def _deep() -> dict[str, Case]:
    made = {
        "VXLAN in VXLAN": ("vxlan", l.vxlan(l.vxlan(V4))),
        "Geneve around GRE": ("geneve", l.geneve(ethernet(l.gre(V4)))),
        "IP in IP in VXLAN in GTP-U": ("ip_in_ip", l.gtp(l.vxlan(l.ip_in_ip(V4)))),
        "mirrored VXLAN": ("vxlan", l.erspan(l.tagged(0x8100, l.vxlan(V4)), 2)),
        "labels around tunnels": ("gre", l.labelled(l.gre(V4), 3)),
        "tags, PPPoE and a tunnel": ("ip_in_ip", l.tagged(0x88A8, l.tagged(0x8100, l.pppoe(l.ip_in_ip(V6))))),
    }
    made["Geneve around GRE"] = ("gre", made["Geneve around GRE"][1])
    return {name: on_ethernet(inner, kind) for name, (kind, inner) in made.items()}


def _lines() -> dict[str, Case]:
    inner = ethernet(V4).data
    routed = l.MACS[:6] + b"\x82" + l.MACS[7:] + bytes.fromhex("06300011001f")
    juniper = b"MGC\x80\0\6\1\1\1\3\1\6"
    return {
        "PPP": Case(9, l.ppp(V4, framing=b"\xff\3").data),
        "PPP without framing": Case(9, l.ppp(V6).data),
        "PPP with MPLS": Case(9, l.ppp(l.labelled(V4), framing=b"\xff\3").data),
        "PPP in HDLC": Case(50, l.ppp(V4, framing=b"\xff\3").data),
        "PPP with a short protocol": Case(50, l.ppp(V4, framing=b"\xff\3", is_short=True).data),
        "PPP multilink": Case(9, b"\xff\3" + l.multilink(V4).data),
        "PPP with a direction": Case(204, b"\0" + l.ppp(V4, framing=b"\xff\3").data),
        "PPP of pppd": Case(166, b"\1\3" + l.ppp(V4).data),
        "PPPoE alone": Case(51, l.pppoe(V4).data),
        "Cisco HDLC": Case(104, l.hdlc(V4)),
        "Cisco HDLC with MPLS": Case(104, l.hdlc(l.labelled(V6, 2))),
        "Cisco HDLC in a PPP file": Case(50, l.hdlc(V4)),
        "Cisco HDLC with a direction": Case(205, b"\0" + l.hdlc(V4)),
        "frame relay": Case(107, l.frame_relay(V4)),
        "frame relay with SNAP": Case(107, l.frame_relay(l.labelled(V4))),
        "frame relay with a long address": Case(107, l.frame_relay(V6, b"\x18\x40\x20\x01")),
        "frame relay of Cisco": Case(107, b"\x18\x41" + struct.pack(">H", 0x0800) + V4.data),
        "frame relay with a direction": Case(206, b"\0" + l.frame_relay(V4)),
        "SLIP": Case(8, b"\0\x45" + bytes(14) + V4.data),
        "ATM": Case(100, l.llc(V4)),
        "ATM on Sun": Case(123, b"\x82\0\0\x20" + l.llc(V4)),
        "classical IP over ATM": Case(106, l.llc(V4)),
        "classical IP over ATM without LLC": Case(106, V4.data),
        "FDDI": Case(10, b"\x54" + l.MACS + l.llc(V4)),
        "token ring": Case(6, b"\x10\x40" + l.MACS + l.llc(V4)),
        "token ring with a route": Case(6, b"\x10\x40" + routed + l.llc(V4)),
        "IP over Fibre Channel": Case(122, bytes(16) + l.llc(V4)),
        "IP over FireWire": Case(138, bytes(16) + struct.pack(">H", 0x0800) + V4.data),
        "Juniper Ethernet": Case(178, juniper + inner),
        "Juniper PPP": Case(179, juniper + l.ppp(V4, framing=b"\xff\3").data),
        "Juniper frame relay": Case(180, juniper + l.frame_relay(V4)),
        "Juniper HDLC": Case(181, juniper + l.hdlc(V4)),
        "Juniper PPPoE": Case(167, juniper + inner),
        "Juniper PPPoE on ATM": Case(168, juniper + struct.pack(">H", 0x0800) + V4.data),
        "Juniper ATM 1": Case(137, juniper + bytes(4) + l.llc(V4)),
        "Juniper services": Case(136, juniper + bytes(8) + V4.data),
        "Juniper monitor": Case(164, juniper + bytes(8) + V4.data),
        "Juniper GGSN": Case(133, juniper + b"\0\0\2\0\0\0\0\0" + V4.data),
        "Juniper without link header": Case(178, b"MGC\2" + bytes(4) + V4.data),
    }  # fmt: skip


def _wifi() -> dict[str, Case]:
    return {
        "Wi-Fi": Case(105, l.wifi(V4)),
        "Wi-Fi to the access point": Case(105, l.wifi(V6, 0x0108)),
        "Wi-Fi with QoS": Case(105, l.wifi(V4, 0x0288, qos=b"\0\0")),
        "Wi-Fi with QoS and HT control": Case(105, l.wifi(V4, 0x8288, qos=bytes(6))),
        "Wi-Fi with four addresses": Case(105, l.wifi(V4, 0x0308, extra=bytes(6))),
        "Wi-Fi with four addresses and QoS": Case(105, l.wifi(V4, 0x0388, extra=bytes(6), qos=b"\0\0")),
        "Wi-Fi with MPLS": Case(105, l.wifi(l.labelled(V4))),
        "radiotap": Case(127, l.radiotap(l.wifi(V4))),
        "radiotap and a check sequence": Case(127, l.radiotap(l.wifi(V4) + bytes.fromhex("b57a8d9b"), 0x10)),
        "radiotap and padding": Case(127, l.radiotap(l.wifi(V4, 0x0288, qos=bytes(4)), 0x20)),
        "radiotap with two words of fields": Case(127, struct.pack("<BBHII", 0, 0, 12, 0x80000000, 0) + l.wifi(V4)),
        "AVS": Case(163, struct.pack(">II", 0x80211001, 64) + bytes(56) + l.wifi(V4)),
        "AVS in a Prism file": Case(119, struct.pack(">II", 0x80211001, 64) + bytes(56) + l.wifi(V4)),
        "Prism": Case(119, struct.pack("<II", 0x44, 144) + bytes(136) + l.wifi(V4)),
        "PPI with Wi-Fi": Case(192, struct.pack("<BBHI", 0, 0, 8, 105) + l.wifi(V4)),
        "A-MSDU of one": Case(105, l.amsdu(V4)),
    }


def _records() -> dict[str, Case]:
    frame = ethernet(V4).data
    erf = struct.pack(">QBBHHH", 0, 2, 4, 18 + len(frame), 0, len(frame)) + bytes(2) + frame
    more = struct.pack(">QBBHHH", 0, 0x82, 4, 34 + len(frame), 0, len(frame)) + b"\x83" + bytes(7) + b"\3" + bytes(9)
    pktap = struct.pack("<III", 108, 1, 1) + bytes(96)
    attributes = struct.pack("<HHI", 8, 1, 7) + struct.pack("<HH", 7, 10) + b"ab\0\0"
    nflog = struct.pack(">BBH", 2, 0, 0) + attributes + struct.pack("<HH", 4 + len(V4.data), 9) + V4.data + bytes(3)
    big_nflog = b"\2\0\0\0" + struct.pack(">HHIHH", 8, 1, 7, 4 + len(V4.data), 9) + V4.data + bytes(3)
    cooked1 = struct.pack(">HHH8s", 0, 770, 6, bytes(8)) + struct.pack(">H", 0x0800)
    cooked2 = struct.pack(">HHIHBB8s", 0x0800, 0, 3, 803, 0, 6, bytes(8))
    return {
        "PPI": Case(192, struct.pack("<BBHI", 0, 0, 8, 1) + frame),
        "PPI with a field": Case(192, struct.pack("<BBHIHH8s", 0, 0, 20, 1, 9, 8, bytes(8)) + frame),
        "pktap": Case(258, pktap + frame),
        "pktap under a private number": Case(149, pktap + frame),
        "NFLOG": Case(239, nflog),
        "NFLOG of a big-endian machine": Case(239, big_nflog),
        "pflog": Case(117, b"\x3d\2" + bytes(62) + V4.data),
        "ENC": Case(109, struct.pack("<III", 2, 0, 0) + V4.data),
        "IPNET": Case(226, struct.pack(">BBHIIIII", 1, 2, 0, len(V4.data), 1, 1, 0, 0) + V4.data),
        "exported packet": Case(252, struct.pack(">HH", 12, 4) + b"ip\0\0" + bytes(4) + V4.data),
        "exported frame": Case(252, struct.pack(">HH", 12, 16) + b"eth_withoutfcs\0\0" + bytes(4) + frame),
        "ERF": Case(197, erf),
        "ERF with extensions": Case(197, more + frame),
        "DOCSIS": Case(143, struct.pack(">BBHH", 0, 0, len(frame), 0) + frame),
        "DOCSIS with an element": Case(143, struct.pack(">BBH", 1, 2, 2 + len(frame)) + b"\x10\0\0\0" + frame),
        "netANALYZER": Case(240, bytes(4) + frame),
        "netANALYZER, transparent": Case(241, bytes(4) + b"\x55" * 7 + b"\xd5" + frame),
        "mPacket": Case(274, b"\x55" * 7 + b"\xd5" + frame + struct.pack("<I", zlib.crc32(frame))),
        "Broadcom's tag": Case(281, frame[:12] + bytes.fromhex("00000001") + frame[12:]),
        "Broadcom's tag before": Case(282, bytes.fromhex("00000001") + frame),
        "Marvell's tag": Case(284, frame[:12] + bytes.fromhex("00080001") + frame[12:]),
        "Marvell's tag with a type": Case(285, frame[:12] + bytes.fromhex("dada000000080001") + frame[12:]),
        "frame relay captured on any": Case(113, cooked1 + l.frame_relay(V4)),
        "Wi-Fi captured on any": Case(276, cooked2 + l.radiotap(l.wifi(V4))),
        "LLC captured on any": Case(113, struct.pack(">HHH8sH", 0, 1, 6, bytes(8), 4) + l.llc(V4)),
        "Ethernet in GRE captured on any": Case(113, struct.pack(">HHH8sH", 0, 778, 6, bytes(8), 0x6558) + frame),
    }  # fmt: skip


CASES = _tags() | _ip_tunnels() | _udp_tunnels() | _deep() | _lines() | _wifi() | _records()
"""What is read, by a name."""
