"""Recipes: functions from a model to layouts. They compose with `+`; those that disagree are a PlanError."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from troupe._troupe import PlanError
from troupe.layout import B, S
from troupe.layouts import Rule
from troupe.mesh import Mesh
from troupe.nn.layers import Linear
from troupe.nn.module import Module


@dataclass
class Decision:
    """What a recipe decides for a model on a mesh."""

    data_axes: list[str] = field(default_factory=list)
    rules: list[Rule] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Recipe:
    """Named functions from (model, mesh) to a decision, applied in order."""

    parts: tuple[tuple[str, Callable[[Module, Mesh], Decision]], ...]

    def __add__(self, other: Recipe) -> Recipe:
        return Recipe(self.parts + other.parts)

    def decide(self, model: Module, mesh: Mesh) -> Decision:
        """What all parts decide together."""
        result = Decision()
        for _, part in self.parts:
            decision = part(model, mesh)
            result.data_axes += [axis for axis in decision.data_axes if axis not in result.data_axes]
            result.rules += decision.rules
            result.notes += decision.notes
        return result

    def __repr__(self) -> str:
        return " + ".join(name for name, _ in self.parts)


def _recipe(name: str, axis: str, decide: Callable[[Module, Mesh], Decision]) -> Recipe:
    def part(model: Module, mesh: Mesh) -> Decision:
        if not mesh.has_axis(axis):
            return Decision(notes=[f"{name}: the mesh has no axis '{axis}'; it counts as size 1"])
        return decide(model, mesh)

    return Recipe(((name, part),))


def data_parallel(axis: str = "dp") -> Recipe:
    """The batch is split along `axis`; every device of the axis holds all parameters."""
    name = f"data_parallel({axis!r})"

    def decide(model: Module, mesh: Mesh) -> Decision:
        rules = [Rule(parameter, axis, B, name) for parameter, _ in model.named_parameters()]
        return Decision(data_axes=[axis], rules=rules)

    return _recipe(name, axis, decide)


COLUMN = ("q", "k", "v", "qkv", "up", "gate", "fc1", "c_attn", "c_fc", "head", "lm_head")
ROW = ("out", "down", "proj", "fc2", "c_proj")


def megatron(axis: str = "tp", column: Sequence[str] = COLUMN, row: Sequence[str] = ROW) -> Recipe:
    """Linear layers split along `axis` in pairs: the first of a pair by its outputs, the second by its inputs.

    A Linear module is known by the last part of its name: those in `column` have weight S(0) and bias S(0), those in
    `row` weight S(1) and bias B. Embeddings and all other parameters are left to the planner. Raises PlanError when no
    module is matched.
    """
    name = f"megatron({axis!r})"

    def decide(model: Module, mesh: Mesh) -> Decision:
        rules: list[Rule] = []
        for path, module in model.named_modules():
            last = path.rpartition(".")[2]
            if not isinstance(module, Linear) or last not in (*column, *row):
                continue
            by_column = last in column
            rules.append(Rule(f"{path}.weight", axis, S(0) if by_column else S(1), name))
            if module.bias is not None:
                rules.append(Rule(f"{path}.bias", axis, S(0) if by_column else B, name))
        if not rules:
            linears = [path for path, module in model.named_modules() if isinstance(module, Linear)]
            raise PlanError(
                f"{name} matches no Linear module; it looks for the names {', '.join((*column, *row))}, the "
                f"model has {', '.join(linears) or 'none'}; pass column=[...] and row=[...]"
            )
        return Decision(rules=rules)

    return _recipe(name, axis, decide)
