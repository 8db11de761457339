"""The training step: a model, a loss and an optimizer, compiled for a mesh."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np

from troupe import _troupe, checkpoint
from troupe._troupe import FaultError, PlanError
from troupe.batch import Fields, as_arrays, fields_of, rows_of, tokens_of
from troupe.data.source import Data, SingleBatches, as_data
from troupe.interrupt import CtrlC
from troupe.layouts import Layouts, resolve, rules_of
from troupe.loss_scale import LossScale
from troupe.means import Cut
from troupe.mesh import Mesh, mesh as make_mesh
from troupe.metrics import Metrics
from troupe.nn.module import Module
from troupe.optim.optimizer import Optimizer
from troupe.plan import Plan
from troupe.recipes import Recipe, data_parallel
from troupe.session import CompileOptions, LoadedPlan, Session, choices_for, compile_for, compile_trace, rows_per_piece
from troupe.status import status
from troupe.timeline import Timeline
from troupe.trace import Trace
from troupe.training import Loss, Pins, pin_outputs, pin_sources, record_training, trace_loss
from troupe.watching import watched


class TrainStep:
    """One training step as a plan: `step(batch)` runs it, `tr.train(step, data, ...)` runs many.

    model: the module that is trained. loss: a function (model, batch) -> scalar tensor, or (scalar, {name: scalar});
    the batch is a dict of tensors. optimizer: over the model's parameters. mesh: the devices (one by default). recipe:
    what decides about layouts, `data_parallel()` by default. layouts: {pattern of parameter names: {axis: layout}} on
    top of that. batch_shards: into how many shards every batch is cut; it decides the order of sums, so that runs with
    equal batch_shards are equal to the last bit for any number of data-parallel devices; by default the size of the
    data axes. pieces_per_shard: micro-batches per shard, whose gradients are added up. clip_grad_norm: the largest
    global norm of the gradients. reduction: "canonical" adds the shards' gradients along one fixed tree; "fast" lets
    each device add all its pieces in one sum, which holds one accumulator instead of several, and rounds otherwise on
    another number of data-parallel devices. on_nonfinite: "stop" (FaultError) or "skip" (the step changes nothing).
    precision: "f32", or "bf16" or "f16": ops of the forward and backward pass compute on bfloat16 or float16 as
    `precision_table` says; parameters, their gradients, the optimizer and everything that is fetched stay float32.
    loss_scale: with "f16", how the loss is scaled; a step whose gradients alone are not finite then changes nothing but
    the scale, and becomes a case for on_nonfinite when the scale cannot shrink further.

    Raises PlanError for what does not fit together.
    """

    def __init__(
        self,
        model: Module,
        loss: Loss,
        optimizer: Optimizer,
        *,
        mesh: Mesh | None = None,
        recipe: Recipe | None = None,
        layouts: Layouts | None = None,
        batch_shards: int | None = None,
        pieces_per_shard: int = 1,
        clip_grad_norm: float | None = None,
        seed: int = 0,
        reduction: str = "canonical",
        on_nonfinite: str = "stop",
        precision: str = "f32",
        loss_scale: LossScale | None = None,
    ):
        if reduction not in ("canonical", "fast"):
            raise PlanError(f"reduction={reduction!r}; 'canonical' and 'fast' are possible")
        if precision not in ("f32", "bf16", "f16"):
            raise PlanError(f"precision={precision!r}; 'f32', 'bf16' and 'f16' are possible")
        if loss_scale is not None and precision != "f16":
            raise PlanError(f"loss_scale goes with precision='f16'; the gradients of {precision!r} need none")
        if on_nonfinite not in ("stop", "skip"):
            raise PlanError(f"on_nonfinite={on_nonfinite!r}; 'stop' and 'skip' are possible")
        if pieces_per_shard < 1 or (batch_shards is not None and batch_shards < 1):
            raise PlanError(
                f"batch_shards={batch_shards} and pieces_per_shard={pieces_per_shard} must be at least 1"
            )
        if clip_grad_norm is not None and clip_grad_norm <= 0:
            raise PlanError(f"clip_grad_norm={clip_grad_norm} must be above 0")
        self.model, self.loss, self.optimizer = model, loss, optimizer
        self.mesh = mesh if mesh is not None else make_mesh("cpu")
        decision = (recipe if recipe is not None else data_parallel()).decide(model, self.mesh)
        self.data_axes = decision.data_axes
        self.data_parallel_size = math.prod(self.mesh.axis_size(axis) for axis in self.data_axes)
        self.batch_shards = batch_shards if batch_shards is not None else self.data_parallel_size
        if self.batch_shards < self.data_parallel_size:
            raise PlanError(
                f"batch_shards={self.batch_shards} on {self.data_parallel_size} data-parallel devices leaves "
                f"devices without work; at least {self.data_parallel_size} are needed"
            )
        self.pieces_per_shard = pieces_per_shard
        cut = (self.batch_shards, pieces_per_shard)
        if reduction == "fast":
            pieces, left = divmod(self.batch_shards * pieces_per_shard, self.data_parallel_size)
            if left:
                raise PlanError(
                    f"reduction='fast': {self.batch_shards * pieces_per_shard} pieces cannot be shared out evenly to "
                    f"{self.data_parallel_size} data-parallel devices; a multiple would do"
                )
            cut = (self.data_parallel_size, pieces)
            decision.notes.append("reduction: fast, one sum per device; losses round as the number of devices has it")
        self.clip_grad_norm = clip_grad_norm
        self.seed = seed
        self.on_nonfinite = on_nonfinite
        self.loss_scale = (loss_scale or LossScale()) if precision == "f16" else None
        self.decision = decision
        self._options = CompileOptions(self.data_axes, *cut, precision)
        names = [name for name, _ in model.named_variables()]
        self.pins: Pins = resolve(decision.rules + rules_of(layouts or {}), names)
        self.steps = 0
        self._session: Session | None = None
        self._state: dict[str, np.ndarray] = {}
        self._planned: tuple[Any, Any] | None = None
        self._plans: dict[Any, LoadedPlan] = {}
        self._current: tuple[LoadedPlan, Data] | None = None
        self._single: SingleBatches | None = None
        self._timeline: Timeline | None = None

    @property
    def session(self) -> Session:
        """The devices with the model's parameters and the optimizer's state; begun when it is first needed."""
        if self._session is None or self._session.closed:
            if self._session is not None:
                self._state = self._session.saved
            self._plans, self._current = {}, None
            self._session = Session(self.model, self.mesh, self.seed, self.decision)
            self._session.set_initial(self._initial(self._state))
        return self._session

    def _initial(self, state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The variables that do not begin at zero, with `state` on top."""
        return {**(self.loss_scale.state() if self.loss_scale is not None else {}), **state}

    def plan(self, data: Any) -> Plan:
        """The plan for batches like those of `data` (data, or one batch), to look at. Nothing runs."""
        if isinstance(data, Mapping):
            arrays = as_arrays(data)
            fields, rows = fields_of(arrays), rows_of(arrays)
        else:
            source = as_data(data)
            fields, rows = source.fields, source.batch_rows
        key = self._key(fields, rows)
        if self._session is not None and not self._session.closed and key in self._plans:
            return Plan(self._plans[key].compiled, self.decision.notes)
        return Plan(self._compiled(key, fields, rows), self.decision.notes)

    def dry_plan(self, fields: Fields, rows: int, gpus_per_host: int = 0) -> Plan:
        """The plan for batches of `rows` rows with these fields, to look at and not to run: its time does not grow with
        the number of devices. With `gpus_per_host`, the devices are H200s in hosts of so many."""
        choices = choices_for("train", self.mesh, self.seed, self.decision, self._options)
        choices.one_per_class = True
        if gpus_per_host:
            choices.in_hosts_of(gpus_per_host)
        profile = _troupe.Profile.h200() if gpus_per_host else _troupe.Profile()
        compiled = compile_for(self._trace(fields, rows).graph, "train", choices, self.decision, profile)
        return Plan(compiled, self.decision.notes)

    def _compiled(self, key: Any, fields: Fields, rows: int) -> Any:
        """The plan for a session that has none yet."""
        if self._planned is None or self._planned[0] != key:
            trace = self._trace(fields, rows)
            compiled = compile_trace(trace, "train", self.mesh, self.seed, self.decision, self._options)
            self._planned = (key, compiled)
        return self._planned[1]

    def _trace(self, fields: Fields, rows: int) -> Trace:
        piece = rows_per_piece(rows, self._options.batch_shards, self._options.pieces_per_shard)
        ranks = self.data_parallel_size
        forward = trace_loss(self.model, self.loss, fields, piece * ranks, ranks)
        cut = Cut(self.batch_shards * self.pieces_per_shard, ranks)
        pin_outputs(forward.trace, self.decision.outputs)
        pin_sources(forward, self.decision.sources)
        return record_training(
            forward,
            self.model,
            self.optimizer,
            cut,
            self.pins,
            self.clip_grad_norm,
            self.decision,
            self.loss_scale,
        )

    def _key(self, fields: Fields, rows: int) -> Any:
        """All that a plan depends on and that can change between steps."""
        options = [
            tuple((k, v) for k, v in group.items() if k != "params") for group in self.optimizer.param_groups
        ]
        return (
            tuple(sorted((name, field.dtype, field.shape) for name, field in fields.items())),
            rows,
            tuple(module.training for module in self.model.modules()),
            tuple(parameter.requires_grad for parameter in self.model.parameters()),
            tuple(options),
            watched(),
        )

    def _loaded(self, fields: Fields, rows: int) -> LoadedPlan:
        session = self.session
        key = self._key(fields, rows)
        if key not in self._plans:
            if not session.empty and not self._plans:
                session.close()  # plans that came first chose layouts; training's come before theirs
                session = self.session
            if session.empty:
                self._plans[key] = session.load_compiled(self._compiled(key, fields, rows))
            else:
                self._plans[key] = session.load(self._trace(fields, rows), "train", self._options)
            status.set_plan(self._plans[key].compiled, self.mesh)
        return self._plans[key]

    def __call__(self, batch: Mapping[str, Any]) -> Metrics:
        """Runs one step on one batch (a dict of arrays) and returns its metrics."""
        arrays = as_arrays(batch)
        fields, rows = fields_of(arrays), rows_of(arrays)
        if self._single is None or (self._single.fields, self._single.batch_rows) != (fields, rows):
            self._single = SingleBatches(fields, rows)
        self._single.give(self.steps, arrays)
        with CtrlC() as ctrl_c:
            metrics = self.advance(self._single, read_ahead=False)
        if ctrl_c.pressed:
            raise KeyboardInterrupt
        if self._timeline is not None and self._timeline.failure is not None:
            self.end_trace()
        assert metrics is not None
        return metrics

    def advance(self, data: Data, read_ahead: bool) -> Metrics | None:
        """Runs the next step on its batch of `data`; None when the data has ended. With `read_ahead` the batch after it
        is taken from the data meanwhile.

        Raises FaultError when the loss or a gradient is not finite, no smaller loss scale may help and on_nonfinite is
        "stop": nothing was changed, and the error names the first tensor that was not.
        """
        with status.doing("planning"):
            plan = self._loaded(data.fields, data.batch_rows)
        if self._current is None or self._current[0] is not plan or self._current[1] is not data:
            plan.set_sources(data.sources())
            self._current = (plan, data)
        if not _prepare(data, self.steps):
            return None
        if self._timeline is not None:
            self._timeline.before(plan, self.steps)
        began = time.perf_counter()
        plan.start(self.steps)
        if read_ahead and _prepare(data, self.steps + 1):
            plan.session.cluster.wake()
        plan.wait()
        values = plan.fetch()
        seconds = time.perf_counter() - began
        if self._timeline is not None:
            self._timeline.after(self.steps, seconds)
        if float(values["ok"]) == 0:
            self._not_finite(plan, values)
        metrics = Metrics(self.steps, seconds, tokens_of(data.fields, data.batch_rows), values)
        self.steps += 1
        status.set(step=metrics.step, loss=metrics.loss, tokens_per_s=metrics.tokens_per_s)
        return metrics

    def _not_finite(self, plan: LoadedPlan, values: Mapping[str, np.ndarray]) -> None:
        if self.on_nonfinite == "skip" or (self.loss_scale is not None and self.loss_scale.can_shrink(values)):
            return
        with suppress(FaultError):  # that has to be told is another
            self.end_trace()  # the replay is no step
        first = plan.first_nonfinite(self.steps)
        raise FaultError(
            f"step {self.steps}: the loss or a gradient is not finite and nothing was updated; "
            f"{first or 'on the replay every tensor was finite'}"
        )

    def trace(self, path: str | os.PathLike[str], steps: range) -> None:
        """Writes a timeline of these steps to `path` once the last of them has been made: Chrome's JSON format, which
        https://ui.perfetto.dev opens. It shows what every device of every process did and waited for, what devices
        received from one another, and the memory that was live.

        Between them and other steps nothing changes: the numbers are the same bits, other steps cost nothing. Raises
        PlanError for steps that have been made. A timeline that cannot be written is told after its last step, which has
        been made all the same.
        """
        if len(steps) == 0 or steps.step != 1 or steps.start < self.steps:
            raise PlanError(
                f"trace(steps={steps}): the next step is {self.steps}; range({self.steps}, {self.steps + 3}) would do"
            )
        self.end_trace()
        self._timeline = Timeline(path, steps)

    def end_trace(self) -> None:
        """Writes the timeline as far as its steps have been made, and traces no more. Raises FaultError when it cannot
        be written, or could not be before."""
        if self._timeline is not None:
            timeline, self._timeline = self._timeline, None
            timeline.end()
            if timeline.failure is not None:
                raise timeline.failure

    def optimizer_state(self) -> dict[str, np.ndarray]:
        """The optimizer's variables by name, such as "optimizer.m.head.weight"; empty before the first step."""
        if self._session is None or self._session.closed:
            return dict(self._session.saved if self._session is not None else self._state)
        names = {name for name, _ in self.model.named_variables()}
        return {name: value for name, value in self._session.variables().items() if name not in names}

    def save(self, path: str) -> None:
        """Writes a checkpoint directory, whole or not at all: "model.safetensors" with the model's state dict,
        "optimizer.safetensors" and "state.json". It can be loaded on any mesh."""
        state = {
            "step": self.steps,
            "seed": self.seed,
            "batch_shards": self.batch_shards,
            "pieces_per_shard": self.pieces_per_shard,
        }
        with status.doing("saving"):
            checkpoint.save(path, self.model.state_dict(), self.optimizer_state(), state)

    def load(self, path: str) -> None:
        """Takes model, optimizer and step from a checkpoint directory (or the newest one in a directory of them).

        Raises FaultError when it cannot be read; PlanError, naming the first tensor that differs, when it is another
        model's, and when it was written with another batch_shards, which would change every sum.
        """
        tensors, optimizer, state = checkpoint.load(path)
        if state["batch_shards"] != self.batch_shards:
            raise PlanError(
                f"checkpoint '{path}' was written with batch_shards={state['batch_shards']}, this step has "
                f"{self.batch_shards}; the sums would differ"
            )
        checkpoint.check_same_model(path, self.model, tensors)
        self.model.load_state_dict(tensors)
        self.steps, self._state = state["step"], optimizer
        if self._session is not None and not self._session.closed:
            self._session.set_initial(self._initial(optimizer))
            self._current = None

    def close(self) -> None:
        """Ends the devices; the parameters' numbers move to the host. The next step begins them again."""
        if self._session is not None and not self._session.closed:
            try:
                self.end_trace()
            finally:
                self._session.close()

    def __enter__(self) -> TrainStep:
        return self

    def __exit__(self, _: object, error: BaseException | None, *__: object) -> None:
        try:
            self.close()
        except FaultError as failure:
            if not isinstance(error, KeyboardInterrupt):
                raise
            raise error from error.__cause__ or failure


def _prepare(data: Data, step: int) -> bool:
    """`data.prepare`, which may have to wait for the script's data."""
    status.set(prepares=step)
    with status.doing("data"):
        return data.prepare(step)
