"""A training step replayed as one CUDA graph.

A graph starts the hundreds of kernels of a step at once, where starting them one by one takes
longer than they do.

Gain: most of the benchmark "CUDA, ResNet-18, 28x28, batch 16: times the plain loop".
Where: CUDA, optimizers that can be captured, losses that are not scaled. The last, shorter batch of
an epoch is not replayed, and no step is where the capture fails. Called by `train.fit`.
Off: `MLOPS_FAST=off`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from mlops_lib import checkpoint

EAGER_STEPS = 3  # before the capture: libraries and optimizer set themselves up
Inputs = tuple[torch.Tensor, ...]


def replayed(step: Any) -> Any:
    """Return what replays a `train.Step`, or the step itself where it can't be captured."""
    return GraphedStep(step) if can_capture(step) else step


def can_capture(step: Any) -> bool:
    """Return whether a `train.Step` can be captured as a CUDA graph."""
    # SGD counts no steps; of those that do, the ones that can be captured say so.
    is_sgd = isinstance(step.optimizer, torch.optim.SGD)
    capturable = step.optimizer.defaults.get("capturable", is_sgd)
    scales = step.device.amp_dtype == torch.float16  # losses, by a factor that the host decides
    return step.device.is_cuda and capturable and not scales


class GraphedStep:
    """A `train.Step` that becomes a CUDA graph after `EAGER_STEPS` steps of full batches.

    Called, as a `train.Step` is, with what `batches` yields, it returns the loss.
    """

    def __init__(self, step: Any) -> None:
        self.step, self.network = step, step.network
        self.side = _side_stream(step.network)  # for the steps before the capture
        self.eager_steps = self.full_steps = 0
        self.full_size = 0  # of the largest batch so far
        self.may_capture = True
        self.replay: Callable[[], None] | None = None
        self.inputs: Inputs = ()  # the graph's own: it reads nothing else
        self.loss = torch.empty(0)

    @property
    def is_graphed(self) -> bool:
        """Return whether steps are replayed."""
        return self.replay is not None

    def __call__(self, inputs: Inputs) -> torch.Tensor:
        size = len(inputs[0])
        if size > self.full_size:
            self.full_size, self.full_steps = size, 0
        if self.may_capture and self.replay is None and size == self.full_size:
            if self.full_steps >= EAGER_STEPS:
                self._capture(inputs)
            self.full_steps += 1
        if self.replay is None or size != len(self.inputs[0]):
            self.eager_steps += 1
            with _within(None if self.replay else self.side):
                return self.step(inputs)
        for own, new in zip(self.inputs, inputs, strict=True):
            own.copy_(new, non_blocking=True)
        self.replay()
        return self.loss.clone()

    def _capture(self, inputs: Inputs) -> None:
        self.inputs = tuple(part.clone() for part in inputs)

        def work() -> None:
            self.loss = self.step(self.inputs)

        try:
            self.replay = capture(work)
        except RuntimeError as error:
            self.may_capture, self.side = False, None
            while isinstance(error.__context__, RuntimeError):  # what the end of a capture hides
                error = error.__context__
            reason = checkpoint.first_line(error)
            print(f"no CUDA graph, steps are launched one by one: {reason}", flush=True)


def capture(work: Callable[[], None]) -> Callable[[], None]:
    """Record `work` as a CUDA graph, without doing it; return what does it.

    Raises RuntimeError where the work can't be captured.
    """
    graph = torch.cuda.CUDAGraph()
    # A DataLoader's thread may pin memory meanwhile. Where a capture fails, torch may leave its
    # stream the current one.
    with (
        torch.cuda.stream(torch.cuda.current_stream()),
        torch.cuda.graph(graph, capture_error_mode="thread_local"),
    ):
        work()
    return graph.replay


def _side_stream(network: torch.nn.Module) -> torch.cuda.Stream | None:
    """Return a new CUDA stream of the network's device; None on a CPU."""
    device = next(network.parameters()).device
    return torch.cuda.Stream(device) if device.type == "cuda" else None


@contextmanager
def _within(side: torch.cuda.Stream | None) -> Iterator[None]:
    """Work in a side stream, as what comes before a capture has to; in None, as usual."""
    if side is None:
        yield
        return
    main = torch.cuda.current_stream(side.device)
    side.wait_stream(main)
    with torch.cuda.stream(side):
        yield
    main.wait_stream(side)
