"""A module compiled for a mesh, to look at its plan and to call it with arrays."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from troupe._troupe import PlanError
from troupe.call import Call, fill
from troupe.layouts import Layouts, resolve, rules_of
from troupe.mesh import Mesh, mesh as make_mesh
from troupe.nn import parameter as parameters
from troupe.nn.module import Module
from troupe.plan import Plan
from troupe.recipes import Recipe, data_parallel
from troupe.session import Session, rows_per_piece


class CompiledModule:
    """What `compile` returns: call it with arrays of the shapes it was compiled for."""

    def __init__(self, call: Call, plan: Plan):
        self._call = call
        self.plan = plan

    def __call__(self, *arrays: Any) -> Any:
        """Runs the module and returns what it returns, with arrays for tensors. Raises PlanError for other shapes."""
        given = [np.asarray(array) for array in arrays]
        expected = self._call.arrays
        if [(a.shape, a.dtype) for a in given] != [(a.shape, a.dtype) for a in expected.values()]:
            raise PlanError(
                f"compiled for {', '.join(f'{a.dtype}{list(a.shape)}' for a in expected.values())}, called "
                f"with {', '.join(f'{a.dtype}{list(a.shape)}' for a in given)}"
            )
        return fill(self._call.template, self._call.run(dict(zip(expected, given, strict=True))))


def compile(
    module: Module,
    *arrays: Any,
    mesh: Mesh | None = None,
    recipe: Recipe | None = None,
    layouts: Layouts | None = None,
) -> CompiledModule:
    """Compiles `module(*arrays)` for a mesh. The arrays' numbers do not matter, their shapes and dtypes do.

    Dim 0 of every array is the batch dim, split along the recipe's data axes. The module's parameters move to the
    mesh's devices. Raises PlanError for what does not fit together.
    """
    chosen = mesh if mesh is not None else make_mesh("cpu")
    decision = (recipe if recipe is not None else data_parallel()).decide(module, chosen)
    names = [name for name, _ in module.named_variables()]
    pins = resolve(decision.rules + rules_of(layouts or {}), names)
    ranks = math.prod(chosen.axis_size(axis) for axis in decision.data_axes)
    given = {str(index): np.asarray(array) for index, array in enumerate(arrays)}
    if not given or any(array.ndim == 0 for array in given.values()):
        raise PlanError("compile(module, *arrays) needs arrays, and dim 0 of each is the batch dim")
    for array in given.values():
        rows_per_piece(len(array), ranks, 1)
    call = Call(
        module,
        Session(module, chosen, parameters.default_seed(), decision),
        tuple(arrays),
        {},
        given,
        data_axes=decision.data_axes,
        ranks=ranks,
        pins=pins,
    )
    return CompiledModule(call, Plan(call.plan.compiled, decision.notes))
