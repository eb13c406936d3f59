import torch
import torch.nn.functional as F
from test_train import small_network, source

from mlops_lib import resnet, train
from mlops_lib.fast import casts
from mlops_lib.hardware import Device


def test_weights_cast_together_train_as_those_cast_one_by_one():
    device, losses = Device(torch.device("cpu"), torch.bfloat16), []
    for together in (False, True):
        network = small_network()
        optimizer = train.make_optimizer("sgd", network, 0.05)
        step = train.Step(network, device, optimizer, source().batch)
        if together:
            step.forward = casts.casting(network, torch.bfloat16)
        losses.append(train.epoch(step, source(), 1))
    assert losses[0] == losses[1]


def test_weights_are_cast_as_autocast_does():
    torch.manual_seed(0)
    network = resnet.build("resnet18")
    resnet.remove_dead_taps(network, 1, 28, products=False)
    images = torch.randn(8, 1, 28, 28)
    grads = []
    for cast in (False, True):
        network.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            weights = casts.cast_weights(network, torch.bfloat16) if cast else {}
            assert {one.dtype for one in weights.values()} <= {torch.bfloat16}
            logits = torch.func.functional_call(network, weights, (images,))
            F.cross_entropy(logits, torch.arange(8)).backward()
        grads.append([one.grad.clone() for one in network.parameters()])
    assert all(map(torch.equal, *grads))
    assert {one.dtype for one in grads[1]} == {torch.float32}
