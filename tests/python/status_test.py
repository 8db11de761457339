"""`troupe status`: what it shows of runs in one process and over workers, of stalls, and of what has ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from conftest import ROOT

from troupe import status
from troupe.__main__ import main

DEADLINE_S = 60.0

# Trains steps of 0.05 s, of which the data is late from one on; or computes on in the loop's body.
SCRIPT = """
import sys, time
sys.path[:0] = ["tests/python"]
import troupe as tr
from conftest import examples, make_step

phase = sys.argv[1]

def batches():
    for number in range(1000):
        time.sleep(1000 if phase == "data" and number == 4 else 0.05)
        yield examples(8)

step = make_step(tr.mesh("cpu", dp=2))
for m in tr.train(step, batches(), steps=900, trace=sys.argv[2]):
    while phase == "script" and m.step == 3:
        pass
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Of the status files."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr(status, "directories", lambda: [tmp_path / "troupe"])
    return tmp_path / "troupe"


@pytest.fixture
def start(folder, tmp_path):
    """Starts a run that ends with the test."""
    started = []

    def begin(phase, *launch):
        (tmp_path / "script.py").write_text(SCRIPT)
        command = [sys.executable, "-m", "troupe", "launch", *launch, "--"] if launch else [sys.executable]
        command += [str(tmp_path / "script.py"), phase, str(tmp_path / "trace.json")]
        environment = {**os.environ, "TROUPE_HEARTBEAT_S": "10"}
        started.append(subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True))
        return started[-1]

    yield begin
    for process in started:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        process.communicate(timeout=DEADLINE_S)


def shown(capsys, *arguments):
    """What the command prints."""
    assert main(["status", *arguments]) == 0
    return capsys.readouterr().out


def wait_until(capsys, holds):
    """The first status of the one run for which it holds."""
    until = time.monotonic() + DEADLINE_S
    while True:
        runs = json.loads(shown(capsys, "--json"))
        if len(runs) == 1 and holds(runs[0]):
            return runs[0]
        assert time.monotonic() < until, runs
        time.sleep(0.1)


def test_without_a_run_there_is_nothing_to_show(folder, capsys):
    assert main(["status"]) == 0
    assert capsys.readouterr().err == "no run\n"
    assert json.loads(shown(capsys, "--json")) == []
    assert main(["status", "1"]) == 1
    assert capsys.readouterr().err == "process 1 is no run\n"


def test_a_run_in_one_process(start, folder, capsys):
    process = start("go")
    run = wait_until(capsys, lambda run: (run["step"] or 0) >= 10 and run["devices"][0]["counted_peak_bytes"])
    assert run["pid"] == process.pid and run["steps"] == 900 and run["version"] == 1
    assert run["command"][1:] == ["go", str(folder.parent / "trace.json")]
    assert run["plan"]["name"] == "train" and run["plan"]["mesh"] == {"dp": 2}
    assert run["workers"] == [] and run["loss"] > 0 and run["tokens_per_s"] > 0 and run["age_s"] < 10
    assert [device["name"] for device in run["devices"]] == ["cpu:0", "cpu:1"]
    for device in run["devices"]:
        assert 0 < device["counted_peak_bytes"] <= device["promised_peak_bytes"] < device["memory_bytes"]
    assert run["read_ahead"] is not None and run["read_ahead"] <= 2
    assert oct(folder.stat().st_mode & 0o777) == "0o700"
    text = shown(capsys, str(process.pid))
    assert f"process {process.pid} on " in text and " of 900 steps, loss " in text and "plan 'train' on dp=2" in text
    assert "cpu:1: " in text and "promised" in text and "counted" in text
    process.send_signal(signal.SIGINT)
    process.wait(DEADLINE_S)
    assert list(folder.iterdir()) == []


def test_a_run_over_workers(start, capsys):
    start("go", "-n", "2")
    run = wait_until(capsys, lambda run: len(run["workers"]) == 2 and run["read_ahead"] is not None)
    for worker in run["workers"]:
        assert os.path.exists(f"/proc/{worker['pid']}") and worker["pid"] != run["pid"]
        assert worker["devices"] == 1 and not worker["gone"]
        assert 0 <= worker["heard_s"] < worker["alive_s"] < DEADLINE_S
    assert "worker 1: process " in shown(capsys)


def test_a_source_that_stalls_is_named(start, capsys):
    start("data")
    run = wait_until(capsys, lambda run: run["waits"] and run["waits"]["seconds"] > 0.5)
    assert run["doing"]["what"] == "data" and run["waits"]["for"] == "the script's data, the batch of step 4"
    assert "waits for " in shown(capsys)


def test_a_script_that_computes_and_a_process_that_hangs(start, capsys):
    process = start("script")
    run = wait_until(capsys, lambda run: run["step"] == 3 and run["doing"]["seconds"] > 1)
    assert run["doing"]["what"] == "script" and run["waits"] is None
    process.send_signal(signal.SIGSTOP)
    wait_until(capsys, lambda run: run["age_s"] > 3.5)
    assert "the process is stopped or hangs" in shown(capsys)


def test_what_a_killed_process_left_behind_is_removed(start, folder, capsys):
    process = start("go")
    wait_until(capsys, lambda run: run["step"] is not None)
    process.kill()
    process.wait(DEADLINE_S)
    assert (folder / f"{process.pid}.json").exists()
    assert json.loads(shown(capsys, "--json")) == []
    assert list(folder.iterdir()) == []


def test_files_of_others_are_not_believed(folder, capsys):
    folder.mkdir(mode=0o700)
    now = {"version": 1, "pid": os.getpid(), "process_start": 1, "updated": time.monotonic()}
    (folder / "1.json").write_text("{")
    (folder / "2.json").write_text(json.dumps(now))  # another process had this number
    assert status.read() == []
    assert [path.name for path in folder.iterdir()] == ["1.json"]
    (folder / "3.json").write_text(json.dumps(now | {"process_start": status._start_of(os.getpid())}))
    assert len(status.read()) == 1
    folder.chmod(0o755)
    assert status.read() == []


class Stalled:
    """Devices on which nothing fires."""

    def __init__(self):
        self.asked = 0
        self.idle = 5.0

    def progress(self):
        return self.idle, 7

    def workers(self):
        return []

    def stall(self):
        self.asked += 1
        return "'add' waits for 'x'"


def test_a_step_in_which_nothing_fires_says_what_it_waits_for(monkeypatch):
    monkeypatch.setattr(status, "EVERY_S", 0.0)
    run, devices = status.Status(), Stalled()
    run.set(step=4)
    with run.doing("step"):
        run.look(devices)
        run.look(devices)
        assert devices.asked == 1
        told = run.as_dict()
        assert told["waits"]["for"] == "'add' waits for 'x'" and told["waits"]["seconds"] >= 5
        assert told["read_ahead"] == 2
        devices.idle = 0.0
        run.look(devices)
        assert run.as_dict()["waits"] is None
    assert run.as_dict()["doing"]["what"] == "script"
