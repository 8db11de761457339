"""The training loop: a generator of metrics that saves, resumes and stops cleanly."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Generator, Sequence
from typing import Any

from troupe import checkpoint as checkpoints
from troupe._troupe import FaultError, PlanError
from troupe.data.source import as_data
from troupe.interrupt import CtrlC
from troupe.metrics import Metrics
from troupe.status import status
from troupe.step import TrainStep

KEPT = 2
"""So many checkpoints stay in a directory; older ones are removed."""


def train(
    step: TrainStep,
    data: Any,
    *,
    steps: int,
    checkpoint: str | os.PathLike[str] | None = None,
    every: int | None = None,
    resume: bool = False,
    log: Sequence[Callable[[Metrics], None]] = (),
    trace: str | os.PathLike[str] | None = None,
) -> Generator[Metrics, None, None]:
    """Trains until `steps` steps have been made in all; yields each step's metrics.

    data: tr.data.arrays, tr.data.tokens, or any iterable of dicts of arrays. With `checkpoint`, a directory "step-N" is
    written there after every `every` steps, at the end, on Ctrl-C and when the loop is left early; the newest two stay.
    With `resume`, training goes on from the newest one if there is one. `log`: functions called with each metrics.
    `trace`: a file for a timeline of three steps, those after the first five or the last ones (`TrainStep.trace` takes
    others).

    A checkpoint or a timeline that cannot be written raises FaultError, the timeline's when all steps have been made
    and saved. Training can go on with the same `step` afterwards.

    Ctrl-C lets the running step end, saves, and raises KeyboardInterrupt, whose cause is what could not be written;
    pressed twice, it stops at once without saving.
    """
    if every is not None and (checkpoint is None or every < 1):
        raise PlanError("every=N needs a checkpoint directory and a number of at least 1")
    if resume and checkpoint is None:
        raise PlanError("resume=True needs a checkpoint directory")
    directory = os.fspath(checkpoint) if checkpoint is not None else None
    if resume and directory is not None and checkpoints.newest(directory) is not None:
        step.load(directory)
    if trace is not None and step.steps < steps:
        step.trace(trace, _traced(step.steps, steps))
    status.set(steps=steps)
    source = as_data(data)
    saved = step.steps
    ctrl_c = CtrlC()

    def save() -> None:
        nonlocal saved
        if directory is not None and saved != step.steps:
            step.save(checkpoints.numbered_path(directory, step.steps))
            saved = step.steps
            _remove_old(directory)

    def end(saves: bool = True) -> None:
        failure = None
        try:
            if trace is not None:
                step.end_trace()  # the data may have ended before
        except FaultError as error:
            failure = error
        if saves:
            save()
        if failure is not None:
            raise failure

    try:
        while step.steps < steps:
            with ctrl_c:
                metrics = step.advance(source, read_ahead=step.steps + 1 < steps)
            try:
                for write in log if metrics is not None else ():
                    write(metrics)
            except Exception as failure:
                if ctrl_c.pressed:
                    raise KeyboardInterrupt from failure
                raise
            if ctrl_c.pressed:
                raise KeyboardInterrupt
            if metrics is None:
                break
            if every is not None and step.steps % every == 0:
                save()
            yield metrics
    except GeneratorExit:
        end()
        raise
    except KeyboardInterrupt as interrupt:
        try:
            end(saves=not ctrl_c.forced)
        except Exception as failure:  # no reason to go on
            raise interrupt from interrupt.__cause__ or failure
        raise
    end()


def _traced(first: int, end: int) -> range:
    """Three of these steps, when all is warm."""
    begin = min(first + 5, max(first, end - 3))
    return range(begin, min(begin + 3, end))


def _remove_old(directory: str) -> None:
    names = sorted(name for name in os.listdir(directory) if checkpoints.is_numbered(name))
    for name in names[:-KEPT]:
        shutil.rmtree(os.path.join(directory, name), ignore_errors=True)
