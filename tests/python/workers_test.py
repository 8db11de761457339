"""Runs over worker processes of this host: the same bits as in one process, and clear ends when a worker fails."""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
import sys
import time
from pathlib import Path

import pytest

from troupe import workers

SCRIPT = str(Path(__file__).parent / "over_workers.py")
WHOSE = secrets.token_hex(8)  # in the environment of every process that is started here
DEADLINE_S = 90.0  # far more than anything here takes
RECIPES = {"dp=2,tp=2": "zero3+megatron", "dp=2,pp=2": "zero1+1f1b"}


def run(*arguments: str, launch: tuple[str, ...] = (), heartbeat: float = 5.0) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "troupe", "launch", *launch, "--"] if launch else [sys.executable]
    return subprocess.run(
        [*command, SCRIPT, *arguments],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        env={**os.environ, "TROUPE_HEARTBEAT_S": str(heartbeat), "WHOSE": WHOSE},
        check=False,
    )


def processes() -> list[int]:
    """Those that were started here and still run."""
    found = []
    for entry in os.listdir("/proc"):
        try:
            if f"WHOSE={WHOSE}".encode() in Path("/proc", entry, "environ").read_bytes():
                found.append(int(entry))
        except (OSError, ValueError):
            continue
    return found


@pytest.mark.parametrize("mesh", RECIPES)
def test_a_run_over_processes_has_the_bits_of_one_process(mesh):
    alone = run(mesh, RECIPES[mesh])
    assert alone.returncode == 0, alone.stderr
    assert "0 workers" in alone.stderr
    assert "weights" in alone.stdout and "refused" in alone.stdout
    for launch in (("-n", "4"), ("-n", "2", "--devices", "cpu=2", "--tls")):
        several = run(mesh, RECIPES[mesh], launch=launch)
        assert several.returncode == 0, several.stderr
        assert several.stdout == alone.stdout
        assert f"{launch[1]} workers" in several.stderr


PHASES = ["join", "step", "checkpoint", "evaluate", "shutdown"]
FAILURES = [*((phase, kind) for phase in PHASES for kind in ("SIGKILL", "SIGSTOP")), ("step", "SIGSEGV")]


@pytest.mark.parametrize("phase, kind", FAILURES)
def test_a_worker_that_fails_is_named_and_nothing_is_left(phase, kind):
    ended = run("dp=2", "data_parallel", phase, kind, launch=("-n", "2"), heartbeat=1.0)
    struck = float(re.search(r"struck ([\d.]+)", ended.stdout)[1])
    assert time.time() - struck < 30
    if phase == "shutdown":  # all is done: what was trained is there
        assert ended.returncode == 0, ended.stderr
        assert "weights" in ended.stdout
    elif phase == "join":
        assert ended.returncode == 1
        assert re.search(r"FaultError: .*(worker \d \(|workers have joined)", ended.stderr), ended.stderr
    else:
        assert ended.returncode == 1
        assert re.search(r"FaultError: .*worker \d \(\S+, process \d+\) (is gone|has gone silent)", ended.stderr)
    assert processes() == []


def test_too_few_devices_are_counted():
    ended = run("dp=4", "data_parallel", launch=("-n", "2"))
    assert ended.returncode == 1
    assert "runs on 4 devices, cpu:0 to cpu:3; the run's workers offer 2 (1 + 1)" in ended.stderr


def test_a_worker_offers_devices_that_there_are():
    ended = subprocess.run(
        [sys.executable, "-m", "troupe", "worker", "--join", "127.0.0.1:1", "--devices", "gpu=1"],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert ended.returncode == 1 and "--devices gpu=1 must be cpu=COUNT" in ended.stderr


TWO_MODELS = """
import subprocess, sys
import numpy as np
import troupe as tr
from troupe import functional as F
from troupe import nn

data = {"x": np.ones((8, 4), np.float32), "y": np.zeros(8, np.int64)}


def train(hidden):
    model = nn.Sequential(nn.Linear(4, hidden), nn.Linear(hidden, 3))
    loss = lambda m, b: F.cross_entropy(m(b["x"]), b["y"])
    step = tr.TrainStep(model, loss, tr.optim.SGD(model.parameters(), lr=0.1), mesh=tr.mesh("cpu", dp=2))
    print(hidden, step(data).loss > tr.evaluate(model, [data], loss=loss).loss)


train(5)
train(6)
print(subprocess.run([sys.executable, "-c", "import os; print([n for n in os.environ if n.startswith('TROUPE_R')])"],
                     capture_output=True, text=True).stdout)
"""


def test_models_have_the_workers_one_after_another_and_children_have_no_part_in_it(tmp_path):
    (tmp_path / "two.py").write_text(TWO_MODELS)
    command = [sys.executable, "-m", "troupe", "launch", "-n", "2", "--", str(tmp_path / "two.py")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.split() == ["5", "True", "6", "True", "[]"]


BY_HAND = """
import numpy as np
import troupe as tr
from troupe import functional as F
from troupe import nn

model = nn.Linear(4, 3)
loss = lambda m, b: F.cross_entropy(m(b["x"]), b["y"])
step = tr.TrainStep(model, loss, tr.optim.SGD(model.parameters(), lr=0.1), mesh=tr.mesh("cpu", dp=1))
while step({"x": np.ones((8, 4), np.float32), "y": np.zeros(8, np.int64)}).loss:
    print("stepped", flush=True)
"""


def test_a_worker_joins_by_hand_where_the_driver_was_told_to_listen(tmp_path):
    run_of = {"TROUPE_RUN_DIR": str(tmp_path), "TROUPE_WORKERS": "1", "TROUPE_LISTEN": "127.0.0.2"}
    environment = {**os.environ, "TROUPE_TOKEN": "secret"}
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    driver = subprocess.Popen([sys.executable, "-c", BY_HAND], env={**environment, **run_of}, **options)
    while not (tmp_path / "driver.json").exists():
        assert driver.poll() is None
        time.sleep(0.01)
    address = json.loads((tmp_path / "driver.json").read_text())["address"]
    assert address.startswith("127.0.0.2:")
    command = [sys.executable, "-m", "troupe", "worker", "--join", address, "--host", "node7"]
    worker = subprocess.Popen(command, env=environment, **options)
    assert driver.stdout.readline() == "stepped\n"
    worker.kill()
    worker.communicate(timeout=DEADLINE_S)
    error = driver.communicate(timeout=DEADLINE_S)[1]
    assert driver.returncode == 1
    assert f"worker 0 (node7, process {worker.pid}) is gone" in error


@pytest.mark.parametrize("text", ["", ":4000", "10.0.0.1:", "10.0.0.1:0", "10.0.0.1:65536", "10.0.0.1:http"])
def test_where_to_listen_is_an_address(monkeypatch, text):
    monkeypatch.setenv("TROUPE_LISTEN", text)
    with pytest.raises(workers.PlanError, match="must be ADDRESS or ADDRESS:PORT, as in 10.0.0.1:4000"):
        workers.listen()
