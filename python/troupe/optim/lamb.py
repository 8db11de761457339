"""LAMB."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from troupe.optim.moments import record_with_moments
from troupe.optim.optimizer import Optimizer, Update
from troupe.optim.schedule import Schedule
from troupe.trace import record


class LAMB(Optimizer):
    """Adam's direction, taken for each parameter as far as lr φ(‖p‖) / ‖direction‖ (You et al. 2020, algorithm 2).

    The direction is that of bias-corrected Adam plus weight_decay times p. φ(z) = min(max(z, clamp[0]), clamp[1]) as in
    the paper, by default up to 10 as common implementations have it; where one of the norms is 0, the factor is lr
    alone. The paper's clipping of the whole gradient is TrainStep's clip_grad_norm.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Schedule = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.01,
        clamp: tuple[float, float] = (0.0, 10.0),
    ):
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "clamp": clamp}
        super().__init__(params, defaults)

    def update(self, update: Update) -> None:
        least, most = update.options["clamp"]
        operands = update.value, update.gradient, update.scale, update.ok, update.step
        direction = record_with_moments(update, "lamb", *operands)
        squares = update.sum_of_squares(update.value), update.sum_of_squares(direction)
        rate = record("lamb_rate", update.lr, *squares, least=float(least), most=float(most))
        update.apply(direction, rate)
