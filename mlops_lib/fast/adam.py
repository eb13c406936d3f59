"""Adam (Kingma & Ba, 2015, arXiv:1412.6980) for steps of some twenty milliseconds."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch.utils.hooks import RemovableHandle


class LeanAdam(torch.optim.Adam):
    """torch's fused Adam for short steps on a CPU: the same numbers, the same state.

    A large weight is updated in the backward pass, as soon as its gradient is there and while
    both are in the processor's cache. `step` does the rest, without collecting weights and
    moments anew and without the places torch keeps for hooks and its profiler, all of which
    takes a twentieth of a small step. Gradients are gone once they were used.
    The first step, that after `load_state_dict`, and those with scaled losses are torch's own.
    It is for one backward pass a step, with a gradient for every weight. Whoever is done with it
    calls `release`: until then it updates the weights in every backward pass.
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
        """Have all that an update takes at hand; from now on, large weights do not wait."""
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
