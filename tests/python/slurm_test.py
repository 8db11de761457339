"""`troupe launch --slurm` in jobs of a real Slurm (slurm.py)."""

from __future__ import annotations

import os
import re
import shlex
import signal
import sys
import time
from pathlib import Path

import pytest
from slurm import DEADLINE_S, NODES, Slurm, missing

WHY_NOT = missing()
pytestmark = pytest.mark.skipif(WHY_NOT is not None, reason=f"Slurm: {WHY_NOT}")

# A model on one device of the first worker: the others just belong to the run.
STEPS = """
import os
import numpy as np
import troupe as tr
from troupe import functional as F
from troupe import nn

model = nn.Linear(4, 3)
loss = lambda m, b: F.cross_entropy(m(b["x"]), b["y"])
step = tr.TrainStep(model, loss, tr.optim.SGD(model.parameters(), lr=0.1), mesh=tr.mesh("cpu", dp=1))
while step({"x": np.ones((8, 4), np.float32), "y": np.zeros(8, np.int64)}).loss:
    print("step", os.getpid(), os.getppid(), flush=True)
"""


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    made = Slurm(tmp_path_factory.mktemp("slurm"))
    yield made
    made.close()


def ended(process) -> tuple[int, str, str]:
    """Exit status, stdout, stderr."""
    out, error = process.communicate(timeout=DEADLINE_S)
    return process.returncode, out, error


def stepping(process) -> tuple[int, int]:
    """The driver and its launcher, once it trains."""
    line = process.stdout.readline()
    assert line, process.stderr.read()
    driver, launcher = map(int, line.split()[1:])
    return driver, launcher


def submit(slurm, folder: Path, nodes: str, *arguments: str) -> tuple[str, Path]:
    """Launches in a batch job; its id and what it writes."""
    line = shlex.join([sys.executable, "-m", "troupe", "launch", "--slurm", *arguments])
    written = folder / "written"
    options = [*nodes.split(), f"--output={written}", f"--chdir={folder}"]
    return slurm.call("sbatch", "--parsable", *options, f"--wrap={line}").strip(), written


def wait_for(text: str, written: Path) -> None:
    until = time.monotonic() + DEADLINE_S
    while not (written.exists() and text in written.read_text()):
        assert time.monotonic() < until, written.read_text()
        time.sleep(0.02)


def test_a_script_that_needs_no_devices_starts_no_worker(slurm, script):
    text = "import os; print(os.environ['TROUPE_WORKERS'], os.environ['TROUPE_LISTEN'])"
    assert ended(slurm.launch("--", script(text))) == (0, "3 127.0.0.1\n", "")
    slurm.assert_empty()


TRAINING = str(Path(__file__).parent / "over_workers.py")


def test_a_training_over_an_allocation_has_the_bits_of_one_process(slurm):
    command = [TRAINING, "dp=3", "zero3"]
    status, over_nodes, error = ended(slurm.launch("--tls", "--", *command, nodes="--nodes=3"))
    assert status == 0, error
    status, alone, error = ended(slurm.allocated(sys.executable, *command))
    assert status == 0, error
    assert "weights" in alone and over_nodes == alone
    slurm.assert_empty()


@pytest.mark.parametrize(
    ("nodes", "offered"),
    [
        ("--nodes=2 --ntasks=5", r"5 \(4 \+ 1\)"),
        ("--nodes=2 --ntasks=2 --cpus-per-task=3", r"6 \(3 \+ 3\)"),
    ],
)
def test_the_nodes_of_a_batch_job_offer_what_it_asked_for(slurm, script, tmp_path, nodes, offered):
    _, written = submit(slurm, tmp_path, nodes, "--", script(STEPS.replace("dp=1", "dp=8")))
    wait_for("PlanError", written)
    slurm.assert_empty()
    text = written.read_text()
    assert re.search(rf"runs on 8 devices, cpu:0 to cpu:7; the run's workers offer {offered}", text), text


def test_a_cancelled_job_ends_on_all_nodes(slurm, script, tmp_path):
    job, written = submit(slurm, tmp_path, "--nodes=3", "--", script(STEPS))
    wait_for("step ", written)
    assert [slurm.worker(node) for node in NODES]
    slurm.call("scancel", job)
    slurm.assert_empty()


@pytest.mark.parametrize("kind", ["driver", "launcher", "srun"])
def test_nothing_is_left_on_any_node_of_a_run_that_is_killed(slurm, script, kind):
    launched = slurm.launch("--", script(STEPS))
    driver, launcher = stepping(launched)
    sruns = [pid for pid, command in slurm.processes().items() if command.startswith("srun ")]
    os.kill(slurm.worker("n3"), signal.SIGSTOP)  # one that cannot end by itself
    os.kill({"driver": driver, "launcher": launcher, "srun": min(sruns)}[kind], signal.SIGKILL)
    status, _, error = ended(launched)
    if kind == "srun":
        assert status == 1 and "FaultError" in error
    slurm.assert_empty()


def test_a_worker_that_is_killed_is_named_by_its_node(slurm, script):
    launched = slurm.launch("--", script(STEPS))
    stepping(launched)
    worker = slurm.worker("n2")
    os.kill(worker, signal.SIGKILL)
    status, _, error = ended(launched)
    assert status == 1
    assert re.search(rf"FaultError: .*worker \d \(n2, process {worker}\) is gone", error), error
    assert "[srun] srun: error: n2: task 1: " in error
    slurm.assert_empty()


def test_a_node_without_this_python_is_named(slurm, script):
    launched = slurm.launch("--python", "/no/such/python", "--", script(STEPS), nodes="--nodes=1")
    status, _, error = ended(launched)
    assert status == 128 + signal.SIGTERM
    why = r".*/no/such/python: not found \(`srun --nodes=1 .*` ended with exit status 127\)"
    assert re.search(rf"^troupe launch: n1: no worker was started: {why}$", error, re.MULTILINE), error
    slurm.assert_empty()


# Slurm may lose what a task has written just before it ended, where it ends the others; it always tells of the task itself.
@pytest.mark.parametrize(
    ("last", "why"),
    [("echo no Python here >&2; sleep 2", "no Python here"), ("", "srun: error: n2: task 1: Exited with exit code 127")],
)
def test_what_the_first_node_said_is_told_when_srun_ends_the_others(slurm, script, tmp_path, last, why):
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\n[ "$SLURMD_NODENAME" = n1 ] && sleep 60\n{last}\nexit 127\n')
    python.chmod(0o755)
    status, _, error = ended(slurm.launch("--python", str(python), "--", script(STEPS), nodes="--nodes=2"))
    assert status == 128 + signal.SIGTERM
    # The status is that of the task which Slurm ended, by SIGTERM or, where that took it too long, SIGKILL.
    why += r" \(`srun --nodes=2 .*` ended with exit status (143|137)\)"
    assert re.search(rf"^troupe launch: n1, n2: no worker was started: {why}$", error, re.MULTILINE), error
    slurm.assert_empty()


def test_a_node_that_is_down_is_named_and_all_ends(slurm, script):
    slurm.kill_node("n3")
    try:
        status, _, error = ended(slurm.launch("--", script(STEPS)))
    finally:
        slurm.start_node("n3")
    assert status == 128 + signal.SIGTERM
    why = r"srun: error: Task launch for StepId=\S+ failed on node n3: .* \(`srun .*` ended with exit status \d+\)"
    assert re.search(rf"^troupe launch: n3: no worker was started: {why}$", error, re.MULTILINE), error
    assert "troupe launch: the script cannot have its worker on n3; it gets SIGTERM\n" in error
    slurm.assert_empty()
