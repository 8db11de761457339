"""Where tensors lie: pins in a model's code, patterns over parameter names, and explicit changes of layout."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from troupe._troupe import PlanError
from troupe.layout import Sbp
from troupe.tensor import Tensor
from troupe.trace import as_tensor, line_text, record, require, user_line

Layouts = Mapping[str, Mapping[str, Sbp]]


def _check_sbp(axis: str, sbp: Any) -> Sbp:
    if not isinstance(sbp, Sbp):
        raise PlanError(f"the layout on axis '{axis}' is {sbp!r}; S(dim), B and P are possible {line_text()}")
    return sbp


def pin(x: Any, **axes: Sbp) -> Tensor:
    """x, with its layout demanded along the named axes: `pin(x, dp=S(0), tp=B)`. Other axes are the planner's.

    An axis that the mesh lacks, or a layout that x cannot have, is a PlanError when the plan is made.
    """
    trace = require("pin")
    tensor = as_tensor(trace, x, "pin")
    for axis, sbp in axes.items():
        trace.graph.pin(tensor.id, axis, _check_sbp(axis, sbp).text, "", *user_line())
    return tensor


def to_layout(x: Any, **axes: Sbp) -> Tensor:
    """x taken to another layout at this place; the gradient is taken back. Elsewhere x lies as the planner likes."""
    return pin(record("to_layout", x), **axes)


@dataclass(frozen=True)
class Rule:
    """A demand on the parameters that a pattern names, and who makes it."""

    pattern: str
    axis: str
    sbp: Sbp
    origin: str


def rules_of(layouts: Layouts) -> list[Rule]:
    """The demands of `layouts={pattern: {axis: layout}}`."""
    return [
        Rule(pattern, axis, _check_sbp(axis, sbp), f"layouts[{pattern!r}]")
        for pattern, axes in layouts.items()
        for axis, sbp in axes.items()
    ]


def resolve(rules: list[Rule], names: list[str]) -> dict[str, dict[str, Rule]]:
    """The demand on each parameter along each axis.

    Raises PlanError for a pattern that matches no parameter and for two demands that disagree.
    """
    result: dict[str, dict[str, Rule]] = {}
    for rule in rules:
        matched = fnmatch.filter(names, rule.pattern)
        if not matched:
            raise PlanError(
                f"{rule.origin}: the pattern matches no parameter; the parameters are {_some(names)}"
            )
        for name in matched:
            other = result.setdefault(name, {}).setdefault(rule.axis, rule)
            if other.sbp != rule.sbp:
                raise PlanError(
                    f"parameter '{name}': {other.origin} asks for {other.sbp} on axis '{rule.axis}', "
                    f"{rule.origin} for {rule.sbp}; only one of the two is possible"
                )
    return result


def _some(names: list[str], count: int = 8) -> str:
    return ", ".join(names[:count]) + (f", ... ({len(names)} in all)" if len(names) > count else "")
