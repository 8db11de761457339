"""Optimizers side by side."""

from __future__ import annotations

from collections.abc import Sequence

from troupe._troupe import PlanError
from troupe.optim.optimizer import Optimizer, Update
from troupe.tensor import Tensor


class Combined(Optimizer):
    """Several optimizers as one, each over parameters of its own: `Combined(Muon(matrices), AdamW(rest))`. Its groups
    are theirs, one after another; the rate among a step's metrics is that of the first."""

    def __init__(self, *optimizers: Optimizer):
        if not optimizers:
            raise PlanError("Combined: no optimizer is given")
        self.optimizers = optimizers
        self.param_groups = [group for optimizer in optimizers for group in optimizer.param_groups]
        seen: set[int] = set()
        for parameter in (p for group in self.param_groups for p in group["params"]):
            if id(parameter) in seen:
                raise PlanError(f"Combined: two of the optimizers hold the parameter '{parameter.path}'")
            seen.add(id(parameter))

    def rates(self, steps: Tensor) -> list[Tensor]:
        return [rate for optimizer in self.optimizers for rate in optimizer.rates(steps)]

    def record_updates(self, updates: Sequence[Update]) -> None:
        for optimizer in self.optimizers:
            optimizer.record_updates([u for u in updates if optimizer.group_of(u.parameter) is not None])
