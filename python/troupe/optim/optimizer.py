"""Optimizers: parameter groups with options, and the update they record."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
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
    nothing may change; `step` updates were made before."""

    trace: Trace
    name: str
    parameter: Parameter
    value: Tensor
    gradient: Tensor
    scale: Tensor
    ok: Tensor
    step: Tensor
    lay_out: Callable[[Tensor], None]

    def state(self, kind: str) -> Tensor:
        """A variable of the parameter's shape and layout, zero at the start, named "optimizer.KIND.PARAMETER"."""
        variable = self.trace.variable(
            f"optimizer.{kind}.{self.name}", self.parameter.dtype, self.parameter.shape
        )
        self.lay_out(variable)
        return variable

    def assign(self, variable: Tensor, value: Tensor) -> None:
        """The variable has this value after the step."""
        self.trace.graph.assign(variable.id, value.id)


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

    def update(self, update: Update, lr: Tensor, options: Mapping[str, Any]) -> None:
        """Records the update of one parameter."""
        raise NotImplementedError


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

    def update(self, update: Update, lr: Tensor, options: Mapping[str, Any]) -> None:
        attrs = {
            "momentum": float(options["momentum"]),
            "dampening": float(options["dampening"]),
            "weight_decay": float(options["weight_decay"]),
            "nesterov": int(options["nesterov"]),
        }
        operands = [update.value, update.gradient, lr, update.scale, update.ok]
        if options["momentum"] == 0:
            update.assign(update.value, record("sgd", *operands, **attrs))
            return
        momentum = update.state("momentum")
        value, next_momentum = record("sgd", *operands, momentum, update.step, **attrs)
        update.assign(update.value, value)
        update.assign(momentum, next_momentum)


class AdamW(Optimizer):
    """Adam with decoupled weight decay, as in PyTorch."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Schedule = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ):
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    def update(self, update: Update, lr: Tensor, options: Mapping[str, Any]) -> None:
        beta1, beta2 = options["betas"]
        m, v = update.state("m"), update.state("v")
        value, next_m, next_v = record(
            "adamw",
            update.value,
            update.gradient,
            lr,
            update.scale,
            update.ok,
            update.step,
            m,
            v,
            beta1=float(beta1),
            beta2=float(beta2),
            eps=float(options["eps"]),
            weight_decay=float(options["weight_decay"]),
        )
        update.assign(update.value, value)
        update.assign(m, next_m)
        update.assign(v, next_v)
