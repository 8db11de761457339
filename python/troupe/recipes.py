"""Recipes: functions from a model to layouts. They compose with `+`; those that disagree are a PlanError."""

from __future__ import annotations

import fnmatch
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial, reduce

from troupe._troupe import PlanError
from troupe.layout import B, S, Sbp
from troupe.layouts import Rule
from troupe.mesh import Mesh, memory_bytes
from troupe.nn.experts import ExpertLinear
from troupe.nn.layers import Embedding, EmbeddingBag, Linear, ModuleList
from troupe.nn.module import Module
from troupe.stages import Stages, cut_at, cut_evenly


@dataclass(frozen=True)
class SequenceSplit:
    """How the sequence is split: along an axis, with an attention of a form."""

    axis: str
    attention: str


@dataclass
class Decision:
    """What a recipe decides for a model on a mesh."""

    data_axes: list[str] = field(default_factory=list)
    rules: list[Rule] = field(default_factory=list)
    outputs: list[Rule] = field(default_factory=list)
    """Demands on what modules return; each pattern is a module's path."""
    sources: list[Rule] = field(default_factory=list)
    """Demands on how pieces of the batch enter; each pattern names sources. One without the dim is left alone."""
    gathered_per_pass: set[str] = field(default_factory=set)
    recompute: list[str] = field(default_factory=list)
    may_recompute: list[str] = field(default_factory=list)
    """Modules, and parts of them, of which as few are recomputed as let the plan fit the devices."""
    offload: list[str] = field(default_factory=list)
    host_memory: int = 0
    """Bytes of host memory beside each device; 0: no limit."""
    stages: Stages | None = None
    sequence: SequenceSplit | None = None
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
            result.outputs += decision.outputs
            result.sources += decision.sources
            result.gathered_per_pass |= decision.gathered_per_pass
            result.recompute += [path for path in decision.recompute if path not in result.recompute]
            result.may_recompute += [path for path in decision.may_recompute if path not in result.may_recompute]
            result.offload += [path for path in decision.offload if path not in result.offload]
            result.host_memory = decision.host_memory or result.host_memory
            if decision.stages is not None and result.stages is not None:
                raise PlanError(f"{self!r}: only one pipeline is possible")
            result.stages = result.stages or decision.stages
            if decision.sequence is not None and result.sequence is not None:
                raise PlanError(f"{self!r}: only one axis can split the sequence")
            result.sequence = result.sequence or decision.sequence
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
        rules = [Rule(variable, axis, B, name) for variable, _ in model.named_variables()]
        return Decision(data_axes=[axis], rules=rules)

    return _recipe(name, axis, decide)


def sample_parallel(axis: str = "sp") -> Recipe:
    """The samples of every piece are split along `axis`; every device of the axis holds all parameters.

    Unlike the pieces of `data_parallel`, samples of one piece may depend on one another: what couples them (the
    statistics of a batch norm, experts that are split) is computed over the whole piece, with communication. The order of
    sums changes with the size of the axis, and so does the last bit.
    """
    name = f"sample_parallel({axis!r})"

    def decide(model: Module, _: Mesh) -> Decision:
        rules = [Rule(variable, axis, B, name) for variable, _ in model.named_variables()]
        return Decision(rules=rules, sources=[Rule("*", axis, S(0), name)])

    return _recipe(name, axis, decide)


def expert_parallel(axis: str = "ep") -> Recipe:
    """Experts are split along `axis`, and so are the samples of every piece, as `sample_parallel` does; every device of the
    axis holds all other parameters. Tokens go to the devices of their experts and back by all-to-all.

    Experts are what `nn.ExpertLinear` modules hold (those of `nn.MoE`). Parts may be uneven. Raises PlanError for a model
    without experts, and where there are fewer experts than devices along the axis.
    """
    name = f"expert_parallel({axis!r})"

    def decide(model: Module, mesh: Mesh) -> Decision:
        experts = {path: module.experts for path, module in model.named_modules() if isinstance(module, ExpertLinear)}
        if not experts:
            raise PlanError(f"{name}: the model has no experts; nn.MoE and nn.ExpertLinear have them")
        path, fewest = min(experts.items(), key=operator.itemgetter(1))
        size = mesh.axis_size(axis)
        if fewest < size:
            raise PlanError(
                f"{name}: '{path}' has {fewest} experts, which cannot be split among the {size} devices of the axis; "
                f"{axis}={fewest} or fewer is possible, with the other devices along a data or tensor-parallel axis"
            )
        split = {f"{path}.weight" for path in experts}
        rules = [Rule(path, axis, S(0) if path in split else B, name) for path, _ in model.named_parameters()]
        return Decision(rules=rules, sources=[Rule("*", axis, S(0), name)])

    return _recipe(name, axis, decide)


def context_parallel(axis: str = "cp", attention: str = "gather") -> Recipe:
    """The sequence of every source [batch, seq, ...] is split along `axis`; every device of the axis holds all parameters.

    All but attention is done by each device for its own positions. attention: "gather" (the keys and values of all
    positions are gathered, for one layer at a time; Llama Team 2024, "The Llama 3 Herd of Models", 3.3.2) or "ring" (they
    come a part at a time, so that no device ever has more than two parts; Liu et al. 2023, "Ring Attention"). Behind a
    causal mask every device has an early and a late block of queries, and so the same work. The order of sums changes
    with the size of the axis, and so does the last bit. Sequences need not be a multiple of the axis's size.
    """
    name = f"context_parallel({axis!r}, {attention!r})"
    if attention not in ("gather", "ring"):
        raise PlanError(f"{name}: attention is 'gather' or 'ring'")

    def decide(model: Module, _: Mesh) -> Decision:
        rules = [Rule(parameter, axis, B, name) for parameter, _ in model.named_parameters()]
        return Decision(rules=rules, sources=[Rule("*", axis, S(1), name)], sequence=SequenceSplit(axis, attention))

    return _recipe(name, axis, decide)


def sequence_parallel(axis: str = "tp", dim: int = 1, row: Sequence[str] | None = None) -> Recipe:
    """With `megatron`: between its pairs of linear layers the tokens are split along `axis` (activations [batch, seq, ...] by
    `dim`), so that norms, dropout and residual sums are done once and not by every device, and held in parts: an
    all-reduce becomes a reduce-scatter and an all-gather of the same bytes (Korthikanti et al. 2022).

    The planner finds this by itself where it is faster; the recipe asks for it. `row`: the ends of the names of the second
    layers of the pairs, as `megatron` takes them. Raises PlanError when no module is matched.
    """
    name = f"sequence_parallel({axis!r})"
    names = ROW if row is None else row

    def decide(model: Module, mesh: Mesh) -> Decision:
        found = [
            path
            for path, module in model.named_modules()
            if isinstance(module, Linear) and _ends_in(path, names)
        ]
        if not found:
            raise PlanError(f"{name} matches no Linear module; it looks for the names {', '.join(names)}")
        return Decision(outputs=[Rule(path, axis, S(dim), name) for path in found])

    return _recipe(name, axis, decide)


def zero(stage: int, axis: str = "dp") -> Recipe:
    """The batch is split along `axis`, and so is what `data_parallel` holds on every device: parameters, their gradients
    once they are added up, and the optimizer's state, each by its first dim, weights of experts by their second (parts may
    be uneven or empty).

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
        experts = {f"{path}.weight" for path, module in model.named_modules() if isinstance(module, ExpertLinear)}
        rules = [Rule(path, axis, S(1) if path in experts else S(0), name) for path in names]
        return Decision(data_axes=[axis], rules=rules, gathered_per_pass=set(names) if stage == 3 else set())

    return _recipe(name, axis, decide)


def pipeline(
    schedule: str = "1f1b", axis: str = "pp", chunks_per_stage: int = 1, cut: Sequence[str] | None = None
) -> Recipe:
    """The model is cut into stages along `axis`; each works on other pieces of the batch at the same time.

    schedule: "gpipe" (all forward passes, then all backward passes), "1f1b" (in turn, so that a stage holds no more
    pieces than stages follow), "interleaved" (1f1b with `chunks_per_stage` chunks on every stage: a bubble as many times
    shorter) or "zero_bubble" (backward passes in two parts; those of weights fill the bubble). Pieces are the batch
    shards of a device times pieces_per_shard: at least as many as there are stages. cut: the names of the modules at
    which the chunks after the first begin; by default the model's children, in the order in which they were assigned and
    with lists of modules taken apart, are shared out evenly.
    """
    name = f"pipeline({schedule!r}, {axis!r})"
    if chunks_per_stage < 1 or (chunks_per_stage > 1) != (schedule == "interleaved"):
        raise PlanError(f"{name}: chunks_per_stage={chunks_per_stage}; 'interleaved' has 2 or more, others 1")

    def decide(model: Module, mesh: Mesh) -> Decision:
        size = mesh.axis_size(axis)
        chunks = size * chunks_per_stage
        if size == 1:
            return Decision()
        if cut is not None and len(cut) != chunks - 1:
            raise PlanError(f"{name}: cut names {len(cut)} modules; {chunks} chunks begin at {chunks - 1}")
        chunk_of = cut_evenly(model, chunks, name) if cut is None else cut_at(model, cut, name)
        return Decision(stages=Stages(axis, schedule, chunks, chunk_of))

    return _recipe(name, axis, decide)


def recompute(*patterns: str) -> Recipe:
    """What the modules named by `patterns` ("blocks.*") compute in the forward pass is not kept for the backward pass but
    computed once more, from what enters the module: less memory, about a third more work. Changes no number. Without
    patterns: every module that stands in a list of modules.

    Raises PlanError for a pattern that matches no module.
    """
    name = f"recompute({', '.join(map(repr, patterns))})"
    return Recipe(((name, lambda model, _: Decision(recompute=_named(model, patterns, name))),))


def recompute_to_fit(*patterns: str) -> Recipe:
    """`recompute` of as few of these modules as let the plan fit the mesh's `memory`: of those that save most per second of
    work first, whole or, where that does, only a child of theirs such as "attn" or "mlp". The plan's summary says what was
    chosen. Where everything fits nothing is recomputed; where nothing does, a PlanError says which memory would do.
    """
    name = f"recompute_to_fit({', '.join(map(repr, patterns))})"

    def part(model: Module, _: Mesh) -> Decision:
        modules = dict(model.named_modules())
        found = _named(model, patterns, name)
        parts = [f"{path}.{child}" for path in found for child, _ in modules[path].named_children()]
        return Decision(may_recompute=found + parts)

    return Recipe(((name, part),))


def offload(*patterns: str, memory: str | int = 0) -> Recipe:
    """What the modules named by `patterns` keep for the backward pass waits in host memory: copied there after its last use
    in the forward pass, and back before its first use in the backward pass, beside what devices compute meanwhile. Of
    copies that take longer than that, devices wait for the rest. Changes no number. Every device has a host
    beside it with `memory` of its own (0: without a limit). Without patterns: every module that stands in a list of modules.

    Raises PlanError for a pattern that matches no module.
    """
    name = f"offload({', '.join(map(repr, patterns))})"
    limit = memory_bytes(memory)
    return Recipe(((name, lambda model, _: Decision(offload=_named(model, patterns, name), host_memory=limit)),))


def _named(model: Module, patterns: Sequence[str], name: str) -> list[str]:
    """The outermost modules that patterns name; without patterns those that stand in lists."""
    paths = [path for path, _ in model.named_modules() if path]
    found = [] if patterns else _in_lists(model)
    if not patterns and not found:
        raise PlanError(f"{name}: the model has no ModuleList; name the modules, of {', '.join(paths[:8])}")
    for pattern in patterns:
        matched = fnmatch.filter(paths, pattern)
        if not matched:
            raise PlanError(f"{name}: '{pattern}' matches no module; the modules are {', '.join(paths[:8])}, ...")
        found += [path for path in matched if not any(path.startswith(f"{other}.") for other in matched)]
    return found


def _in_lists(model: Module) -> list[str]:
    """The paths of modules in lists, of lists within lists those of the outer one."""
    found: list[str] = []
    for path, module in model.named_modules():
        inner = any(path.startswith(f"{other}.") for other in found)
        if isinstance(module, ModuleList) and not inner:
            found += [f"{path}.{name}" if path else name for name, _ in module.named_children()]
    return found


COLUMN = (
    *("q", "k", "v", "qkv", "up", "gate", "fc1", "c_attn", "c_fc", "head", "lm_head"),
    *("q_proj", "k_proj", "v_proj", "gate_proj", "up_proj"),
)
ROW = ("out", "down", "proj", "fc2", "c_proj", "o_proj", "down_proj")


def _ends_in(path: str, names: Sequence[str]) -> bool:
    return any(f".{path}".endswith(f".{name}") for name in names)


def megatron(axis: str = "tp", column: Sequence[str] = COLUMN, row: Sequence[str] = ROW) -> Recipe:
    """Linear layers split along `axis` in pairs: the first of a pair by its outputs, the second by its inputs.

    A Linear module is known by the end of its name, one or more whole parts ("fc1", "intermediate.dense"): those in
    `column` have weight S(0) and bias S(0), those in `row` weight S(1) and bias B; ExpertLinear modules alike, each expert by
    itself. Embeddings and all other parameters are left to the planner. Raises PlanError when no
    module is matched.
    """
    name = f"megatron({axis!r})"

    def decide(model: Module, mesh: Mesh) -> Decision:
        rules: list[Rule] = []
        for path, module in model.named_modules():
            if not isinstance(module, (Linear, ExpertLinear)) or not _ends_in(path, (*column, *row)):
                continue
            by_column = _ends_in(path, column)
            outputs = 1 if isinstance(module, ExpertLinear) else 0
            rules.append(Rule(f"{path}.weight", axis, S(outputs if by_column else outputs + 1), name))
            if isinstance(module, Linear) and module.bias is not None:
                rules.append(Rule(f"{path}.bias", axis, S(0) if by_column else B, name))
        if not rules:
            linears = [path for path, module in model.named_modules() if isinstance(module, Linear)]
            raise PlanError(
                f"{name} matches no Linear module; it looks for the names {', '.join((*column, *row))}, the "
                f"model has {', '.join(linears) or 'none'}; pass column=[...] and row=[...]"
            )
        return Decision(rules=rules)

    return _recipe(name, axis, decide)


def parameters(axis: str, layouts: Mapping[str, Sbp]) -> Recipe:
    """Parameters lie along `axis` as patterns over their names say: `parameters("tp", {"tok.weight": S(0)})`."""
    name = f"parameters({axis!r}, ...)"

    def decide(_: Module, __: Mesh) -> Decision:
        return Decision(rules=[Rule(pattern, axis, sbp, name) for pattern, sbp in layouts.items()])

    return _recipe(name, axis, decide)


def table_parallel(axis: str = "tp", split: str = "row") -> Recipe:
    """Embedding tables in parts along `axis`, with the samples of every piece; all other parameters on every device
    (the layouts of Naumov et al. 2019, "DLRM"). What is exchanged are ids and embeddings of the samples, never a table.

    split: "row", each device looks up those ids whose rows it has, or "column", a part of every embedding; a table with
    fewer columns than the axis has devices is split by rows all the same. Raises PlanError for a model without tables.
    """
    name = f"table_parallel({axis!r}, {split!r})"
    if split not in ("row", "column"):
        raise PlanError(f"{name}: a table is split by 'row' or by 'column'")

    def decide(model: Module, mesh: Mesh) -> Decision:
        tables = {
            f"{path}.weight": module.embedding_dim >= mesh.axis_size(axis) and split == "column"
            for path, module in model.named_modules()
            if isinstance(module, (Embedding, EmbeddingBag))
        }
        if not tables:
            raise PlanError(f"{name}: the model has no Embedding and no EmbeddingBag")
        rules = [
            Rule(path, axis, S(int(tables[path])) if path in tables else B, name)
            for path, _ in model.named_parameters()
        ]
        return Decision(rules=rules, sources=[Rule("*", axis, S(0), name)])

    return _recipe(name, axis, decide)


def parse(text: str, own: Mapping[str, Callable[[], Recipe]] | None = None) -> Recipe:
    """A recipe from its short name, as command lines have it: "zero3+megatron+1f1b".

    The names are data_parallel, zero1, zero2, zero3, megatron, sample_parallel, sequence_parallel, expert_parallel,
    context_parallel, ring (of it), recompute, recompute_auto (`recompute_to_fit`), offload and the schedules of `pipeline`;
    `own` adds a model's own recipes. Raises PlanError, with them, for another name.
    """
    known: dict[str, Callable[[], Recipe]] = {"data_parallel": data_parallel, "megatron": megatron}
    known |= {f"zero{stage}": partial(zero, stage) for stage in (1, 2, 3)}
    known |= {schedule: partial(pipeline, schedule) for schedule in ("gpipe", "1f1b", "zero_bubble")}
    known |= {"sample_parallel": sample_parallel, "sequence_parallel": sequence_parallel, "recompute": recompute}
    known |= {"context_parallel": context_parallel, "ring": partial(context_parallel, attention="ring")}
    known |= {"recompute_auto": recompute_to_fit, "offload": offload}
    known["expert_parallel"] = expert_parallel
    known["interleaved"] = partial(pipeline, "interleaved", chunks_per_stage=2)
    known |= own or {}
    parts = []
    for name in text.split("+"):
        if name.strip() not in known:
            raise PlanError(f"recipe '{text}': there is no '{name.strip()}'; {', '.join(known)} are possible")
        parts.append(known[name.strip()]())
    return reduce(operator.add, parts)
