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
    gathered_per_pass: set[str] = field(default_factory=set)
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
            result.gathered_per_pass |= decision.gathered_per_pass
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


def zero(stage: int, axis: str = "dp") -> Recipe:
    """The batch is split along `axis`, and so is what `data_parallel` holds on every device: parameters, their gradients
    once they are added up, and the optimizer's state, each by its first dim (parts may be uneven or empty).

    stage 1 and 2: parameters are made whole once per step. Both give one plan: gradients are scattered as soon as they
    are added up, and the parts of parameters beside the whole ones are what an update needs anyway. stage 3: a module's
    parameters are made whole before each pass uses them, forward and backward, and let go of after.

    With `data_parallel` over another axis this is hybrid sharding: parts within a group, copies across groups
    (Rajbhandari et al. 2020, "ZeRO"; Zhao et al. 2023, "PyTorch FSDP").
    """
    name = f"zero({stage}, {axis!r})"
    if stage not in (1, 2, 3):
        raise PlanError(f"zero({stage!r}): the stages are 1, 2 and 3")

    def decide(model: Module, mesh: Mesh) -> Decision:
        names = [path for path, parameter in model.named_parameters() if parameter.shape]
        rules = [Rule(path, axis, S(0), name) for path in names]
        return Decision(data_axes=[axis], rules=rules, gathered_per_pass=set(names) if stage == 3 else set())

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
