"""Ctrl-C raises KeyboardInterrupt whatever fails besides; what failed is its cause."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import examples, make_step

import troupe as tr
from troupe.session import LoadedPlan

STEPS = 9


def pressed_in_step(step: int, strike: Callable[[], object] = lambda: None) -> Iterator[dict[str, Any]]:
    """Batches; Ctrl-C comes in a step, while the batch after it is taken, and with it a strike."""
    for number in range(STEPS):
        if number == step + 1:
            signal.raise_signal(signal.SIGINT)
            strike()
        yield examples(16)


def raises(failure: Exception) -> Callable[[], object]:
    def strike() -> None:
        raise failure

    return strike


def cause_of(run: Callable[[], object]) -> BaseException | None:
    """Of the KeyboardInterrupt that it raises."""
    with pytest.raises(KeyboardInterrupt) as caught:
        run()
    return caught.value.__cause__


def test_a_timeline_that_cannot_be_written_hides_no_interrupt(tmp_path):
    folder, step = tmp_path / "traces", make_step()
    step.trace(folder / "trace.json", steps=range(1, 8))
    data = pressed_in_step(3, lambda: shutil.rmtree(folder))
    cause = cause_of(lambda: list(tr.train(step, data, steps=STEPS, checkpoint=tmp_path / "run")))
    assert cause is None and os.listdir(tmp_path / "run") == ["step-00000004"]  # the timeline goes on with the step
    with pytest.raises(tr.FaultError, match="timeline '.*/trace.json' cannot be written"):
        step.close()
    again = make_step()
    data = pressed_in_step(6, lambda: shutil.rmtree(folder))
    run = {"steps": STEPS, "checkpoint": tmp_path / "again", "trace": folder / "trace.json"}
    cause = cause_of(lambda: list(tr.train(again, data, **run)))
    assert isinstance(cause, tr.FaultError) and "/trace.json' cannot be written" in str(cause)
    assert os.listdir(tmp_path / "again") == ["step-00000007"]


def test_a_checkpoint_that_cannot_be_written_hides_no_interrupt(tmp_path):
    (tmp_path / "file").write_text("")
    cause = cause_of(
        lambda: list(tr.train(make_step(), pressed_in_step(2), steps=STEPS, checkpoint=tmp_path / "file" / "run"))
    )
    assert isinstance(cause, tr.FaultError) and "/file/run/step-00000003' cannot be written" in str(cause)


def test_a_log_that_cannot_be_written_hides_no_interrupt(tmp_path):
    full, step = OSError("no room"), make_step()

    def log(metrics: tr.Metrics) -> None:
        if metrics.step == 2:
            raise full

    run = {"steps": STEPS, "checkpoint": tmp_path, "log": [log]}
    assert cause_of(lambda: list(tr.train(step, pressed_in_step(2), **run))) is full
    assert os.listdir(tmp_path) == ["step-00000003"]
    with pytest.raises(OSError, match="no room"):
        list(tr.train(make_step(), [examples(16)] * STEPS, **run))


def test_a_step_that_fails_hides_no_interrupt_and_is_not_saved(tmp_path):
    failure = ValueError("no batch")
    data = pressed_in_step(2, raises(failure))
    assert cause_of(lambda: list(tr.train(make_step(), data, steps=STEPS, checkpoint=tmp_path / "run"))) is failure
    assert not (tmp_path / "run").exists()


def test_data_that_ends_hides_no_interrupt(tmp_path):
    def data() -> Iterator[dict[str, Any]]:
        yield from [examples(16)] * 3
        signal.raise_signal(signal.SIGINT)

    made = []
    assert cause_of(lambda: made.extend(tr.train(make_step(), data(), steps=STEPS, checkpoint=tmp_path))) is None
    assert len(made) == 2 and os.listdir(tmp_path) == ["step-00000003"]


def test_a_step_that_cannot_be_closed_hides_no_interrupt(tmp_path):
    folder = tmp_path / "traces"

    def run() -> None:
        with make_step() as step:
            step.trace(folder / "trace.json", steps=range(3))
            step(examples(16))
            shutil.rmtree(folder)
            signal.raise_signal(signal.SIGINT)

    cause = cause_of(run)
    assert isinstance(cause, tr.FaultError) and "/trace.json' cannot be written" in str(cause)


def test_devices_that_cannot_be_stopped_hide_no_interrupt():
    failure = tr.FaultError("the run is over")

    def wait_for(*_: float) -> bool:
        raise KeyboardInterrupt

    cluster = SimpleNamespace(wait_for=wait_for, stop=raises(failure))
    plan = LoadedPlan(SimpleNamespace(cluster=cluster), None, 0)
    assert cause_of(plan.wait) is failure
