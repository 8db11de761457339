"""Meshes of CUDA devices, on a simulated CUDA runtime that needs no GPU: all of the walk but the hardware."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import defaultdict
from itertools import pairwise

import numpy as np
import pytest
from conftest import MLP, classify, examples, make_step

import troupe as tr
from troupe import cuda, nn
from troupe import functional as F
from troupe.session import profile_of

def losses_of(mesh, steps: int = 4, rows: int = 16, **options) -> list[float]:
    """The losses of a run over `mesh`, bit by bit."""
    tr.manual_seed(0)
    step = make_step(mesh, model=MLP(dropout=0.1), batch_shards=4, clip_grad_norm=1.0, **options)
    found = [float(step(examples(rows, seed=s)).loss) for s in range(steps)]
    step.close()
    return found


def test_a_run_follows_the_cpu_and_repeats_bit_by_bit(devices):
    on_cpu = losses_of(tr.mesh("cpu"))
    on_cuda = losses_of(tr.mesh("cuda"))
    assert on_cuda == pytest.approx(on_cpu, rel=1e-5)
    assert losses_of(tr.mesh("cuda")) == on_cuda


def test_what_sources_read_is_copied_to_the_device_once(devices):
    def readers_of_x(mesh) -> list[str]:
        with make_step(mesh) as step:
            return [line for line in step.plan(examples(16)).stages["box"].splitlines() if "x@in" in line]

    copy, *readers = readers_of_x(tr.mesh("cuda"))
    assert "to_layout" in copy and readers
    assert readers_of_x(tr.mesh("cpu")) == []


def test_data_parallel_devices_give_the_same_bits(devices):
    one = losses_of(tr.mesh("cuda"))
    recipe = tr.recipes.data_parallel()
    assert losses_of(tr.mesh("cuda", dp=2, devices=1), recipe=recipe) == one
    assert losses_of(tr.mesh("cuda", dp=4, devices=1), recipe=tr.recipes.zero(3)) == one
    devices(count=2)
    assert losses_of(tr.mesh("cuda", dp=2), recipe=recipe) == one


def test_what_comes_again_is_launched_as_graphs_with_the_same_bits(devices, monkeypatch):
    def counted(steps: int) -> tuple[list[float], int, int]:
        devices()
        losses = losses_of(tr.mesh("cuda"), steps=steps)
        return losses, devices.calls("cudaLaunchKernelExC"), devices.calls("cudaGraphLaunch")

    _, kernels, graphs = counted(6)
    losses, more_kernels, more_graphs = counted(12)
    monkeypatch.setenv("TROUPE_CUDA_GRAPHS", "0")
    each, all_kernels, no_graphs = counted(12)
    assert losses == each
    assert no_graphs == 0 and all_kernels > 12 * 100
    # A step that is known is a few graphs, and what stands alone between two that the host waits for.
    assert 0 < more_graphs - graphs <= 6 * 6
    assert more_kernels - kernels <= 6 * 10


def test_a_timeline_has_the_times_of_the_device(devices, tmp_path):
    with make_step(tr.mesh("cuda", dp=2, devices=1), recipe=tr.recipes.data_parallel()) as step:
        step.trace(tmp_path / "trace.json", range(2, 4))
        for _ in range(5):
            step(examples(8))
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    tracks = {event["tid"]: event["args"]["name"] for event in events if event["name"] == "thread_name"}
    slices = defaultdict(list)
    for event in events:
        if event["ph"] == "X":
            kind, begin = event["cat"], round(event["ts"] * 1000)
            slices[tracks[event["tid"]]].append((begin, begin + round(event["dur"] * 1000), kind))
    assert set(slices) >= {"steps", "cuda:0.0 compute", "cuda:0.1 compute"}, set(slices)
    for track in slices.values():
        assert all(end <= begin for (_, end, _), (begin, _, _) in pairwise(sorted(track)))
    on_devices = [s for name, track in slices.items() if "compute" in name for s in track if s[2] != "wait"]
    assert devices.calls("cudaEventElapsedTime") == 2 * len(on_devices)
    first = min(begin for begin, _, _ in slices["steps"])
    assert all(begin >= first for begin, _, _ in on_devices)


def test_tensor_parallel_devices(devices):
    layouts = {"up.weight": {"tp": tr.S(0)}, "down.weight": {"tp": tr.S(1)}}
    two = losses_of(tr.mesh("cuda", tp=2, devices=1), layouts=layouts)
    assert two == pytest.approx(losses_of(tr.mesh("cpu")), rel=1e-5)


def test_bfloat16(devices):
    on_cuda = losses_of(tr.mesh("cuda"), precision="bf16")
    assert on_cuda == pytest.approx(losses_of(tr.mesh("cpu"), precision="bf16"), rel=2e-2)


def test_a_checkpoint_goes_from_cuda_to_the_cpu(devices, tmp_path):
    step = make_step(tr.mesh("cuda"))
    for s in range(2):
        step(examples(16, seed=s))
    step.save(str(tmp_path / "checkpoint"))
    expected = float(step(examples(16, seed=2)).loss)
    step.close()
    again = make_step(tr.mesh("cpu"))
    again.load(str(tmp_path / "checkpoint"))
    assert float(again(examples(16, seed=2)).loss) == pytest.approx(expected, rel=1e-5)


def test_evaluation(devices):
    def loss_on(mesh) -> float:
        step = make_step(mesh)
        step(examples(16))
        found = tr.evaluate(step, [examples(16, seed=1), examples(7, seed=2)]).loss
        step.close()
        return float(found)

    assert loss_on(tr.mesh("cuda")) == pytest.approx(loss_on(tr.mesh("cpu")), rel=1e-5)


def test_a_compiled_model(devices):
    model = MLP()
    x = examples(10)["x"]
    on_cpu = tr.compile(model, x, mesh=tr.mesh("cpu"))(x)
    on_cuda = tr.compile(model, x, mesh=tr.mesh("cuda", dp=2, devices=1))(x)
    np.testing.assert_allclose(on_cuda, on_cpu, rtol=1e-5, atol=1e-6)


def test_a_bad_label_is_named_as_on_the_cpu(devices):
    def fault_on(mesh) -> str:
        step = make_step(mesh)
        batch = examples(8)
        batch["y"][3] = 9
        with pytest.raises(tr.FaultError) as raised:
            step(batch)
        step.close()
        return str(raised.value)

    on_cpu = fault_on(tr.mesh("cpu"))
    assert "label 9 at [3] is outside 0..3" in on_cpu
    assert fault_on(tr.mesh("cuda")) == on_cpu.replace("cpu:0", "cuda:0")


def test_a_bad_token_is_named_as_on_the_cpu(devices):
    class Lookup(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Embedding(30, 8)
            self.head = nn.Linear(8, 4)

        def forward(self, x):
            return self.head(self.table(x))

    def fault_on(mesh) -> str:
        batch = {"x": np.arange(24).reshape(8, 3), "y": np.zeros((8, 3), np.int64)}
        batch["x"][2, 1] = 30
        with make_step(mesh, model=Lookup()) as step, pytest.raises(tr.FaultError) as raised:
            step(batch)
        return str(raised.value)

    on_cpu = fault_on(tr.mesh("cpu"))
    assert "id 30 at [2,1] is outside the table's rows 0..29" in on_cpu
    assert fault_on(tr.mesh("cuda")) == on_cpu.replace("cpu:0", "cuda:0")


def test_heads_that_are_too_wide_are_refused(devices):
    class Wide(nn.Module):
        def __init__(self):
            super().__init__()
            self.up = nn.Linear(12, 300)
            self.down = nn.Linear(300, 4)

        def forward(self, x):
            head = self.up(x).view(1, x.shape[0], 1, 300)
            mixed = F.scaled_dot_product_attention(head, head, head, seq_dim=1)
            return self.down(mixed.view(x.shape[0], 300))

    step = make_step(tr.mesh("cuda"), model=Wide())
    with pytest.raises(tr.FaultError, match=r"heads have 300 dims, but attention on CUDA devices takes at most 256"):
        step(examples(8))


def test_a_value_that_is_not_finite_is_named(devices):
    class Log(nn.Module):
        def __init__(self):
            super().__init__()
            self.up = nn.Linear(12, 4)

        def forward(self, x):
            return self.up(x).log()

    step = make_step(tr.mesh("cuda"), model=Log(), loss=classify)
    with pytest.raises(tr.FaultError, match=r"'log.*on cuda:0, is not finite"):
        step(examples(8))


def test_what_does_not_fit_is_said_when_it_is_planned(devices):
    devices(memory=1 << 20)
    with pytest.raises(tr.PlanError, match=r"cuda:0.*MiB"):
        make_step(tr.mesh("cuda"), model=MLP(hidden=40_000))(examples(8))


def test_meshes_that_cannot_be(devices):
    devices(count=2)
    with pytest.raises(tr.PlanError, match=r"needs 4 CUDA devices, but 2 were found \(2 CUDA devices.*devices=2 lets"):
        tr.mesh("cuda", dp=4)
    assert tr.mesh("cuda", dp=4, devices=2).devices == ["cuda:0.0", "cuda:0.1", "cuda:1.0", "cuda:1.1"]
    with pytest.raises(tr.PlanError, match=r"cannot lie on devices=3; it has 4, an equal number for each"):
        tr.mesh("cuda", dp=4, devices=3)
    with pytest.raises(tr.PlanError, match=r"devices=1 is for a mesh of 'cuda' devices"):
        tr.mesh("cpu", dp=4, devices=1)
    devices(driver=0)
    with pytest.raises(tr.PlanError, match=r"needs 1 CUDA device, but 0 were found \(.*driver"):
        tr.mesh("cuda")
    devices(driver=11040)
    with pytest.raises(tr.PlanError, match=r"0 were found \(.*11\.4"):
        tr.mesh("cuda")


def test_a_device_limits_a_mesh_to_the_memory_that_is_free(devices):
    devices(memory=64 << 20)
    whole = tr.mesh("cuda").memory
    assert 32 << 20 < whole < 64 << 20
    assert tr.mesh("cuda", dp=2, devices=1).memory == whole // 2
    assert tr.mesh("cuda", memory="8MiB").memory == 8 << 20


def test_products_by_cublaslt(devices):
    devices(memory=512 << 20, cublas_lt=True)
    one = losses_of(tr.mesh("cuda"))
    assert one == pytest.approx(losses_of(tr.mesh("cpu")), rel=1e-5)
    assert losses_of(tr.mesh("cuda")) == one
    assert losses_of(tr.mesh("cuda", dp=2, devices=1), recipe=tr.recipes.zero(3)) == one


def test_a_mesh_leaves_its_queues_their_memory(devices):
    devices(memory=256 << 20, cublas_lt=True)
    free = int((256 << 20) * 0.97)
    assert cuda.queue_bytes() == 32 << 20
    assert tr.mesh("cuda").memory == free - (64 << 20)
    assert tr.mesh("cuda", dp=2, devices=1).memory == free // 2 - (64 << 20)
    devices(memory=64 << 20, cublas_lt=True)
    with pytest.raises(tr.PlanError, match=r"needs 1 CUDA device with memory for its queues, 64\.0 MiB: 1 CUDA device"):
        tr.mesh("cuda")
    assert tr.mesh("cuda", memory="8MiB").memory == 8 << 20


def test_cublaslt_of_python_packages_is_looked_for(devices, monkeypatch, tmp_path):
    monkeypatch.setenv(cuda.CUBLASLT, "/of/the/user")
    cuda.backend()
    assert os.environ[cuda.CUBLASLT] == "/of/the/user"
    monkeypatch.delenv(cuda.CUBLASLT)
    for folder in ("cublas/lib", "cu13/lib"):
        (tmp_path / "nvidia" / folder).mkdir(parents=True)
        (tmp_path / "nvidia" / folder / "libcublasLt.so.13").touch()
    monkeypatch.syspath_prepend(tmp_path)
    folders = [str(tmp_path / "nvidia" / folder) for folder in ("cu13/lib", "cublas/lib")]
    assert [folder for folder in cuda.cublaslt_folders() if folder in folders] == folders
    devices()
    cuda.backend()
    assert os.environ[cuda.CUBLASLT] == ":".join(cuda.cublaslt_folders())


def test_the_command_says_what_was_found(devices):
    command = [sys.executable, "-m", "troupe", "env"]
    found = subprocess.run(command, env=dict(os.environ), capture_output=True, text=True, timeout=60)
    assert "cuda devices" in found.stdout and "Simulated GPU" in found.stdout
    assert "cuBLASLt 13.1.0" in found.stdout


def test_a_library_that_is_not_there(monkeypatch):
    monkeypatch.setenv(cuda.LIBRARY, "/nowhere/libtroupe_cuda.so")
    cuda.backend.cache_clear()
    with pytest.raises(tr.PlanError, match=r"mesh cuda.* needs 1 CUDA device: there is no '/nowhere/libtroupe_cuda\.so'"):
        tr.mesh("cuda")
    cuda.backend.cache_clear()


def test_a_mesh_of_a_command_line(devices):
    assert tr.parse_mesh("cuda").devices == ["cuda:0"]
    devices(count=2)
    assert tr.parse_mesh("cuda:dp=2").devices == ["cuda:0", "cuda:1"]
    assert tr.parse_mesh("dp=2").devices == ["cpu:0", "cpu:1"]


def test_plans_know_how_fast_the_devices_are(devices):
    assert profile_of(tr.mesh("cuda")).cores == tr._troupe.Profile.h200().cores == 0
    assert profile_of(tr.mesh("cpu")).cores > 0


def test_workers_have_no_cuda_devices(devices, monkeypatch, tmp_path):
    monkeypatch.setenv("TROUPE_RUN_DIR", str(tmp_path))  # as `troupe launch` does
    with pytest.raises(tr.PlanError, match=r"mesh cuda.*workers offer CPU devices only; run .* without `troupe launch`"):
        make_step(tr.mesh("cuda"))(examples(8))
