"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from troupe._troupe import PlanError
from troupe.optim.optimizer import Optimizer, Update
from troupe.optim.schedule import Schedule
from troupe.trace import record


class SGD(Optimizer):
    """Stochastic gradient descent with momentum, as in PyTorch."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Schedule = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ):
        if nesterov and (momentum <= 0 or dampening != 0):
            raise PlanError("SGD: nesterov needs a momentum above 0 and no dampening")
        super().__init__(
            params,
            {
                "lr": lr,
                "momentum": momentum,
                "dampening": dampening,
                "weight_decay": weight_decay,
                "nesterov": nesterov,
            },
        )

    def update(self, update: Update) -> None:
        options = update.options
        attrs = {
            "momentum": float(options["momentum"]),
            "dampening": float(options["dampening"]),
            "weight_decay": float(options["weight_decay"]),
            "nesterov": int(options["nesterov"]),
        }
        operands = [update.value, update.gradient, update.lr, update.scale, update.ok]
        if options["momentum"] == 0:
            update.assign(update.value, record("sgd", *operands, **attrs))
            return
        momentum = update.state("momentum")
        value, next_momentum = record("sgd", *operands, momentum, update.step, **attrs)
        update.assign(update.value, value)
        update.assign(momentum, next_momentum)
