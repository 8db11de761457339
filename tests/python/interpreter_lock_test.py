"""Python threads go on while a session waits for its workers."""

from __future__ import annotations

import os
import subprocess
import sys

from conftest import ROOT

# A worker is stopped before a call that waits for its answer, and only another thread lets it go on: where the call
# kept the interpreter lock, nobody would, and the worker would be given up as silent.
SCRIPT = """
import os, signal, sys, threading, time
from pathlib import Path
sys.path.insert(0, "tests/python")
import numpy as np
from over_workers import workers
import troupe as tr
from troupe import functional as F, nn

data = {"x": np.ones((8, 4), np.float32), "y": np.zeros(8, np.int64)}
model = nn.Linear(4, 3)
loss = lambda m, b: F.cross_entropy(m(b["x"]), b["y"])
step = tr.TrainStep(model, loss, tr.optim.SGD(model.parameters(), lr=0.1), mesh=tr.mesh("cpu", dp=2))
step(data)
loaded, cluster = next(iter(step._plans.values())), step.session.cluster
calls = {
    "load": lambda: cluster.load(loaded.compiled),
    "unload": lambda: cluster.unload(1),
    "observe": lambda: cluster.observe(loaded.handle, counts=True),
    "received_bytes": lambda: cluster.received_bytes(loaded.handle),
}


def count_and_continue():
    time.sleep(0.2)  # until the call below waits
    for _ in range(100):
        counted.append(time.sleep(0))
    os.kill(worker, signal.SIGCONT)


def stop():
    os.kill(worker, signal.SIGSTOP)  # a little later all of its threads have stopped
    running = True
    while running:
        states = [stat.read_text().rsplit(")", 1)[1].split()[0] for stat in Path(f"/proc/{worker}/task").glob("*/stat")]
        running = any(state != "T" for state in states)


worker = workers()[-1]
for name, call in calls.items():
    counted = []
    stop()
    thread = threading.Thread(target=count_and_continue)
    thread.start()
    call()
    print(name, len(counted), flush=True)
    thread.join()
"""


def test_other_threads_go_on_while_a_session_waits_for_a_worker(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    ended = subprocess.run(
        [sys.executable, "-m", "troupe", "launch", "-n", "2", "--", str(tmp_path / "script.py")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=90,
        env={**os.environ, "TROUPE_HEARTBEAT_S": "10"},
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines() == ["load 100", "unload 100", "observe 100", "received_bytes 100"]
