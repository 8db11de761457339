"""Optimizers: parameter groups with options, and the update they record."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from troupe._troupe import PlanError
from troupe.nn.parameter import Parameter
from troupe.optim.schedule import Schedule
from troupe.tensor import Tensor
from troupe.trace import Trace, record


@dataclass(frozen=True)
class Update:
    """What an optimizer needs to record one parameter's update: the gradient counts times `scale`; where `ok` is 0
    nothing may change; `step` updates were made before. `lr` and `options` are those of the parameter's group.
    `sum_of_squares` is that of all elements of a tensor that lies as the parameter does; `chunk` is the parameter's, in
    a pipeline."""

    trace: Trace
    name: str
    parameter: Parameter
    value: Tensor
    gradient: Tensor
    scale: Tensor
    ok: Tensor
    step: Tensor
    lr: Tensor
    options: Mapping[str, Any]
    lay_out: Callable[[Tensor, Sequence[int]], None]
    sum_of_squares: Callable[[Tensor], Tensor]
    chunk: int

    def state(self, kind: str, dims: Sequence[int] | None = None) -> Tensor:
        """A variable of the parameter's shape and layout, zero at the start, named "optimizer.KIND.PARAMETER". With
        `dims` it has these of the parameter's dims alone, and is whole where the parameter is split by another."""
        kept = tuple(range(len(self.parameter.shape))) if dims is None else tuple(dims)
        shape = tuple(self.parameter.shape[dim] for dim in kept)
        variable = self.trace.variable(f"optimizer.{kind}.{self.name}", self.parameter.dtype, shape)
        self.lay_out(variable, kept)
        return variable

    def assign(self, variable: Tensor, value: Tensor) -> None:
        """The variable has this value after the step."""
        self.trace.graph.assign(variable.id, value.id)

    def apply(self, direction: Tensor, rate: Tensor, weight_decay: float = 0.0) -> None:
        """The parameter shrinks by lr times `weight_decay` of itself, then moves by -rate in the direction."""
        value = record(
            "apply_update", self.value, direction, self.lr, rate, self.ok, weight_decay=float(weight_decay)
        )
        self.assign(self.value, value)


class Optimizer:
    """Parameters with options, in groups: `params` is a list of parameters, or of dicts with "params" and options that
    differ from the defaults, as in PyTorch. A learning rate is a number or a schedule."""

    def __init__(self, params: Iterable[Any], defaults: Mapping[str, Any]):
        entries = list(params)
        if not entries:
            raise PlanError(f"{type(self).__name__}: the list of parameters is empty")
        groups = entries if isinstance(entries[0], Mapping) else [{"params": entries}]
        self.param_groups: list[dict[str, Any]] = []
        seen: set[int] = set()
        for group in groups:
            unknown = sorted(set(group) - set(defaults) - {"params"})
            if unknown:
                raise PlanError(
                    f"{type(self).__name__} has no option {', '.join(unknown)}; the options are "
                    f"{', '.join(sorted(defaults))}"
                )
            parameters = list(group["params"])
            for parameter in parameters:
                if not isinstance(parameter, Parameter):
                    raise PlanError(
                        f"{type(self).__name__}: expected parameters, got {type(parameter).__name__}"
                    )
                if id(parameter) in seen:
                    raise PlanError(
                        f"{type(self).__name__}: parameter '{parameter.path}' stands in two groups"
                    )
                seen.add(id(parameter))
            self.param_groups.append({**defaults, **group, "params": parameters})

    def group_of(self, parameter: Parameter) -> int | None:
        """The index of the group that holds a parameter; None when it is not optimized."""
        for index, group in enumerate(self.param_groups):
            if any(p is parameter for p in group["params"]):
                return index
        return None

    def rates(self, steps: Tensor) -> list[Tensor]:
        """Each group's learning rate after `steps` updates (a float32 scalar)."""
        result = []
        for group in self.param_groups:
            lr: float | Schedule = group["lr"]
            rate = lr(steps) if callable(lr) else record("fill", value=float(lr), shape=[], dtype="f32")
            if not isinstance(rate, Tensor) or rate.shape != ():
                raise PlanError(
                    f"{type(self).__name__}: a learning-rate schedule returns a scalar tensor, this one "
                    f"returned {rate!r}"
                )
            result.append(rate)
        return result

    def record_updates(self, updates: Sequence[Update]) -> None:
        """Records the updates of all parameters."""
        for update in updates:
            with update.trace.within(f"optimizer.{update.name}"):
                self.update(update)

    def update(self, update: Update) -> None:
        """Records the update of one parameter."""
        raise NotImplementedError
