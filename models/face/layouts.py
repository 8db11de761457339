"""How a recogniser lies on a mesh."""

from __future__ import annotations

from models.face.model import MarginHead
from troupe import B, S
from troupe.layouts import Rule
from troupe.mesh import Mesh
from troupe.nn import Module
from troupe.recipes import Decision, Recipe


def class_parallel(axis: str = "cp") -> Recipe:
    """The classes split along `axis`, and the samples of every piece as well ("partial FC", An et al. 2021).

    The backbone works on each device's own samples. Their embeddings, which are small, are gathered; each device makes
    the logits of all samples for its own classes. The weights of classes, their gradients and the state that an
    optimizer keeps of them are made, used and updated where they lie. The number of classes need not divide evenly.
    """
    name = f"class_parallel({axis!r})"

    def decide(model: Module, mesh: Mesh) -> Decision:
        if not mesh.has_axis(axis):
            return Decision(notes=[f"{name}: the mesh has no axis '{axis}'; it counts as size 1"])
        heads = [path for path, module in model.named_modules() if isinstance(module, MarginHead)]
        split = [f"{path}.weight" for path in heads]
        rules = [
            Rule(parameter, axis, S(0) if parameter in split else B, name) for parameter, _ in model.named_parameters()
        ]
        outputs = [Rule(path, axis, S(1), name) for path in heads]
        return Decision(rules=rules, outputs=outputs, sources=[Rule("*", axis, S(0), name)])

    return Recipe(((name, decide),))
