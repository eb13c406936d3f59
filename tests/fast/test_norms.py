import torch
from test_resnet import twins
from torch import nn

from mlops_lib.fast import norms


def test_batch_normalisations_count_together():
    full, live, _ = twins()
    norms.call_directly(live)
    for network in (full, live):
        network.train()(torch.randn(2, 1, 28, 28))
    counts = [name for name in full.state_dict() if name.endswith("num_batches_tracked")]
    assert {int(live.state_dict()[name]) for name in counts} == {1}
    assert live.state_dict().keys() == full.state_dict().keys()
    assert sum(len(m._forward_pre_hooks) for m in live.modules()) == 1
    norms.call_directly(full)  # as all have counted one
    full.bn1.num_batches_tracked += 1
    assert int(full.layer1[0].bn1.num_batches_tracked) == 2


def test_batch_normalisations_with_different_counts_are_left_alone():
    for unlike in (
        [nn.BatchNorm2d(3), nn.BatchNorm2d(3)],  # with unlike counts
        [nn.BatchNorm2d(3, momentum=None)],
        [nn.BatchNorm2d(3, track_running_stats=False)],
    ):
        if len(unlike) == 2:
            unlike[1].num_batches_tracked += 1
        norms.call_directly(nn.Sequential(*unlike))
        assert {type(norm) for norm in unlike} == {nn.BatchNorm2d}
