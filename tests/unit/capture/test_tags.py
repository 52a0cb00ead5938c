"""What stands between the link header and IP is noticed, in whole frames and in pieces of them."""

from __future__ import annotations

import io

import pytest

from tcpsight.capture import open_capture
from tcpsight.capture.tags import FIRST_FRAMES, ROUND, STRETCH, TagSurvey
from tests.support.encapsulations import V4
from tests.support.layers import ethernet, labelled, pppoe, tagged
from tests.support.pcap import pcap_bytes

ONE = ethernet(tagged(0x8100, V4)).data
PLAIN = ethernet(V4).data


def survey(frames, link_type=1):
    tags = TagSurvey()
    with open_capture([io.BytesIO(pcap_bytes(list(enumerate(frames)), link_type=link_type))]) as capture:
        assert sum(len(tags.apply(each)) for each in capture) == len(frames)
    return tags.vlan_tags, tags.has_others


@pytest.mark.parametrize(
    ("packed", "found"),
    [
        (V4, (0, False)),
        (tagged(0x9100, V4), (1, False)),
        (tagged(0x88A8, tagged(0x8100, V4)), (2, False)),
        (tagged(0x88A8, tagged(0x88A8, tagged(0x8100, V4))), (0, True)),
        (labelled(V4), (0, True)),
        (tagged(0x8100, pppoe(V4)), (0, True)),
    ],
)
def test_what_stands_in_front_of_ip_is_noticed_among_other_frames(packed, found):
    assert survey([PLAIN, ethernet(packed).data, PLAIN]) == found


def test_tags_behind_other_link_headers_have_no_capture_filter():
    cooked = bytes(14) + ONE[12:]
    assert survey([cooked], link_type=113) == (1, True)
    assert survey([bytes(14) + PLAIN[12:]], link_type=113) == (0, False)
    assert survey([ONE], link_type=101) == (0, False)


@pytest.mark.parametrize("length", range(len(ONE)))
def test_frames_that_are_cut_anywhere_are_no_harm(length):
    assert survey([ONE[:length]]) == (int(length >= 18), False)


def test_late_in_a_capture_a_tagged_run_of_frames_is_still_noticed():
    assert survey([PLAIN[:34]] * (ROUND + STRETCH // 2) + [ONE] * 10) == (1, False)
    assert survey([PLAIN[:34]] * FIRST_FRAMES + [ONE] * 10) == (0, False)
