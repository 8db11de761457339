"""Adam and AdamW."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from troupe.optim.moments import record_with_moments
from troupe.optim.optimizer import Optimizer, Update
from troupe.optim.schedule import Schedule


class Adam(Optimizer):
    """Adam with the weight decay added to the gradient, as in PyTorch."""

    decoupled = False

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Schedule = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ):
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    def update(self, update: Update) -> None:
        operands = update.value, update.gradient, update.lr, update.scale, update.ok, update.step
        value = record_with_moments(update, "adamw", *operands, decoupled=int(self.decoupled))
        update.assign(update.value, value)


class AdamW(Adam):
    """Adam with decoupled weight decay, as in PyTorch."""

    decoupled = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Schedule = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ):
        super().__init__(params, lr, betas, eps, weight_decay)
