"""A session: the devices of a mesh, the variables that lie on them, and the plans that run over these.

All plans of a session bind to the same variables and run one after another. Waiting gives the interpreter lock away and
lets Ctrl-C through.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from troupe import _troupe
from troupe._troupe import FaultError, PlanError
from troupe.mesh import Mesh
from troupe.nn.module import Module
from troupe.nn.parameter import Parameter
from troupe.recipes import Decision
from troupe.status import status
from troupe.trace import Trace
from troupe.workers import new_devices

PATIENCE_S = 120.0
"""So long may pass without any firing before a run counts as stalled."""

CACHED_PLANS = 16
"""So many plans of calls and evaluations a session keeps."""

_SLICE_S = 0.1


@dataclass(frozen=True)
class CompileOptions:
    """How a plan cuts its batch, and what it computes in."""

    data_axes: Sequence[str] = ()
    """Axes that split the batch."""
    batch_shards: int = 1
    pieces_per_shard: int = 1
    precision: str = "f32"


class LoadedPlan:
    """A plan in a session, ready to run."""

    def __init__(self, session: Session, compiled: Any, handle: int):
        self.session = session
        self.compiled = compiled
        self.handle = handle
        self.next_step = 0

    def set_sources(self, sources: Mapping[str, Any]) -> None:
        """Where its data comes from."""
        self.session.cluster.set_sources(self.handle, dict(sources))

    def start(self, step: int) -> None:
        """Begins a step; `wait` ends it."""
        self.session.cluster.start(self.handle, step, 1)
        self.next_step = step + 1

    def wait(self) -> None:
        """Returns when the step is done. Raises FaultError for a failure or a stall."""
        try:
            with status.doing("step"):
                while not self.session.cluster.wait_for(_SLICE_S, PATIENCE_S):
                    status.look(self.session.cluster)
                status.look(self.session.cluster)
        except KeyboardInterrupt as interrupt:
            try:
                self.session.cluster.stop()
            except FaultError as failure:
                raise interrupt from failure
            raise

    def run(self, step: int) -> dict[str, np.ndarray]:
        """Runs a step and returns its outputs."""
        self.start(step)
        self.wait()
        return self.fetch()

    def fetch(self) -> dict[str, np.ndarray]:
        """The outputs of the last step."""
        return self.session.cluster.fetch(self.handle)

    def first_nonfinite(self, step: int) -> str | None:
        """Runs a step with every tensor checked; says which was the first that is not finite."""
        self.session.cluster.observe(self.handle, finite=True)
        try:
            self.run(step)
            return self.session.cluster.nonfinite(self.handle)
        except FaultError as fault:
            return str(fault)
        finally:
            self.session.cluster.observe(self.handle)


class Session:
    """Devices, variables and plans. Holds a model's parameters from the first plan to `close`."""

    def __init__(self, model: Module, mesh: Mesh, seed: int, decision: Decision | None = None):
        self.mesh = mesh
        self.seed = seed
        self.decision = decision if decision is not None else Decision()
        self.closed = False
        self.saved: dict[str, np.ndarray] = {}
        self._holder: dict[str, int] = {}
        self._last: Any = None
        self._cache: OrderedDict[Any, Any] = OrderedDict()
        self._parameters: dict[str, Parameter] = dict(model.named_variables())
        for parameter in self._parameters.values():
            if parameter.session is not None:  # it gives up its devices, and its parameters their numbers to the host
                parameter.session.close()
        status.begin()
        self.cluster = new_devices(mesh)
        self._waiting = {name: p.materialise(seed) for name, p in self._parameters.items()}
        for name, parameter in self._parameters.items():
            parameter.bind(self, name)

    def set_initial(self, values: Mapping[str, np.ndarray]) -> None:
        """Numbers for variables that are not parameters (optimizer state); others start at zero."""
        for name, value in values.items():
            if name in self._holder:
                self.write(name, value)
            elif name not in self._parameters:
                self._waiting[name] = value

    def load(self, trace: Trace, name: str, options: CompileOptions) -> LoadedPlan:
        """Compiles a trace, and loads the plan. Raises PlanError."""
        return self.load_compiled(
            compile_trace(trace, name, self.mesh, self.seed, self.decision, options, self._last)
        )

    def load_compiled(self, compiled: Any) -> LoadedPlan:
        """Loads a plan, and gives the variables that are new their numbers. It was compiled for this session, or, when
        this session has no plan yet, for none."""
        handle = self.cluster.load(compiled)
        self._last = compiled
        for variable in compiled.variables:
            if variable not in self._holder:
                self._holder[variable] = handle
                if variable in self._waiting:
                    self.write(variable, self._waiting.pop(variable))
        return LoadedPlan(self, compiled, handle)

    def cached(self, key: Any, build: Callable[[], Any]) -> Any:
        """What `build` returned for this key when it was last used, or returns now: something with a loaded `plan`. The
        plans used longest ago go, except those that variables are read through."""
        if key not in self._cache:
            if len(self._cache) >= CACHED_PLANS:
                handle = self._cache.popitem(last=False)[1].plan.handle
                if handle not in self._holder.values():
                    self.cluster.unload(handle)
            self._cache[key] = build()
        self._cache.move_to_end(key)
        return self._cache[key]

    @property
    def empty(self) -> bool:
        """True before the first plan."""
        return self._last is None

    def read(self, name: str) -> np.ndarray:
        """A copy of a variable's numbers."""
        if name in self._holder:
            return self.cluster.read(self._holder[name], name)
        return self._waiting[name].copy()

    def write(self, name: str, array: np.ndarray) -> None:
        """Gives a variable its numbers, on all devices."""
        if name in self._holder:
            self.cluster.write(self._holder[name], name, np.ascontiguousarray(array))
        else:
            self._waiting[name] = np.array(array)

    def variables(self) -> dict[str, np.ndarray]:
        """All variables by name."""
        return {name: self.read(name) for name in (*self._holder, *self._waiting)}

    def close(self) -> None:
        """Ends the devices. Parameters get their numbers back on the host; `saved` has the other variables."""
        if self.closed:
            return
        values = self.variables()
        self.closed = True
        self.cluster.shutdown()
        for name, parameter in self._parameters.items():
            parameter.release(values.pop(name))
        self.saved = values


def compile_trace(
    trace: Trace,
    name: str,
    mesh: Mesh,
    seed: int,
    decision: Decision,
    options: CompileOptions,
    bound_to: Any = None,
) -> Any:
    """The compiled plan of a trace; variables lie where the plan `bound_to` has them. Raises PlanError."""
    choices = choices_for(name, mesh, seed, decision, options)
    if bound_to is not None:
        choices.bind_to(bound_to)
    return compile_for(trace.graph, name, choices, decision, profile_of(mesh))


def profile_of(mesh: Mesh) -> Any:
    """What planning knows about the speed of the mesh's devices."""
    return _troupe.Profile.h200() if mesh.kind == "cuda" else _troupe.Profile()


def compile_for(graph: Any, name: str, choices: Any, decision: Decision, profile: Any) -> Any:
    """The compiled plan, of training with what must be recomputed for it to fit. Raises PlanError."""
    if name == "train" and decision.may_recompute:
        return _troupe.fit(graph, choices, decision.may_recompute, profile)
    return _troupe.compile(graph, choices, profile)


def choices_for(name: str, mesh: Mesh, seed: int, decision: Decision, options: CompileOptions) -> Any:
    """What is decided about a plan, as the planner takes it."""
    choices = _troupe.Choices(name, list(mesh.axes), mesh.devices, mesh.memory)
    if mesh.kind == "cuda":
        choices.in_hosts_of(mesh.size)
        choices.copies_sources = True
    choices.data_axes = list(options.data_axes)
    choices.batch_shards = options.batch_shards
    choices.pieces_per_shard = options.pieces_per_shard
    choices.set_precision(options.precision)
    choices.seed = seed
    choices.gathered_per_pass = decision.gathered_per_pass
    if name == "train":
        choices.recompute, choices.offload = decision.recompute, decision.offload
        choices.host_memory_bytes = decision.host_memory
        if decision.sequence is not None:
            choices.sequence_axis = decision.sequence.axis
            choices.sequence_ring = decision.sequence.attention == "ring"
    if (stages := decision.stages) is not None:
        choices.cut_stages(stages.axis, stages.schedule, stages.chunks, stages.chunk_of)
    return choices


def rows_per_piece(rows: int, batch_shards: int, pieces_per_shard: int) -> int:
    """Rows of a piece. Raises PlanError, with what is possible, when the batch cannot be cut."""
    pieces = batch_shards * pieces_per_shard
    if rows % pieces == 0 and rows > 0:
        return rows // pieces
    possible = [n for n in range(1, rows + 1) if rows % n == 0 and n % batch_shards == 0]
    shards = [n for n in range(1, rows + 1) if rows % (n * pieces_per_shard) == 0]
    either = [f"pieces_per_shard={', '.join(str(n // batch_shards) for n in possible)}"] if possible else []
    either += [f"batch_shards={', '.join(map(str, shards))}"] if shards else []
    above = (rows // pieces + 1) * pieces
    below = rows // pieces * pieces
    sizes = f"a batch of {above} rows" if below == 0 else f"batches of {below} or {above} rows"
    raise PlanError(
        f"a batch of {rows} rows cannot be cut into {batch_shards} batch shards of {pieces_per_shard} equal "
        f"pieces; {'; or '.join([*either, sizes])} are possible"
    )


def shards_for(rows: int, devices: int) -> int:
    """Into how many equal pieces rows are cut for devices: the fewest that give each one, else one row each."""
    return next((n for n in range(min(devices, rows), rows + 1) if rows % n == 0), rows)
