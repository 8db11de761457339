"""How parameters are initialised. Numbers are keyed by (seed, the parameter's path, element), so that they are the same
on every layout and do not depend on the order in which parameters are made."""

from __future__ import annotations

from dataclasses import replace

from troupe._troupe import PlanError
from troupe.nn.parameter import Initial, Parameter


def normal_(parameter: Parameter, mean: float = 0.0, std: float = 1.0) -> Parameter:
    """Normally distributed numbers."""
    parameter.initialise(Initial("random_normal", (("mean", float(mean)), ("std", float(std)))))
    return parameter


def like_(parameter: Parameter, other: Parameter) -> Parameter:
    """The numbers that `other`, of the same shape, was told to begin with; none are drawn before they are needed."""
    if parameter.shape != other.shape or parameter.dtype != other.dtype:
        raise PlanError(
            f"like_: a parameter {parameter.dtype}{list(parameter.shape)} cannot begin as one that is "
            f"{other.dtype}{list(other.shape)}"
        )
    parameter.initialise(replace(other.initial, of=other.initial.of or other))
    return parameter


def uniform_(parameter: Parameter, a: float = 0.0, b: float = 1.0) -> Parameter:
    """Numbers spread evenly over [a, b)."""
    parameter.initialise(Initial("random_uniform", (("low", float(a)), ("high", float(b)))))
    return parameter


def constant_(parameter: Parameter, value: float) -> Parameter:
    """One value everywhere."""
    parameter.initialise(Initial("fill", (("value", float(value)),)))
    return parameter


def zeros_(parameter: Parameter) -> Parameter:
    """Zeros."""
    return constant_(parameter, 0.0)


def ones_(parameter: Parameter) -> Parameter:
    """Ones."""
    return constant_(parameter, 1.0)
