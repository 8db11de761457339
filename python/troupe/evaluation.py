"""Losses over data, without training."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from troupe._troupe import PlanError
from troupe.batch import Fields, as_arrays, fields_of, rows_of
from troupe.call import session_for
from troupe.data.source import Data, SingleBatches
from troupe.means import Cut
from troupe.metrics import Values
from troupe.nn.module import Module
from troupe.session import LoadedPlan, Session, shards_for
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


def evaluate(model: TrainStep | Module, data: Data | Iterable[Mapping[str, Any]], loss: Loss | None = None,
             batches: int | None = None) -> Values:
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
            plan, feed = session.cached(key, lambda: _load(session, module, function, fields, rows, axes, ranks, pins))
            feed.give(plan.next_step, arrays)
            _add(plan.run(plan.next_step), rows, sums, weights)
    if not sums:
        raise PlanError("the data is empty: there is nothing to evaluate")
    result: dict[str, float] = {}
    for term, total in sums.items():
        name = term.rpartition(".")[0]
        result[name] = result.get(name, 0.0) + total / weights[term]
    return Values(result)


def _load(session: Session, model: Module, loss: Loss, fields: Fields, rows: int, axes: list[str], ranks: int,
          pins: Pins) -> tuple[LoadedPlan, SingleBatches]:
    pieces = shards_for(rows, ranks)
    cut = Cut(pieces, ranks)
    trace = record_evaluation(trace_loss(model, loss, fields, rows // pieces * ranks), cut, pins)
    plan = session.load(trace, "evaluate", data_axes=axes, batch_shards=pieces)
    feed = SingleBatches(fields, rows)
    plan.set_sources(feed.sources())
    return plan, feed


def _add(outputs: Mapping[str, np.ndarray], rows: int, sums: dict[str, float], weights: dict[str, float]) -> None:
    """Adds a batch's terms, each mean times what it counts for: its weight, or the rows of the batch."""
    for name, value in outputs.items():
        if name.endswith(".weight"):
            continue
        weight = float(outputs.get(f"{name}.weight", np.float64(rows)))
        sums[name] = sums.get(name, 0.0) + (float(value) * weight if weight else 0.0)
        weights[name] = weights.get(name, 0.0) + weight
