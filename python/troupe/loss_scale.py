"""Dynamic loss scaling, for steps in float16: its smallest number is 2^-24, and gradients are often smaller."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from troupe._troupe import PlanError
from troupe.means import Term
from troupe.tensor import Tensor
from troupe.trace import Trace, record

SCALE = "optimizer.loss_scale"
GOOD_STEPS = "optimizer.good_steps"


@dataclass(frozen=True)
class LossScale:
    """How a step with precision="f16" scales its loss. The defaults are those of torch.amp.GradScaler.

    The backward pass computes gradients of the scaled loss; they are divided by the scale, in float32, before norms,
    clipping and updates. A step whose gradients are not finite updates nothing and multiplies the scale by
    backoff_factor; growth_interval steps in a row with finite ones multiply it by growth_factor. It does not fall below
    `floor`. Scales and factors are powers of two, so that scaling rounds nothing. Raises PlanError for others.
    """

    initial: float = 2.0**16
    growth_factor: float = 2.0
    backoff_factor: float = 0.5
    growth_interval: int = 2000
    floor: float = 1.0

    def __post_init__(self) -> None:
        for name in ("initial", "growth_factor", "backoff_factor", "floor"):
            value = getattr(self, name)
            if not (0 < value < math.inf) or math.frexp(value)[0] != 0.5:
                raise PlanError(f"LossScale: {name}={value} must be a power of two, so that scaling rounds nothing")
        if self.growth_factor < 1 or self.backoff_factor >= 1 or self.initial < self.floor or self.growth_interval < 1:
            raise PlanError(
                f"{self}: growth_factor must be at least 1, backoff_factor below 1, initial at least floor, and "
                f"growth_interval at least 1"
            )

    def state(self) -> dict[str, np.ndarray]:
        """What the variables of the scale hold before the first step."""
        return {SCALE: np.array(self.initial, np.float32), GOOD_STEPS: np.array(0, np.int64)}

    def can_shrink(self, metrics: Mapping[str, Any]) -> bool:
        """Whether a smaller scale may make the next step finite after one that was not, and had these metrics."""
        return math.isfinite(metrics["loss"]) and float(metrics["loss_scale"]) > self.floor


class Scaling:
    """A loss scale in a step that is being recorded.

    The terms of a loss are sums over the batch, divided at the end. So that the backward pass holds numbers of the size
    that the mean's have, a sum is seeded with the scale over its weight, rounded to a power of two.
    """

    def __init__(self, trace: Trace, how: LossScale):
        self._trace, self._how = trace, how
        self._scale = trace.variable(SCALE, "f32", ())
        self._good_steps = trace.variable(GOOD_STEPS, "i64", ())
        self._inverses: dict[tuple[float, str], Tensor] = {}

    def seed(self, term: Term) -> Tensor:
        """What the gradient of the term's sum is multiplied by."""
        return (self._scale * (1 / _power_of_two(term.known_weight))).to(term.sum.dtype)

    def unscaled(self, gradient: Tensor, term: Term) -> Tensor:
        """The gradient of the term's sum; recorded in the update, where no gradient is of low precision."""
        key = (term.known_weight, gradient.dtype)
        if key not in self._inverses:
            inverse = record("rdiv_scalar", self._scale, value=_power_of_two(term.known_weight))
            self._inverses[key] = inverse.to(gradient.dtype)
        return gradient * self._inverses[key]

    def record_update(self, loss: Tensor, norm: Tensor) -> None:
        """The scale of the next step, and the output "loss_scale": that of this one."""
        how = self._how
        scale, good_steps = record(
            "loss_scale_update",
            self._scale,
            self._good_steps,
            loss,
            norm,
            growth=how.growth_factor,
            backoff=how.backoff_factor,
            interval=how.growth_interval,
            floor=how.floor,
        )
        self._trace.graph.output("loss_scale", (self._scale * 1.0).id)
        self._trace.graph.assign(self._scale.id, scale.id)
        self._trace.graph.assign(self._good_steps.id, good_steps.id)


def _power_of_two(weight: float) -> float:
    return 2.0 ** round(math.log2(weight))
