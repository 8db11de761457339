"""Looking at tensors inside a running model without changing a number."""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass

from troupe._troupe import PlanError
from troupe.dtypes import FLOATS
from troupe.means import Cut, Term, terms_of
from troupe.tensor import Tensor
from troupe.trace import Trace

_watches: list[Watch] = []


@dataclass(frozen=True, eq=False)
class Watch:
    """A pattern over names whose values the metrics of each step show; ends with `remove()` or a `with` block."""

    pattern: str
    tensor: bool

    def remove(self) -> None:
        """Plans made from now on watch this no longer."""
        if self in _watches:
            _watches.remove(self)

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()


def watch(pattern: str, tensor: bool = False) -> Watch:
    """Shows values in the metrics of training plans made from now on.

    `pattern` names modules ("blocks.3.attn": what the module returns; "blocks.*.attn") or values as `print(t)` shows
    them. The metrics then have "NAME.mean" and "NAME.mean_square" per step, or with `tensor=True` the whole tensor as
    "NAME". A pattern that matches nothing is a PlanError when a plan is made.
    """
    result = Watch(pattern, tensor)
    _watches.append(result)
    return result


def watched() -> tuple[Watch, ...]:
    """What is watched now."""
    return tuple(_watches)


def record_watches(trace: Trace, cut: Cut) -> dict[str, list[Term] | Tensor]:
    """Records what is watched: terms of means, or whole tensors, by the name of the metric."""
    result: dict[str, list[Term] | Tensor] = {}
    for each in _watches:
        found = _matches(trace, each.pattern)
        if not found:
            modules = ", ".join(name for name in trace.module_outputs if name)
            raise PlanError(
                f"watch({each.pattern!r}) matches no module and no value; the modules are {modules}"
            )
        for name, value in found.items():
            if each.tensor:
                result[name] = value
            else:
                result[f"{name}.mean"] = terms_of(value.mean(), cut, name)
                result[f"{name}.mean_square"] = terms_of(value.square().mean(), cut, name)
    return result


def _matches(trace: Trace, pattern: str) -> dict[str, Tensor]:
    found = {
        name: value
        for name, value in trace.module_outputs.items()
        if isinstance(value, Tensor) and fnmatch.fnmatchcase(name, pattern)
    }
    for index, name in enumerate(trace.graph.names()):
        if name not in found and fnmatch.fnmatchcase(name, pattern):
            found[name] = Tensor(trace, index)
    return {name: value for name, value in found.items() if value.dtype in FLOATS}
