"""What is written to a full disk: a clear error, nothing half written, and a training that goes on."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from conftest import MLP, ROOT, examples, make_step

import troupe as tr

DEADLINE_S = 120.0
NO_ROOM = "cannot be written: No space left on device: it needs [0-9.]+ [KM]?i?B, [0-9.]+ [KM]?i?B are free"


@pytest.fixture
def disk(tmp_path):
    """A file system of 256 KiB."""
    path = tmp_path / "disk"
    path.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(path)], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"no file system can be mounted here, which takes root: {mounted.stderr.strip()}")
    yield path
    subprocess.run(["umount", str(path)], check=True)


def fill(disk: Path) -> Path:
    """A file that leaves no room."""
    filler = disk / "filler"
    with open(filler, "wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return filler


def data() -> tr.data.Arrays:
    return tr.data.arrays(**examples(64), batch=16, seed=1)


def equal(a: tr.TrainStep, b: tr.TrainStep) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(a.model.state_dict().values(), b.model.state_dict().values()))


def test_training_goes_on_after_a_checkpoint_that_had_no_room(disk):
    step, run = make_step(), disk / "run"
    losses = [m.loss for m in tr.train(step, data(), steps=3, checkpoint=run)]
    filler = fill(disk)
    for steps in (6, 7):
        with pytest.raises(tr.FaultError, match="/model.safetensors' " + NO_ROOM):
            losses.extend(m.loss for m in tr.train(step, data(), steps=steps, checkpoint=run))
        assert step.steps == steps and os.listdir(run) == ["step-00000003"]
    before = make_step(seed=5)
    before.load(run)
    assert before.steps == 3
    filler.unlink()
    losses += [m.loss for m in tr.train(step, data(), steps=9, checkpoint=run)]
    assert sorted(os.listdir(run)) == ["step-00000003", "step-00000009"]
    undisturbed = make_step()
    assert losses == [m.loss for m in tr.train(undisturbed, data(), steps=9)]
    after = make_step(seed=5)
    after.load(run)
    assert after.steps == 9 and equal(after, undisturbed)


def test_a_checkpoint_of_the_same_name_stays_until_the_new_one_is_whole(disk):
    step = make_step(model=MLP(hidden=512))
    step(examples(16))
    step.save(disk / "last")
    kept = {path.name: path.read_bytes() for path in (disk / "last").iterdir()}
    filler = fill(disk)
    os.truncate(filler, filler.stat().st_size - 8192)
    step(examples(16))
    needed = f"device: it needs {len(kept['model.safetensors']) / 1024:.1f} KiB, 8.0 KiB are free"
    with pytest.raises(tr.FaultError, match="/model.safetensors' cannot be written: No space left on " + needed):
        step.save(disk / "last")
    assert {path.name: path.read_bytes() for path in (disk / "last").iterdir()} == kept
    assert sorted(os.listdir(disk)) == ["filler", "last"]


@contextmanager
def largest_file(size: int):
    """This process may write no larger one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_limit_on_files_is_told_and_leaves_nothing(tmp_path):
    step = make_step()
    step(examples(16))
    refused = "File too large: it needs [0-9.]+ KiB, this process may write files of 1.0 KiB"
    with largest_file(1024), pytest.raises(tr.FaultError, match="model.safetensors' cannot be written: " + refused):
        step.save(tmp_path / "saved")
    assert os.listdir(tmp_path) == []
    step.save(tmp_path / "saved")
    again = make_step(seed=5)
    again.load(tmp_path / "saved")
    assert equal(again, step)


SCRIPT = """
import os, sys
from pathlib import Path
sys.path[:0] = ["tests/python"]
from conftest import examples, make_step
from full_disk_test import data, equal, fill
import troupe as tr

disk = Path(sys.argv[1])
step = make_step(tr.mesh("cpu", dp=2), batch_shards=2)
losses = [m.loss for m in tr.train(step, data(), steps=2, checkpoint=disk / "run")]
filler = fill(disk)
try:
    losses.extend(m.loss for m in tr.train(step, data(), steps=4, checkpoint=disk / "run", trace=disk / "trace.json"))
except tr.FaultError as error:
    print(error)
print(sorted(os.listdir(disk)), os.listdir(disk / "run"))
filler.unlink()
losses += [m.loss for m in tr.train(step, data(), steps=6, checkpoint=disk / "run")]
print(losses)
again = make_step(tr.mesh("cpu", dp=2), batch_shards=2, seed=5)
weights = {name: value.copy() for name, value in step.model.state_dict().items()}
step.close()
again.load(disk / "run")
print(again.steps, all((value == weights[name]).all() for name, value in again.model.state_dict().items()))
fill(disk)
list(tr.train(again, data(), steps=8, checkpoint=disk / "run"))
"""


def test_over_two_workers_it_is_the_same(disk, tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable, "-m", "troupe", "launch", "-n", "2", "--", str(tmp_path / "script.py"), str(disk)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert ended.returncode == 1, ended.stderr
    told, files, losses, loaded = ended.stdout.splitlines()
    assert re.search("/model.safetensors' " + NO_ROOM, told), told
    assert files == "['filler', 'run'] ['step-00000002']"
    undisturbed = make_step(tr.mesh("cpu", dp=2), batch_shards=2)
    assert losses == str([m.loss for m in tr.train(undisturbed, data(), steps=6)])
    assert loaded == "6 True"
    assert re.search("FaultError: .*/model.safetensors' " + NO_ROOM, ended.stderr), ended.stderr


def test_a_timeline_that_has_no_room_costs_no_training(disk, tmp_path):
    fill(disk)
    step, seen = make_step(), []
    with pytest.raises(tr.FaultError, match="timeline '.*/trace.json' " + NO_ROOM):
        seen.extend(m.loss for m in tr.train(step, data(), steps=12, checkpoint=tmp_path, trace=disk / "trace.json"))
    undisturbed = make_step()
    assert [m.loss for m in tr.train(undisturbed, data(), steps=12)] == seen[:12] and len(seen) == 12
    assert os.listdir(disk) == ["filler"]
    saved = make_step(seed=5)
    saved.load(tmp_path / "step-00000012")
    assert equal(saved, undisturbed)


def test_a_timeline_of_single_steps_that_has_no_room_is_told_after_the_last(disk):
    fill(disk)
    step = make_step()
    step.trace(disk / "trace.json", steps=range(1, 3))
    step(examples(16))
    step(examples(16))
    with pytest.raises(tr.FaultError, match="timeline '.*/trace.json' " + NO_ROOM):
        step(examples(16))
    assert step.steps == 3 and os.listdir(disk) == ["filler"]
    assert step(examples(16)).step == 3
    step.close()


def test_a_plan_that_has_no_room_leaves_no_file(disk):
    step = make_step()
    plan = step.plan(data())
    fill(disk)
    with pytest.raises(tr.FaultError, match="plan file '.*/a.plan' " + NO_ROOM):
        plan.save(disk / "a.plan")
    assert os.listdir(disk) == ["filler"]


def test_where_no_folder_can_be_made_is_told_before_training(tmp_path):
    (tmp_path / "file").write_text("")
    step = make_step()
    with pytest.raises(tr.FaultError, match="timeline '.*/file/trace.json' cannot be written: .*exists"):
        step.trace(tmp_path / "file" / "trace.json", steps=range(3))
    with pytest.raises(tr.FaultError, match="checkpoint '.*/file/run/last' cannot be written: .*Not a directory"):
        step.save(tmp_path / "file" / "run" / "last")
