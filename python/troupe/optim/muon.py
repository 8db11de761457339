"""Muon."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from troupe._troupe import PlanError
from troupe.optim.optimizer import Optimizer, Update
from troupe.optim.schedule import Schedule
from troupe.tensor import Tensor
from troupe.trace import record


class Muon(Optimizer):
    """A momentum whose matrix is made nearly orthogonal (Jordan et al. 2024), for parameters of two dims, as in
    PyTorch; the products are made in the parameter's dtype, where PyTorch takes bfloat16. Other parameters go to
    another optimizer: `Combined(Muon(matrices), AdamW(rest))`.

    Matrices of equal shape (in a pipeline: of one chunk) are stacked, and devices share the stack out among them: each
    makes its matrices orthogonal and gives them to all. ns_steps Newton-Schulz steps with the coefficients a, b, c.
    adjust_lr_fn: "original" multiplies lr by √max(1, rows / columns), "match_rms_adamw" by 0.2 √max(rows, columns).
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Schedule = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = (3.4445, -4.7750, 2.0315),
        eps: float = 1e-7,
        ns_steps: int = 5,
        adjust_lr_fn: str | None = None,
    ):
        defaults = {
            "lr": lr,
            "weight_decay": weight_decay,
            "momentum": momentum,
            "nesterov": nesterov,
            "ns_coefficients": ns_coefficients,
            "eps": eps,
            "ns_steps": ns_steps,
            "adjust_lr_fn": adjust_lr_fn,
        }
        super().__init__(params, defaults)
        for group in self.param_groups:
            if group["adjust_lr_fn"] not in (None, "original", "match_rms_adamw"):
                raise PlanError(
                    f"Muon: adjust_lr_fn={group['adjust_lr_fn']!r}; 'original' and 'match_rms_adamw' are possible"
                )
            for parameter in group["params"]:
                if len(parameter.shape) != 2:
                    raise PlanError(
                        f"Muon takes parameters of two dims, but '{parameter.path}' has the shape "
                        f"{list(parameter.shape)}; give it to another optimizer: Combined(Muon(matrices), AdamW(rest))"
                    )

    def record_updates(self, updates: Sequence[Update]) -> None:
        stacks: dict[Any, list[tuple[Update, Tensor]]] = {}
        for update in updates:
            with update.trace.within(f"optimizer.{update.name}"):
                direction = _momentum(update)
            options = update.options
            key = (update.chunk, *direction.shape, *options["ns_coefficients"], options["eps"], options["ns_steps"])
            stacks.setdefault((direction.dtype, key), []).append((update, direction))
        for stack in stacks.values():
            first = stack[0][0]
            with first.trace.within(f"optimizer.stack.{first.name}"):
                found = _orthogonal([direction for _, direction in stack], first.options)
            for (update, _), direction in zip(stack, found, strict=True):
                with update.trace.within(f"optimizer.{update.name}"):
                    rate = update.lr * _adjustment(update)
                    update.apply(direction, rate, update.options["weight_decay"])


def _momentum(update: Update) -> Tensor:
    momentum = update.state("momentum")
    direction, after = record(
        "muon_momentum",
        update.gradient,
        update.scale,
        update.ok,
        momentum,
        momentum=float(update.options["momentum"]),
        nesterov=int(update.options["nesterov"]),
    )
    update.assign(momentum, after)
    return direction


def _orthogonal(matrices: list[Tensor], options: Any) -> list[Tensor]:
    """Each matrix made nearly orthogonal, all in one op."""
    rows, columns = matrices[0].shape
    each = [matrix.reshape(1, rows, columns) for matrix in matrices]
    a, b, c = (float(x) for x in options["ns_coefficients"])
    stack = each[0] if len(each) == 1 else record("concat", *each, dim=0)
    stack = record("newton_schulz", stack, a=a, b=b, c=c, eps=float(options["eps"]), steps=int(options["ns_steps"]))
    return [matrix.reshape(rows, columns) for matrix in stack.split(1)]


def _adjustment(update: Update) -> float:
    rows, columns = update.parameter.shape
    if update.options["adjust_lr_fn"] == "match_rms_adamw":
        return 0.2 * math.sqrt(max(rows, columns))
    return math.sqrt(max(1.0, rows / columns))
