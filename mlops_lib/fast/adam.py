"""Adam that updates large weights in the backward pass (Kingma & Ba, 2015, arXiv:1412.6980).

A large weight is updated as soon as its gradient is there, while both are in the processor's cache.
The rest is updated without collecting weights and moments again at each step, and without the
places that torch keeps for hooks and its profiler: a twentieth of a small step.

Gain: part of the benchmark "ResNet-18, 28x28, batch 16: times the plain loop".
Where: torch's fused Adam on a CPU; other optimizers stay as they are. Called by `train.fit`.
It calls `torch._fused_adam_`, a private function of torch's.
Off: `MLOPS_FAST=off`.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch.utils.hooks import RemovableHandle


def in_backward(optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """Return a `LeanAdam` in place of a new fused Adam on a CPU; any other optimizer itself."""
    if type(optimizer) is not torch.optim.Adam or not optimizer.defaults["fused"]:
        return optimizer
    if any(one.is_cuda for group in optimizer.param_groups for one in group["params"]):
        return optimizer
    return LeanAdam([dict(group) for group in optimizer.param_groups], fused=True)


def release(optimizer: torch.optim.Optimizer) -> None:
    """Let go of the weights of an optimizer that updates them in the backward pass."""
    if isinstance(optimizer, LeanAdam):
        optimizer.release()


class LeanAdam(torch.optim.Adam):
    """torch's fused Adam for short steps on a CPU: the same numbers, the same state.

    Large weights are updated in the backward pass, the others in `step`. Gradients are gone once
    they were used. The first step, the one after `load_state_dict`, and those with scaled losses
    are torch's own. It is for one backward pass a step, with a gradient for every weight, and it
    updates weights in every backward pass until `release` is called.
    """

    LARGE = 200_000  # numbers
    small: tuple[Any, ...] = ()  # weights, their moments, and the entries of `counts` for them
    hooks: tuple[RemovableHandle, ...] = ()  # on the large weights
    counts: torch.Tensor  # of steps, one a weight
    is_counted = False  # whether `counts` has the step that is being taken

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self.release()

    def release(self) -> None:
        """Leave the weights alone; the next step is torch's own again."""
        for hook in self.hooks:
            hook.remove()
        self.small, self.hooks = (), ()

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Remove the gradients of a step that was torch's own; no other leaves any."""
        if not self.small:
            super().zero_grad(set_to_none)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update what the backward pass has not."""
        if not self.small:
            super().step()
            if getattr(self, "grad_scale", None) is None:
                self._collect()
        elif self.small[0]:
            self._update(*self.small)
        self.is_counted = False

    step.hooked = True  # type: ignore[attr-defined]  # as it is where torch has wrapped it

    def _collect(self) -> None:
        """Collect what updates need; from now on large weights are updated in the backward pass."""
        self.zero_grad()
        weights = self.param_groups[0]["params"]
        states = [self.state[one] for one in weights]
        self.counts = torch.tensor([state["step"].item() for state in states])
        for state, count in zip(states, self.counts, strict=True):
            state["step"] = count
        self.small = self._state_of([one for one in weights if one.numel() < self.LARGE])
        self.hooks = tuple(
            one.register_post_accumulate_grad_hook(partial(self._early, self._state_of([one])))
            for one in weights
            if one.numel() >= self.LARGE
        )

    def _state_of(self, weights: list[torch.Tensor]) -> tuple[Any, ...]:
        states = [self.state[one] for one in weights]
        names = "exp_avg", "exp_avg_sq", "step"
        return weights, *([state[name] for state in states] for name in names)

    def _early(self, collected: tuple[Any, ...], _: torch.Tensor) -> None:
        self._update(*collected)

    def _update(
        self,
        weights: list[torch.Tensor],
        means: list[torch.Tensor],
        squares: list[torch.Tensor],
        steps: list[torch.Tensor],
    ) -> None:
        if not self.is_counted:
            self.counts.add_(1)
            self.is_counted = True
        (group,) = self.param_groups
        beta1, beta2 = group["betas"]
        gradients: list[Any] = [one.grad for one in weights]
        torch._fused_adam_(
            weights, gradients, means, squares, [], steps,
            lr=group["lr"], beta1=beta1, beta2=beta2, eps=group["eps"],
            weight_decay=group["weight_decay"], amsgrad=False, maximize=False,
        )  # fmt: skip
        for one in weights:
            one.grad = None
