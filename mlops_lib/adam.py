"""Adam (Kingma & Ba, 2015, arXiv:1412.6980) for steps of some twenty milliseconds."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch.utils.hooks import RemovableHandle


class LeanAdam(torch.optim.Adam):
    """torch's fused Adam for short steps on a CPU: the same numbers, the same state.

    A large weight is updated in the backward pass, as soon as its gradient is there and while
    both are in the processor's cache; its gradient is gone afterwards. `step` does the rest,
    without collecting weights and moments anew, which takes a thirtieth of a small step.
    The first step, that after `load_state_dict`, and those with scaled losses are torch's own.
    It is for one backward pass a step, with a gradient for every weight. Whoever is done with it
    calls `release`: until then it updates the weights in every backward pass.
    """

    LARGE = 200_000  # numbers
    small: tuple[Any, ...] = ()  # weights, their moments, and what counts their steps
    hooks: tuple[RemovableHandle, ...] = ()  # on the large weights

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self.release()

    def release(self) -> None:
        """Leave the weights alone; the next step is torch's own again."""
        for hook in self.hooks:
            hook.remove()
        self.small, self.hooks = (), ()

    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update what the backward pass has not."""
        if not self.small:
            super().step()
            if getattr(self, "grad_scale", None) is None:
                self._collect()
        elif self.small[0]:
            self._update(*self.small)

    def _collect(self) -> None:
        weights = self.param_groups[0]["params"]
        self.small = self._state_of([one for one in weights if one.numel() < self.LARGE])
        self.hooks = tuple(
            one.register_post_accumulate_grad_hook(partial(self._early, self._state_of([one])))
            for one in weights
            if one.numel() >= self.LARGE
        )

    def _state_of(self, weights: list[torch.Tensor]) -> tuple[Any, ...]:
        states = [self.state[one] for one in weights]
        counts = torch.tensor([state["step"].item() for state in states])  # raised all at once
        for state, count in zip(states, counts, strict=True):
            state["step"] = count
        names = "exp_avg", "exp_avg_sq", "step"
        return weights, *([state[name] for state in states] for name in names), counts

    def _early(self, collected: tuple[Any, ...], weight: torch.Tensor) -> None:
        self._update(*collected)
        weight.grad = None

    @torch.no_grad()
    def _update(
        self,
        weights: list[torch.Tensor],
        means: list[torch.Tensor],
        squares: list[torch.Tensor],
        steps: list[torch.Tensor],  # the entries of `counts`
        counts: torch.Tensor,
    ) -> None:
        (group,) = self.param_groups
        beta1, beta2 = group["betas"]
        gradients: list[Any] = [one.grad for one in weights]
        counts.add_(1)
        torch._fused_adam_(
            weights, gradients, means, squares, [], steps,
            lr=group["lr"], beta1=beta1, beta2=beta2, eps=group["eps"],
            weight_decay=group["weight_decay"], amsgrad=False, maximize=False,
        )  # fmt: skip
