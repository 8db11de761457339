"""The graph of a training step: forward, backward, and the update that happens once per step."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from troupe._troupe import PlanError
from troupe.batch import Fields
from troupe.buffers import record_buffers
from troupe.layout import B, S
from troupe.layouts import Rule
from troupe.loss_scale import LossScale, Scaling
from troupe.means import Cut, mean_of, terms_of, total_weight
from troupe.nn.module import Module
from troupe.nn.parameter import Parameter
from troupe.optim.norms import sum_of_squares
from troupe.optim.optimizer import Optimizer, Update
from troupe.recipes import Decision
from troupe.tensor import Tensor
from troupe.trace import Trace, record
from troupe.watching import record_watches

Loss = Callable[[Module, Mapping[str, Tensor]], Any]
Pins = Mapping[str, Mapping[str, Rule]]

RESERVED = ("loss", "grad_norm", "lr", "ok", "loss_scale", "step")


@dataclass(frozen=True)
class Forward:
    """A traced loss and what was returned beside it."""

    trace: Trace
    sources: dict[str, Tensor]
    loss: Tensor
    metrics: dict[str, Tensor]


def trace_loss(model: Module, loss: Loss, fields: Fields, rows: int, ranks: int) -> Forward:
    """Records the loss of a round of `rows` rows in `ranks` pieces. Raises PlanError when the loss returns something
    else."""
    trace = Trace(model, pieces_per_round=ranks)
    with trace.recording("loss"):
        batch = {
            name: trace.source(name, field.dtype, (rows, *field.shape)) for name, field in fields.items()
        }
        result = loss(model, batch)
        value, metrics = result if isinstance(result, tuple) and len(result) == 2 else (result, {})
    if not isinstance(value, Tensor) or not isinstance(metrics, Mapping):
        raise PlanError(
            f"a loss function returns a scalar tensor, or (loss, {{name: tensor}}), not "
            f"{type(result).__name__}"
        )
    taken = [name for name in metrics if name in RESERVED]
    if taken:
        raise PlanError(f"metrics named {', '.join(taken)} are there already; choose other names")
    return Forward(trace, batch, value, dict(metrics))


def apply_pins(
    trace: Trace, pins: Pins, parameter: str, variable: Tensor, dims: Sequence[int] | None = None
) -> None:
    """Demands a parameter's layout of a variable that goes with it; `dims`: which of the parameter's dims it has."""
    for axis, rule in pins.get(parameter, {}).items():
        sbp = rule.sbp
        if dims is not None and sbp.dim is not None:
            sbp = S(dims.index(sbp.dim)) if sbp.dim in dims else B
        trace.graph.pin(variable.id, axis, sbp.text, rule.origin, "", 0)


def pin_outputs(trace: Trace, rules: Sequence[Rule]) -> None:
    """Demands layouts of what modules returned. Raises PlanError for a module that did not run or returns no tensor."""
    for rule in rules:
        output = trace.module_outputs.get(rule.pattern)
        if not isinstance(output, Tensor):
            raise PlanError(f"{rule.origin}: module '{rule.pattern}' returned no tensor while the model was recorded")
        trace.graph.pin(output.id, rule.axis, rule.sbp.text, rule.origin, "", 0)


def pin_sources(forward: Forward, rules: Sequence[Rule]) -> None:
    """Demands layouts of the sources that patterns name. Raises PlanError for a pattern that names none."""
    for rule in rules:
        found = fnmatch.filter(forward.sources, rule.pattern)
        if not found:
            raise PlanError(f"{rule.origin}: no source matches '{rule.pattern}'; there are {', '.join(forward.sources)}")
        for name in found:
            source = forward.sources[name]
            if rule.sbp.dim is None or rule.sbp.dim < source.ndim:
                forward.trace.graph.pin(source.id, rule.axis, rule.sbp.text, rule.origin, "", 0)


def record_training(
    forward: Forward,
    model: Module,
    optimizer: Optimizer,
    cut: Cut,
    pins: Pins,
    clip_grad_norm: float | None,
    decision: Decision,
    loss_scale: LossScale | None = None,
) -> Trace:
    """Adds gradients, the update of all parameters, and the outputs "loss", "grad_norm", "lr", "ok" and, with a
    loss_scale, "loss_scale"."""
    trace = forward.trace
    parameters: dict[str, Parameter] = dict(model.named_parameters())
    used = trace.parameters
    trained = [
        name
        for name in parameters
        if name in used
        and parameters[name].requires_grad
        and optimizer.group_of(parameters[name]) is not None
    ]
    if not trained:
        raise PlanError("nothing can be trained: the loss uses no parameter that the optimizer holds")
    for name, value in used.items():
        apply_pins(trace, pins, name, value)
    with trace.recording("loss"):
        terms = terms_of(forward.loss, cut, "the loss")
        metrics = {name: terms_of(value, cut, f"metric '{name}'") for name, value in forward.metrics.items()}
        watches = record_watches(trace, cut)
        scaling = Scaling(trace, loss_scale) if loss_scale is not None else None
        seeds = [(scaling.seed(term).id,) if scaling is not None else () for term in terms]
    wrt = [used[name].id for name in trained]
    gradients = [trace.graph.gradients(term.sum.id, wrt, *seed) for term, seed in zip(terms, seeds, strict=True)]
    trace.graph.set_role("update")
    with trace.recording("optimizer"):
        scales = [record("rdiv_scalar", total_weight(term), value=1.0) for term in terms]
        total: dict[str, Tensor] = {}
        for index, name in enumerate(trained):
            parts = []
            for term, found, scale in zip(terms, gradients, scales, strict=True):
                if found[index] < 0:
                    continue
                gradient = Tensor(trace, found[index])
                with trace.within(f"optimizer.unscaled.{name}"):
                    parts.append((scaling.unscaled(gradient, term) if scaling is not None else gradient, scale))
            if len(scales) == 1 and parts:
                total[name] = parts[0][0]
            elif parts:
                scaled = [gradient * scale for gradient, scale in parts]
                total[name] = scaled[0] if len(scaled) == 1 else record("add_n", *scaled)
        if not total:
            raise PlanError("nothing can be trained: the loss does not depend on any parameter")
        mean = mean_of(terms)
        norm, ok = _record_update(
            trace,
            forward.loss,
            mean,
            total,
            scales[0] if len(scales) == 1 else None,
            parameters,
            optimizer,
            pins,
            clip_grad_norm,
            decision,
        )
        if scaling is not None:
            scaling.record_update(mean, norm)
        record_buffers(trace, cut.pieces, ok)
        for name, metric in metrics.items():
            trace.graph.output(name, mean_of(metric).id)
        for name, watched in watches.items():
            trace.graph.output(name, (mean_of(watched) if isinstance(watched, list) else watched).id)
    return trace


def _is_in_parts(pins: Pins, parameter: str, data_axes: Sequence[str]) -> bool:
    """Whether a parameter is split along an axis without data."""
    rules = pins.get(parameter, {}).items()
    return any(rule.sbp.dim is not None for axis, rule in rules if axis not in data_axes)


def _record_update(
    trace: Trace,
    loss: Tensor,
    mean: Tensor,
    gradients: Mapping[str, Tensor],
    scale: Tensor | None,
    parameters: Mapping[str, Parameter],
    optimizer: Optimizer,
    pins: Pins,
    clip_grad_norm: float | None,
    decision: Decision,
) -> tuple[Tensor, Tensor]:
    """Gradients count times `scale`; None: they are means already. Returns their global norm before it is clipped, and
    "ok"."""
    sums_of_squares = {
        name: partial(sum_of_squares, in_parts=_is_in_parts(pins, name, decision.data_axes)) for name in gradients
    }
    squares = []
    for name, gradient in gradients.items():
        with trace.within(f"optimizer.norm.{name}"):
            squares.append(sums_of_squares[name](gradient))
    norm = (squares[0] if len(squares) == 1 else record("add_n", *squares)).sqrt()
    if scale is None:
        scale = record("fill", value=1.0, shape=[], dtype=loss.dtype)
    else:
        norm = norm * scale
    if clip_grad_norm is not None:
        scale = scale * record("global_norm_scale", norm, max_norm=float(clip_grad_norm))
    ok = record("is_finite", mean, norm)
    steps = trace.variable("optimizer.step", "i64", ())
    with trace.within("optimizer.lr"):
        rates = optimizer.rates(steps.float())
    updates = []
    for name, gradient in gradients.items():
        group = optimizer.group_of(parameters[name])
        assert group is not None
        updates.append(
            Update(
                trace,
                name,
                parameters[name],
                trace.parameters[name],
                gradient,
                scale,
                ok,
                steps,
                rates[group],
                optimizer.param_groups[group],
                partial(apply_pins, trace, pins, name),
                sums_of_squares[name],
                decision.stages.chunk(name) if decision.stages is not None else 0,
            )
        )
    optimizer.record_updates(updates)
    trace.graph.assign(steps.id, (steps + ok.long()).id)
    for name, value in (("loss", mean), ("grad_norm", norm), ("lr", rates[0]), ("ok", ok)):
        trace.graph.output(name, value.id)
    return norm, ok


def record_evaluation(forward: Forward, cut: Cut, pins: Pins) -> Trace:
    """Adds, for the loss and each metric NAME, the output "NAME.K" of its K-th term, and "NAME.K.weight" where the
    weight is not known beforehand, so that batches can be weighed."""
    trace = forward.trace
    for name, value in trace.parameters.items():
        apply_pins(trace, pins, name, value)
    with trace.recording("loss"):
        terms = {
            name: terms_of(value, cut, f"'{name}'")
            for name, value in {"loss": forward.loss, **forward.metrics}.items()
        }
    trace.graph.set_role("update")
    with trace.recording("evaluate"):
        for name, found in terms.items():
            for index, term in enumerate(found):
                trace.graph.output(f"{name}.{index}", mean_of([term]).id)
                if term.weight is not None:
                    trace.graph.output(f"{name}.{index}.weight", (term.weight * 1.0).id)
    return trace
