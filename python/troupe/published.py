"""Published models, as `troupe plan` finds them: each `models/*/published.py` lists their names and makes them."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import troupe
from troupe._troupe import PlanError
from troupe.batch import Field, Fields
from troupe.functional import cross_entropy
from troupe.nn.module import Module
from troupe.nn.parameter import Parameter
from troupe.optim import AdamW
from troupe.optim.optimizer import Optimizer
from troupe.recipes import Recipe
from troupe.training import Loss


@dataclass(frozen=True)
class Published:
    """A published model, not yet initialised, and what a step that trains it needs.

    fields: what a row of the batch holds. loss: of a batch with these fields. context: the tokens of a sequence, dim 0
    of the fields that hold them; None for a model that reads no sequences. recipes: the model's own, by name.
    """

    model: Module
    fields: Fields
    loss: Loss
    context: int | None = None
    optimizer: Callable[[Iterable[Parameter]], Optimizer] = partial(AdamW, lr=1e-4, weight_decay=0.1)
    recipes: Mapping[str, Callable[[], Recipe]] = field(default_factory=dict)

    def with_sequences(self, seq: int) -> Published:
        """The same for sequences of `seq` tokens. Raises PlanError for a model that reads no sequences."""
        if self.context is None:
            raise PlanError(f"{type(self.model).__name__} reads no sequences; --seq has no meaning for it")
        fields = {
            name: Field(of.dtype, (seq, *of.shape[1:])) if of.shape[:1] == (self.context,) else of
            for name, of in self.fields.items()
        }
        return replace(self, fields=fields, context=seq)


def language_model(model: Module, context: int) -> Published:
    """A model from the ids "x" to the logits of the ids "y" that follow them."""
    return Published(
        model,
        {name: Field("i32", (context,)) for name in ("x", "y")},
        lambda m, b: cross_entropy(m(b["x"]), b["y"]),
        context,
    )


def find(name: str) -> Published:
    """The published model of this name, from `models/*/published.py` of the source tree. Raises PlanError."""
    roots = [Path(troupe.__file__).resolve().parents[2], Path.cwd()]
    root = next((root for root in roots if (root / "models").is_dir()), None)
    if root is None:
        raise PlanError("the published models are in the source tree; run this command there")
    sys.path.insert(0, str(root))
    known: list[str] = []
    for path in sorted((root / "models").glob("*/published.py")):
        module = importlib.import_module(f"models.{path.parent.name}.published")
        if name in module.PUBLISHED:
            return module.make(name)
        known += module.PUBLISHED
    raise PlanError(f"there is no model and no saved plan '{name}'; the models are {', '.join(known)}")
