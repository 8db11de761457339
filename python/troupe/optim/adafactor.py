"""Adafactor."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from troupe._troupe import PlanError
from troupe.dtypes import numpy_dtype
from troupe.optim.optimizer import Optimizer, Update
from troupe.optim.schedule import Schedule
from troupe.tensor import Tensor
from troupe.trace import record


class Adafactor(Optimizer):
    """Of a matrix's second moment it keeps the means of rows and columns alone (Shazeer and Stern 2018), as in PyTorch.

    A parameter of two or more dims has the state "row_var", without its last dim, and "col_var", without the one
    before; a smaller one has "variance". lr is a bound on the rate relative to the parameter's root mean square, or to
    eps[1] where that is smaller; d bounds the root mean square of the update. eps[0] None: the distance from 1 to the
    next number.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Schedule = 1e-2,
        beta2_decay: float = -0.8,
        eps: tuple[float | None, float] = (None, 1e-3),
        d: float = 1.0,
        weight_decay: float = 0.0,
    ):
        defaults = {"lr": lr, "beta2_decay": beta2_decay, "eps": eps, "d": d, "weight_decay": weight_decay}
        super().__init__(params, defaults)
        for group in self.param_groups:
            if group["beta2_decay"] > 0 or group["d"] < 1:
                raise PlanError(
                    f"Adafactor: beta2_decay={group['beta2_decay']} must be at most 0 and d={group['d']} at least 1"
                )

    def update(self, update: Update) -> None:
        options = update.options
        dtype = update.parameter.dtype
        least = options["eps"][0] if options["eps"][0] is not None else float(np.finfo(numpy_dtype(dtype)).eps)
        factored = len(update.parameter.shape) > 1
        moments = _factors(update) if factored else [_moment(update, "variance", None, update.gradient)]
        direction = record("adafactor_direction", update.gradient, update.scale, *moments, eps=float(least))
        rate = record(
            "adafactor_rate",
            update.lr,
            update.step,
            update.sum_of_squares(update.value),
            update.sum_of_squares(direction),
            eps=float(options["eps"][1]),
            d=float(options["d"]),
            elements=update.value.numel(),
        )
        update.apply(direction, rate, options["weight_decay"])


def _moment(update: Update, kind: str, dims: list[int] | None, x: Tensor) -> Tensor:
    """A moving mean after this step: of x, which holds squares, or of the square of x where `dims` is None."""
    before = update.state(kind, dims)
    decay = float(update.options["beta2_decay"])
    operands = [before, x, update.scale, update.ok, update.step]
    after = record("adafactor_moment", *operands, beta2_decay=decay, square=int(dims is None))
    update.assign(before, after)
    return after


def _factors(update: Update) -> list[Tensor]:
    """The moving means of rows and columns, and the mean of the former."""
    dims = list(range(len(update.parameter.shape)))
    row, column = dims[-1], dims[-2]
    found = []
    for kind, dim in (("row_var", row), ("col_var", column)):
        squares = record("mean_squares", update.gradient, dim=dim)
        found.append(_moment(update, kind, [d for d in dims if d != dim], squares))
    return [*found, found[0].mean(-1)]
