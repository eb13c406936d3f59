import torch
from test_resnet import twins
from torch import nn


def test_the_first_relu_works_on_the_pooled_maps():
    full, live, _ = twins()
    sides = []
    for network in (full.double(), live.double()):
        sizes = []
        network.get_submodule("maxpool" if network is live else "relu").register_forward_hook(
            lambda _, __, y, sizes=sizes: sizes.append(tuple(y.shape))
        )
        x = torch.randn(2, 1, 28, 28, generator=torch.Generator().manual_seed(1)).double()
        x.requires_grad_()
        sides.append((sizes, *torch.autograd.grad(network(x).square().sum(), x)))
    assert [sizes for sizes, _ in sides] == [[(2, 64, 14, 14)], [(2, 64, 7, 7)]]
    assert isinstance(live.relu, nn.Identity)  # and no longer on the large ones
    assert torch.allclose(sides[0][1], sides[1][1], atol=1e-12)
