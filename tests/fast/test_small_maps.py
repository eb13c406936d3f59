from torch import nn

from mlops_lib.fast.small_maps import SmallMapConv2d


def test_a_small_map_is_multiplied_without_its_padding():
    conv = nn.Conv2d(1, 1, 3, padding=1, bias=False)
    plan = SmallMapConv2d(conv, 2, 2).plan
    assert len(plan.pixels) == 16  # of 4 outputs x 9 taps the pairs that hold a pixel
    assert (plan.taps, plan.meetings) == ([4, 4, 1], [4, 8, 4])  # corners, edges, the centre
