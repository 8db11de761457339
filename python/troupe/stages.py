"""How a pipeline cuts a model: into chunks of modules that follow one another, of about equal work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from troupe._troupe import PlanError
from troupe.nn.layers import Embedding, ModuleList, Sequential
from troupe.nn.module import Module


@dataclass(frozen=True)
class Stages:
    """Chunk `chunk_of[path]` of `chunks` holds the module or parameter at a path and all below it; chunk c lies at
    coordinate c % size of the mesh's axis."""

    axis: str
    schedule: str
    chunks: int
    chunk_of: dict[str, int]

    def chunk(self, path: str) -> int:
        """The chunk that holds the module or parameter at a path."""
        while path not in self.chunk_of:
            path = path.rpartition(".")[0]
        return self.chunk_of[path]


def cut_evenly(model: Module, chunks: int, what: str) -> dict[str, int]:
    """The chunk of every part of the model: its direct children in the order in which they were assigned, lists of
    modules and modules that hold such a list taken apart. The largest chunk is as small as can be, measured in the
    parameters that products use.

    Raises PlanError when there are more chunks than parts.
    """
    parts = _parts(model, "")
    if len(parts) < chunks:
        names = ", ".join(name for name, _ in parts) or "none"
        raise PlanError(
            f"{what}: {chunks} chunks, but the model has {len(parts)} parts ({names}); at most {len(parts)} are "
            "possible"
        )
    ends = _balanced([_work(part) for _, part in parts], chunks)
    return {name: sum(end <= i for end in ends) for i, (name, _) in enumerate(parts)}


def cut_at(model: Module, starts: Sequence[str], what: str) -> dict[str, int]:
    """The chunks that begin with the first part and with the parts named. Raises PlanError for a name that is no
    part."""
    names = [name for name, _ in _parts(model, "")]
    wrong = [start for start in starts if start not in names[1:]]
    if wrong or sorted(starts, key=names.index) != list(starts):
        raise PlanError(f"{what}: cut={list(starts)} must name parts in their order, of {', '.join(names[1:])}")
    places = [names.index(start) for start in starts]
    return {name: sum(place <= i for place in places) for i, name in enumerate(names)}


def _parts(module: Module, prefix: str) -> list[tuple[str, Module | None]]:
    own: list[tuple[str, Module | None]] = [
        (name, None) for name, _ in module.named_parameters(prefix) if "." not in name.removeprefix(prefix + ".")
    ]
    for name, child in module.named_children():
        path = f"{prefix}.{name}" if prefix else name
        # A trunk that holds the blocks is taken apart too; a block, which stands in a list, is not.
        apart = isinstance(child, ModuleList) or (not isinstance(module, ModuleList) and _holds_a_list(child))
        own += _parts(child, path) if apart else [(path, child)]
    return own


def _holds_a_list(module: Module) -> bool:
    return any(isinstance(below, ModuleList) and not isinstance(below, Sequential) for below in module.modules())


def _work(part: Module | None) -> int:
    if part is None:
        return 0
    rows = sum(m.weight.numel() for _, m in part.named_modules() if isinstance(m, Embedding))
    return sum(parameter.numel() for parameter in part.parameters()) - rows


def _balanced(work: list[int], chunks: int) -> list[int]:
    """Where chunks end (but the last): none empty, the largest as small as can be, the first cut as early as can be."""
    best: list[dict[int, tuple[int, int]]] = [{0: (0, 0)}]  # by chunk: by end, the largest chunk and where it began
    for chunk in range(1, chunks + 1):
        row = {}
        for end in range(chunk, len(work) - (chunks - chunk) + 1):
            row[end] = min(
                (max(largest, sum(work[begin:end])), begin) for begin, (largest, _) in best[-1].items() if begin < end
            )
        best.append(row)
    ends = [len(work)]
    for row in reversed(best[1:]):
        ends.insert(0, row[ends[0]][1])
    return ends[1:-1]
