"""Modules called with arrays: compiled for the shapes, run, and answered with arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from troupe._troupe import PlanError
from troupe.batch import Field
from troupe.data.source import SingleBatches
from troupe.dtypes import dtype_name
from troupe.mesh import mesh
from troupe.nn import parameter as parameters
from troupe.nn.module import Module
from troupe.session import CompileOptions, Session
from troupe.tensor import Tensor
from troupe.trace import Trace
from troupe.training import Pins, apply_pins


def session_for(module: Module) -> Session:
    """The session that holds all of a module's parameters; a new one on one device when there is none."""
    sessions = {id(p.session): p.session for p in module.variables()}
    own = module.__dict__.get("_own_session")
    if not sessions and own is not None and not own.closed:
        return own
    if len(sessions) == 1:
        session = next(iter(sessions.values()))
        if session is not None:
            return session
    session = Session(module, mesh("cpu"), parameters.default_seed())
    module.__dict__["_own_session"] = session
    return session


def _is_array(value: Any) -> bool:
    return isinstance(value, (np.ndarray, np.generic)) or hasattr(value, "__dlpack__")


def call(module: Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Runs `module(*args, **kwargs)` and returns what it returns, with arrays for tensors.

    Arrays enter whole, as they are; the plan is kept for the next call with the same shapes. Raises PlanError when no
    argument is an array.
    """
    given = {**{str(i): a for i, a in enumerate(args)}, **kwargs}
    arrays = {name: np.asarray(a) for name, a in given.items() if _is_array(a)}
    if not arrays:
        raise PlanError(
            f"{type(module).__name__} is called outside a trace and without arrays; give it NumPy arrays"
        )
    session = session_for(module)
    constants = tuple((name, repr(value)) for name, value in given.items() if name not in arrays)
    key = (
        "call",
        id(module),
        tuple((n, a.shape, a.dtype.str) for n, a in arrays.items()),
        constants,
        tuple(m.training for m in module.modules()),
    )
    compiled: Call = session.cached(key, lambda: Call(module, session, args, kwargs, arrays))
    return fill(compiled.template, compiled.run(arrays))


class Call:
    """One call of a module, compiled for its arrays."""

    def __init__(
        self,
        module: Module,
        session: Session,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        arrays: dict[str, np.ndarray],
        *,
        data_axes: list[str] | None = None,
        ranks: int = 1,
        pins: Pins | None = None,
    ):
        self.arrays = arrays
        trace = Trace(module, {id(p): p.bound_name for p in module.variables()}, ranks)
        with trace.recording():
            sources = {
                name: trace.source(name, dtype_name(a.dtype), a.shape, batched=data_axes is not None)
                for name, a in arrays.items()
            }
            positional = [sources.get(str(i), a) for i, a in enumerate(args)]
            result = module(*positional, **{name: sources.get(name, a) for name, a in kwargs.items()})
        for name, value in trace.parameters.items():
            apply_pins(trace, pins or {}, name, value)
        self.template = _template(result, trace)
        options = CompileOptions(data_axes or (), ranks)
        self.plan = session.load(trace, f"call {type(module).__name__}", options)
        fields = {name: Field(dtype_name(array.dtype), array.shape) for name, array in arrays.items()}
        self._feed = SingleBatches(fields, 0)
        self.plan.set_sources(self._feed.sources())

    def run(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The outputs for arrays of the shapes that were compiled for."""
        self._feed.put(
            self.plan.next_step, {name: np.require(array, requirements="C") for name, array in arrays.items()}
        )
        return self.plan.run(self.plan.next_step)


class _Output:
    """Stands for a fetched value in what the module returned."""

    def __init__(self, name: str):
        self.name = name


def _template(result: Any, trace: Trace) -> Any:
    if isinstance(result, Tensor):
        name = f"output.{len(trace.graph.outputs())}"
        trace.graph.output(name, result.id)
        return _Output(name)
    if isinstance(result, (tuple, list)):
        return type(result)(_template(item, trace) for item in result)
    if isinstance(result, dict):
        return {key: _template(item, trace) for key, item in result.items()}
    return result


def fill(template: Any, outputs: Mapping[str, np.ndarray]) -> Any:
    """What a module returned, with arrays for tensors."""
    if isinstance(template, _Output):
        return outputs[template.name]
    if isinstance(template, (tuple, list)):
        return type(template)(fill(item, outputs) for item in template)
    if isinstance(template, dict):
        return {key: fill(item, outputs) for key, item in template.items()}
    return template
