"""CUDA devices of several worker processes, on a simulated CUDA runtime: the bits of one process, and clear ends when
a device or a worker fails or lacks what it is to offer."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import hosts
import pytest
from conftest import ROOT

from troupe import cuda
from troupe.launcher.settings import Settings
from troupe.launcher.starts import starts

SCRIPT = str(Path(__file__).parent / "over_cuda.py")
DEADLINE_S = 120.0  # far more than anything here takes
LIBRARY = ROOT / "build" / "libtroupe_cuda_simulated.so"
pytestmark = pytest.mark.skipif(not LIBRARY.exists(), reason="the simulated CUDA runtime is built with the C++ tests")


def environment(devices: int = 4, driver: int = 13000, fails: str = "", library: Path = LIBRARY) -> dict[str, str]:
    """Of processes that find so many devices; `fails` is "DEVICE,KERNEL": it falls off with that one."""
    machine = f"{devices},{64 << 20},{driver}" + (f",{fails}" if fails else "")
    return {cuda.LIBRARY: str(library), "TROUPE_SIMULATED_CUDA": machine}


def run(*arguments: str, launch: str = "", devices: dict[str, str] | None = None) -> subprocess.CompletedProcess:
    """Runs a script, the training of the other tests by default."""
    script = [] if arguments[0].endswith(".py") else [SCRIPT]
    start = [sys.executable, *(["-m", "troupe", "launch", *shlex.split(launch), "--"] if launch else [])]
    return subprocess.run(
        [*start, *script, *arguments],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        env={**os.environ, "TROUPE_HEARTBEAT_S": "5", **(environment() if devices is None else devices)},
        check=False,
    )


@pytest.mark.parametrize(
    ("model", "mesh", "recipe", "launch"),
    [
        ("gpt", "cuda:dp=2,tp=2", "zero3+megatron", "-n 2 --devices cuda=2"),
        ("layers", "cuda:dp=2,pp=2", "zero1+1f1b", "-n 4 --devices cuda=1"),
    ],
)
def test_a_run_over_processes_has_the_bits_of_one_process(model, mesh, recipe, launch):
    alone = run(model, mesh, recipe)
    assert alone.returncode == 0, alone.stderr
    assert "0 workers" in alone.stderr and "weights" in alone.stdout
    several = run(model, mesh, recipe, launch=launch)
    assert several.returncode == 0, several.stderr
    assert several.stdout == alone.stdout
    assert f"{launch.split()[1]} workers" in several.stderr


def test_workers_of_a_host_have_its_devices_one_after_another(monkeypatch):
    def visible(listed: str | None, workers: int = 2) -> list[str | None]:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        if listed is not None:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", listed)
        begun = starts(Settings(workers, "cuda=2", None, ["train.py"]), ["worker"], "127.0.0.1:1")
        return [each.environment.get("CUDA_VISIBLE_DEVICES") for each in begun]

    assert visible(None) == ["0,1", "2,3"]
    assert visible("4,7,5") == ["4,7", "5"]
    assert visible("4,7", workers=1) == [None]  # it has them as they are
    assert starts(Settings(2, "cpu=2", None, ["train.py"]), ["worker"], "127.0.0.1:1")[1].environment == {}


# An MLP, with dropout, whose devices share the CUDA devices of the workers.
SHARED = """
import sys
sys.path.insert(0, {folder!r})
from conftest import MLP, examples, make_step
import troupe as tr

tr.manual_seed(0)
mesh = tr.mesh("cuda", dp=4, devices=2)
print(mesh.devices, mesh.memory < 32 << 20)
with make_step(mesh, model=MLP(dropout=0.1), batch_shards=4, clip_grad_norm=1.0, recipe=tr.recipes.data_parallel()) as step:
    print([float(step(examples(16, seed=s)).loss).hex() for s in range(4)])
"""


def test_devices_of_a_mesh_may_share_those_of_workers(script):
    path = script(SHARED.format(folder=str(Path(__file__).parent)))
    alone = run(path)
    several = run(path, launch="-n 2 --devices cuda=1")
    assert several.returncode == 0, several.stderr
    assert several.stdout == alone.stdout
    assert several.stdout.startswith("['cuda:0.0', 'cuda:0.1', 'cuda:1.0', 'cuda:1.1'] True\n")


def test_a_run_over_hosts_has_the_bits_of_one_process(tmp_path):
    if (why := hosts.missing()) is not None:
        pytest.skip(f"several hosts: {why}")
    python = tmp_path / "python"  # ssh passes no environment on
    exports = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in environment(2).items())
    python.write_text(f'#!/bin/sh\n{exports}exec {shlex.quote(sys.executable)} "$@"\n')
    python.chmod(0o755)
    training = ("layers", "cuda:dp=4", "zero3")
    alone = run(*training)
    network = hosts.Network(tmp_path, ("head", "node1", "node2"))
    try:
        lines = "".join(f"{name} devices=cuda=2 port={hosts.PORT}\n" for name in ("node1", "node2"))
        launched = network.launch("--python", str(python), "--", SCRIPT, *training, hosts=lines)
        out, error = launched.communicate(timeout=DEADLINE_S)
        assert launched.returncode == 0, error
        assert out == alone.stdout
        network.assert_empty()
    finally:
        network.close()


def failure_of(ended: subprocess.CompletedProcess) -> str:
    """What a run that fails writes."""
    assert ended.returncode == 1, ended.stderr
    return ended.stderr


def test_a_device_that_falls_off_is_named_with_its_worker_and_task():
    error = failure_of(run("layers", "cuda:dp=4", "data_parallel", launch="-n 2 --devices cuda=2", devices=environment(fails="2,90")))
    assert re.search(r"FaultError: .*cuda:2.*worker 1 \(\S+, process \d+\): .*cudaErrorLaunchFailure", error), error


def test_a_worker_that_is_killed_is_named():
    error = failure_of(run("layers", "cuda:dp=4", "data_parallel", "SIGKILL", launch="-n 2 --devices cuda=2"))
    assert re.search("FaultError: .*cuda:2.*worker 1 \\(\\S+, process \\d+\\) is gone", error), error


def test_a_mesh_has_no_more_devices_than_the_workers():
    error = failure_of(run("layers", "cuda:dp=8", "data_parallel", launch="-n 2 --devices cuda=2"))
    offered = r"worker 0 \(\S+, process \d+\): 2 Simulated GPU, worker 1 \(\S+, process \d+\): 2 Simulated GPU"
    assert re.search(rf"PlanError: mesh cuda dp=8 needs 8 CUDA devices, but .* offer 4 \({offered}\)", error), error
    error = failure_of(run("layers", "cuda:dp=2", "data_parallel", launch="-n 2"))
    assert "needs 2 CUDA devices, but the run's workers offer CPU devices; start them with --devices cuda=COUNT" in error
    error = failure_of(run("layers", "dp=2", "data_parallel", launch="-n 2 --devices cuda=1"))
    assert "runs on cpu:0, but the run's workers offer CUDA devices; start them with --devices cpu=COUNT" in error


@pytest.mark.parametrize(
    ("devices", "why"),
    [
        (environment(library=Path("/nowhere/libtroupe_cuda.so")), r"there is no '/nowhere/libtroupe_cuda\.so'"),
        (environment(driver=0), r"0 were found \(no CUDA device: no NVIDIA driver"),
        (environment(3), r"1 were found \(1 CUDA device: Simulated GPU"),
    ],
)
def test_what_a_worker_lacks_is_said_in_its_words(devices, why):
    error = failure_of(run("layers", "cuda:dp=4", "data_parallel", launch="-n 2 --devices cuda=2", devices=devices))
    lacks = rf"it is to offer 2 CUDA devices.*{why}"
    assert re.search(rf"FaultError: worker \d \(\S+, process \d+\): {lacks}", error), error
