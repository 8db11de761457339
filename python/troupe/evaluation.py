"""Losses over data, without training."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np

from troupe._troupe import PlanError
from troupe.batch import Fields, as_arrays, fields_of, rows_of
from troupe.call import session_for
from troupe.data.source import Data, SingleBatches
from troupe.means import Cut
from troupe.metrics import Values
from troupe.nn.module import Module
from troupe.session import CompileOptions, Session, shards_for
from troupe.step import TrainStep
from troupe.training import Loss, Pins, record_evaluation, trace_loss


@contextmanager
def evaluating(model: Module) -> Iterator[None]:
    """Training behaviour off inside, and afterwards as it was."""
    before = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in before:
            object.__setattr__(module, "training", training)


def evaluate(
    model: TrainStep | Module,
    data: Data | Iterable[Mapping[str, Any]],
    loss: Loss | None = None,
    batches: int | None = None,
) -> Values:
    """The loss and the metrics over one pass of `data`, or over its first `batches` batches.

    model: a TrainStep (on its devices, with its loss by default) or a module (then `loss` is needed). Every row counts
    the same: a short last batch is weighed by what it holds. Training behaviour (dropout) is off. Returns `.loss` and
    what the loss function returns beside it. Raises PlanError for empty data.
    """
    step = model if isinstance(model, TrainStep) else None
    module = step.model if step is not None else model
    function = loss if loss is not None else step.loss if step is not None else None
    if function is None or not isinstance(module, Module):
        raise PlanError("evaluate(model, data, loss): a module needs a loss function; a TrainStep has one")
    session = step.session if step is not None else session_for(module)
    axes = step.data_axes if step is not None else []
    pins: Pins = step.pins if step is not None else {}
    ranks = step.data_parallel_size if step is not None else 1
    sums: dict[str, float] = {}
    weights: dict[str, float] = {}
    with evaluating(module):
        for index, batch in enumerate(data):
            if batches is not None and index >= batches:
                break
            arrays = as_arrays(batch)
            fields, rows = fields_of(arrays), rows_of(arrays)
            key = ("evaluate", function, id(module), rows, tuple(sorted(fields.items(), key=lambda f: f[0])))
            make = partial(_Evaluation, session, module, function, fields, rows, axes, ranks, pins)
            _add(session.cached(key, make).run(arrays), rows, sums, weights)
    if not sums:
        raise PlanError("the data is empty: there is nothing to evaluate")
    result: dict[str, float] = {}
    for term, total in sums.items():
        name = term.rpartition(".")[0]
        result[name] = result.get(name, 0.0) + total / weights[term]
    return Values(result)


class _Evaluation:
    """The loss of batches of one shape, compiled."""

    def __init__(
        self,
        session: Session,
        model: Module,
        loss: Loss,
        fields: Fields,
        rows: int,
        axes: list[str],
        ranks: int,
        pins: Pins,
    ):
        if rows < ranks:
            axes, ranks = [], 1  # not a row for each: the axes are as any others, and devices may compute the same
        pieces = shards_for(rows, ranks)
        trace = record_evaluation(
            trace_loss(model, loss, fields, rows // pieces * ranks, ranks), Cut(pieces, ranks), pins
        )
        self.plan = session.load(trace, "evaluate", CompileOptions(axes, pieces))
        self._feed = SingleBatches(fields, rows)
        self.plan.set_sources(self._feed.sources())

    def run(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The terms of a batch's loss and metrics."""
        self._feed.give(self.plan.next_step, arrays)
        return self.plan.run(self.plan.next_step)


def _add(
    outputs: Mapping[str, np.ndarray], rows: int, sums: dict[str, float], weights: dict[str, float]
) -> None:
    """Adds a batch's terms, each mean times what it counts for: its weight, or the rows of the batch."""
    for name, value in outputs.items():
        if name.endswith(".weight"):
            continue
        weight = float(outputs.get(f"{name}.weight", np.float64(rows)))
        sums[name] = sums.get(name, 0.0) + (float(value) * weight if weight else 0.0)
        weights[name] = weights.get(name, 0.0) + weight
