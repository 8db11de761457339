"""Writing a model down: while a trace is open, functions on tensors record nodes of a graph."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from troupe import _troupe
from troupe._troupe import PlanError

if TYPE_CHECKING:
    from troupe.buffers import BufferUpdate
    from troupe.nn.module import Module
    from troupe.nn.parameter import Parameter
    from troupe.tensor import Tensor

_PACKAGE = os.path.dirname(os.path.abspath(__file__)) + os.sep
_open = threading.local()


def user_line() -> tuple[str, int]:
    """File and line of the innermost frame outside this package: the user's line."""
    frame = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back  # type: ignore[assignment]
    return (frame.f_code.co_filename, frame.f_lineno) if frame is not None else ("", 0)


def line_text() -> str:
    """ "(model.py:41)", for the end of an error's text."""
    file, line = user_line()
    return f"({os.path.basename(file)}:{line})"


class Trace:
    """One graph being written: where its nodes stand (scope), and which values stand for which parameters."""

    def __init__(self, root: Module, names: Mapping[int, str] | None = None, pieces_per_round: int = 1):
        """Parameters and buffers are named as under `root`, or by `names` (by their ids)."""
        self.graph = _troupe.Graph()
        self.pieces_per_round = pieces_per_round
        self.buffer_updates: list[BufferUpdate] = []
        self.scope = ""
        self.module_outputs: dict[str, Any] = {}
        self._modules: dict[int, str] = {}
        self._parameters: dict[int, str] = {}
        self._tensors: dict[str, Tensor] = {}
        for path, module in root.named_modules():
            self._modules.setdefault(id(module), path)
        for name, parameter in root.named_variables():
            self._parameters[id(parameter)] = names[id(parameter)] if names is not None else name

    def name_of(self, parameter: Parameter) -> str:
        """The name of a parameter or buffer of the model. Raises PlanError for another."""
        name = self._parameters.get(id(parameter))
        if name is None:
            raise PlanError(
                f"a parameter of shape {list(parameter.shape)} is used that is no part of the model; make "
                f"it an attribute of one of the model's modules {line_text()}"
            )
        return name

    def parameter(self, parameter: Parameter) -> Tensor:
        """The value of a parameter or buffer at the beginning of the step."""
        name = self.name_of(parameter)
        if name not in self._tensors:
            self._tensors[name] = self.variable(name, parameter.dtype, parameter.shape)
        return self._tensors[name]

    @property
    def parameters(self) -> dict[str, Tensor]:
        """The parameters and buffers used so far, by name."""
        return dict(self._tensors)

    def variable(self, name: str, dtype: str, shape: tuple[int, ...]) -> Tensor:
        """A tensor that outlives the step."""
        from troupe.tensor import Tensor

        return Tensor(self, self.graph.variable(name, dtype, list(shape), *user_line()))

    def source(self, name: str, dtype: str, shape: tuple[int, ...], batched: bool = True) -> Tensor:
        """A tensor that data enters through; dim 0 is the batch dim when `batched`."""
        from troupe.tensor import Tensor

        return Tensor(self, self.graph.source(name, dtype, list(shape), batched, *user_line()))

    @contextmanager
    def within(self, scope: str) -> Iterator[None]:
        """Nodes recorded inside belong to this scope."""
        before, self.scope = self.scope, scope
        try:
            yield
        finally:
            self.scope = before

    @contextmanager
    def module(self, module: Module) -> Iterator[str]:
        """Nodes recorded inside belong to this module's path."""
        path = self._modules.get(id(module))
        if path is None:
            kind = type(module).__name__.lower()
            path = f"{self.scope}.{kind}" if self.scope else kind
        with self.within(path):
            yield path

    @contextmanager
    def recording(self, scope: str = "") -> Iterator[Trace]:
        """Makes this the trace that functions on tensors write to; nodes outside any module go under `scope`."""
        stack = _open.__dict__.setdefault("stack", [])
        stack.append(self)
        try:
            with self.within(scope):
                yield self
        finally:
            stack.pop()


def current() -> Trace | None:
    """The trace being written in this thread; None when there is none."""
    stack = _open.__dict__.get("stack")
    return stack[-1] if stack else None


def require(what: str) -> Trace:
    """The open trace; PlanError when there is none."""
    trace = current()
    if trace is None:
        raise PlanError(
            f"{what}: tensors exist only while a model is traced; call the module on NumPy arrays, or use "
            f"the function inside a module's forward or a loss {line_text()}"
        )
    return trace


def as_tensor(trace: Trace, operand: Any, what: str) -> Tensor:
    """The tensor that stands for an operand: a tensor itself, or a parameter."""
    from troupe.nn.parameter import Parameter
    from troupe.tensor import Tensor

    if isinstance(operand, Tensor):
        if operand.trace is not trace:
            raise PlanError(
                f"{what}: a tensor of another trace is used; it is gone, compute it again in this forward "
                f"{line_text()}"
            )
        return operand
    if isinstance(operand, Parameter):
        return trace.parameter(operand)
    if isinstance(operand, np.ndarray):
        raise PlanError(
            f"{what}: a NumPy array of shape {list(operand.shape)} stands among tensors; make it part of "
            f"the batch, or an nn.Parameter(array, requires_grad=False) {line_text()}"
        )
    raise PlanError(f"{what}: expected a tensor, got {type(operand).__name__} {line_text()}")


def record(op: str, *inputs: Any, **attrs: Any) -> Any:
    """Adds a node and returns its output, or a tuple where the op has several. Raises PlanError from the op's rules."""
    from troupe.tensor import Tensor

    trace = require(op)
    values = [as_tensor(trace, operand, op).id for operand in inputs]
    outputs = trace.graph.add(op, values, attrs, trace.scope, *user_line())
    tensors = tuple(Tensor(trace, value) for value in outputs)
    return tensors[0] if len(tensors) == 1 else tensors
