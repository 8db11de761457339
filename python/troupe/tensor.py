"""Tensors of a trace: a shape, a dtype and a place in the graph. What needs a number while tracing raises PlanError."""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np

from troupe._troupe import PlanError
from troupe.operators import TensorOperators, type_text
from troupe.trace import Trace, line_text


class Tensor(TensorOperators):
    """A value of the graph that is being written. Made by functions and operators, never by hand."""

    def __init__(self, trace: Trace, value: int):
        self.trace = trace
        self.id = value
        self.dtype, self.shape = trace.graph.type(value)

    @property
    def name(self) -> str:
        """The value's stable name: the module's path, the op, and an ordinal where it repeats."""
        return self.trace.graph.name(self.id)

    def __repr__(self) -> str:
        pins = self.trace.graph.pins_of(self.id)
        layout = "".join(f", {axis}={sbp}" for axis, sbp in pins)
        return f"Tensor({self.name}: {type_text(self)}{layout})"

    def _no_number(self, what: str, instead: str) -> NoReturn:
        raise PlanError(
            f"{what} of '{self.name}', {type_text(self)}: a tensor has no numbers while the model is traced; "
            f"{instead} {line_text()}"
        )

    def __bool__(self) -> bool:
        self._no_number("truth value", "choose between tensors with functional.where(condition, a, b)")

    def item(self) -> float:
        """Always raises PlanError: a tensor has no numbers while the model is traced."""
        self._no_number(".item()", "return it beside the loss and read it from the step's metrics")

    def numpy(self) -> np.ndarray:
        """Always raises PlanError: a tensor has no numbers while the model is traced."""
        self._no_number("NumPy array", "return it from the module, or see it with tr.watch")

    def tolist(self) -> list[Any]:
        """Always raises PlanError: a tensor has no numbers while the model is traced."""
        self._no_number(".tolist()", "return it from the module, or see it with tr.watch")

    def __array__(self, *args: Any, **kwargs: Any) -> np.ndarray:
        self._no_number("NumPy array", "return it from the module, or see it with tr.watch")

    def __float__(self) -> float:
        self._no_number("float()", "return it beside the loss and read it from the step's metrics")

    __int__ = __index__ = __float__  # type: ignore[assignment]

    def __iter__(self) -> Any:
        if not self.shape:
            raise TypeError("iteration over a tensor without dims")
        return (self[i] for i in range(self.shape[0]))
