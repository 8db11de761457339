"""tests/bench/gpu.py where there is no GPU and no PyTorch: what it measures, prints, writes and refuses."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
from conftest import ROOT

from models.gpt.published import PUBLISHED as GPTS
from models.llama.model import Configuration as Llama
from models.moe.model import Configuration as Moe
from models.resnet.published import PUBLISHED as RESNETS

BENCH = ROOT / "tests" / "bench"
sys.path.append(str(BENCH))
import gpu  # noqa: E402
import workloads  # noqa: E402

SIDE = """
import argparse, atexit, json, os, sys
sys.path.append({bench!r})
import protocol
options = protocol.parser("a stand-in")
for name in ("--mode", "--device", "--simulated"):
    options.add_argument(name)
options.add_argument("model")
options.add_argument("--tiny", action="store_true")
options = options.parse_args()
about = dict(losses=[2.0, 1.5], step_s=0.01, host_s=0.002, peak_bytes=3 << 30, parameters=1000, device="A GPU")
about |= dict(predicted_step_s=0.008, predicted_bytes=2 << 30, planning_s=0.1)
blocks = []

def block(steps):
    blocks.append(steps)
    return 100.0

{text}
protocol.serve(block, options, warm_up=0, **about)
"""


@pytest.fixture
def side(tmp_path):
    """Writes a side that does not compute: what it has in `about` and what a block does can be said."""

    def write(name: str, text: str = "") -> str:
        path = tmp_path / f"{name}.py"
        path.write_text(SIDE.format(bench=str(BENCH), text=text))
        return str(path)

    return write


@pytest.fixture
def bench(tmp_path, monkeypatch, capfd, side):
    """Runs the benchmark on two sides: its exit status, what it printed and what it wrote."""

    def run(ours: str, peer: str, *options: str) -> tuple[int, str, dict | None]:
        arguments = ["gpu.py", "gpt-small", "--tiny", "--peer-python", sys.executable, "--out", str(tmp_path / "out")]
        monkeypatch.setattr(gpu, "BLOCK_S", 0.05)
        monkeypatch.setattr(gpu, "PAUSE_S", 0.0)
        monkeypatch.setattr(
            sys, "argv", [*arguments, "--ours", ours, "--peer", peer, "--modes", "eager,compile", "--rounds", "3", *options]
        )
        status = gpu.main()
        file = tmp_path / "out" / "gpt-small.json"
        return status, capfd.readouterr().out, json.loads(file.read_text()) if file.exists() else None

    return run


def test_both_sides_alternate_and_the_table_and_the_file_say_how_fast_they_were(bench, side):
    steps = "def block(steps):\n    assert steps == 5\n    return "
    ours, peer = side("ours", steps + "300.0"), side("peer", steps + "200.0 if options.mode == 'compile' else 150.0")
    status, out, found = bench(ours, peer)
    assert status == 0, out
    assert found["best"] == "compile" and found["ratio"] == 1.5 and found["interleaved"]
    assert found["pairs"] == [[300.0, 200.0]] * 3
    assert {mode: row["units_per_s"] for mode, row in found["peers"].items()} == {"eager": 150.0, "compile": 200.0}
    assert "Troupe / PyTorch compile: 1.50 (from 1.50 to 1.50 in 3 rounds), in alternation" in out
    (row,) = (line.split() for line in out.splitlines() if line.startswith("Troupe  "))
    flops = workloads.flops(workloads.find("gpt-small", tiny=True)) / 16 * 300
    # 16 tokens a step at 300 tokens/s; 2 ms; 3 GiB.
    assert row == ["Troupe", "300", "53.33", "2.00", "3.00", f"{flops / 989e12:.1%}"]
    assert "PyTorch compile (best)" in out and "losses of 2 steps: at most 0.000% apart (tolerance 0.5%)" in out


def test_losses_that_differ_are_a_failure(bench, side):
    status, out, found = bench(side("ours", "about['losses'] = [2.0, 1.52]"), side("peer"))
    assert status == 1 and found["ratio"] == 1.0
    assert "FAILED: the losses differ at step 1: 1.52 and 1.5, 1.33%, more than 0.5%" in out.splitlines()[-1]


def test_models_that_differ_are_a_failure(bench, side):
    status, out, _ = bench(side("ours", "about['parameters'] = 999"), side("peer"))
    assert status == 1 and "FAILED: the models differ: 999 and 1000 parameters" in out


@pytest.mark.parametrize(
    ("losses", "apart"), [([2.0, 1.5], (0.0, 0)), ([2.02, 1.5], (0.01, 0)), ([2.0, float("nan")], (float("inf"), 1)), ([2.0], (float("inf"), 1))]
)  # fmt: skip
def test_how_far_losses_are_apart(losses, apart):
    assert gpu.difference(losses, [2.0, 1.5]) == (pytest.approx(apart[0]), apart[1])


def test_without_pytorch_troupe_is_measured_alone(bench, side):
    peer = side("peer", "protocol.say(error=\"no PyTorch: No module named 'torch'\"); sys.exit(1)")
    status, out, found = bench(side("ours"), peer)
    assert status == 1 and found["alone"] == [100.0] * 3 and "ratio" not in found
    assert out.count("no PyTorch: No module named 'torch'") == 4, "when it is found and in the table, for each setting"
    assert out.splitlines()[-1] == "FAILED: PyTorch ran in none of its settings, so there is no ratio"


def test_a_setting_that_dies_is_left_out(bench, side):
    status, out, found = bench(side("ours"), side("peer", "if options.mode == 'compile': sys.exit(3)"))
    assert status == 0 and found["best"] == "eager"
    assert found["peers"]["compile"] == {"error": "ended without an answer"}


def test_a_peer_that_dies_among_the_rounds_is_told(bench, side):
    dies = "def block(steps):\n    blocks.append(steps)\n    return sys.exit(3) if len(blocks) == 3 else 100.0"
    status, out, found = bench(side("ours"), side("peer", dies), "--modes", "eager")
    assert status == 1 and found["alone"] == [100.0] * 3
    assert any(line.startswith("FAILED: ") and line.endswith(": ended without an answer") for line in out.splitlines())


def test_what_does_not_fit_beside_pytorch_is_measured_after_it(bench, side, tmp_path):
    lock = tmp_path / "memory"
    takes = f"open({str(lock)!r}, 'x').close()\natexit.register(os.remove, {str(lock)!r})"
    refuses = f"if os.path.exists({str(lock)!r}):\n    protocol.say(error='out of memory')\n    sys.exit(1)\n"
    status, out, found = bench(side("ours", refuses + takes), side("peer", takes), "--modes", "eager")
    assert status == 0 and not found["interleaved"] and len(found["pairs"]) == 3
    assert "out of memory" in out and "one after the other: together they do not fit" in out


def test_without_a_device_it_says_what_was_found(bench, side):
    ours = side("ours", "protocol.say(error='PlanError: mesh cuda, one device needs 1 CUDA device'); sys.exit(1)")
    status, out, found = bench(ours, side("peer"), "--modes", "eager")
    assert status == 1 and found is None
    assert out.splitlines()[-1].endswith("PlanError: mesh cuda, one device needs 1 CUDA device")


def test_a_late_setting_is_not_begun(bench, side):
    status, out, found = bench(side("ours"), side("peer"), "--limit", "12")
    assert status == 1 and {row["error"] for row in found["peers"].values()} == {"no time was left"}


def test_troupes_side_trains_on_a_simulated_gpu(bench, side, devices):
    library = ROOT / "build" / "libtroupe_cuda_simulated.so"
    peer = side("peer", "sys.exit(3)")
    _, out, found = bench(str(BENCH / "gpu_troupe.py"), peer, "--simulated", str(library), "--modes", "eager", "--rounds", "1")
    assert "on a simulated GPU: no time below means anything" in out and len(found["alone"]) == 1
    ours = found["troupe"]
    assert 0 <= ours["peak_bytes"] - ours["predicted_bytes"] < 64 << 10, "what is no part of a plan, such as its step's number"
    assert ours["host_s"] > 0 and ours["planning_s"] > 0 and ours["parameters"] > 0
    assert len(ours["losses"]) == workloads.LOSSES and ours["losses"][-2] < ours["losses"][0]


def test_sizes_are_those_of_the_published_models():
    of = workloads.WORKLOADS
    for name in ("gpt2-124m", "gpt2-1.5b"):
        assert of[name].shape == GPTS[name] | {"vocab": 50304}
    resnet = RESNETS["resnet-50"]
    assert (resnet.bottleneck, resnet.blocks) == (True, of["resnet50"].shape["blocks"])
    assert Llama(**of["llama-1b"].shape).parameter_count() == pytest.approx(1.5e9, rel=0.01)
    assert Moe(**of["moe"].shape).active_count() == pytest.approx(0.37e9, rel=0.05)
    assert of.keys() == workloads.TINY.keys()


def test_work_is_counted_by_the_papers_formulas():
    gpt2, llama = workloads.WORKLOADS["gpt2-124m"], workloads.WORKLOADS["llama-1b"]
    assert workloads.flops(gpt2) / gpt2.units == 6 * (12 * 12 * 768**2 + 768 * 50304 + 12 * 768 * 1024)
    of = Llama(**llama.shape)
    multiplied = of.parameter_count() - of.vocab * of.dim - (2 * of.layers + 1) * of.dim
    assert workloads.flops(llama) / llama.units == 6 * (multiplied + of.layers * of.dim * of.context)
    # 4.09 G multiplications per image (torchvision's table), three times forward and backward.
    resnet = workloads.WORKLOADS["resnet50"]
    assert workloads.flops(resnet) / resnet.units == pytest.approx(6 * 4.09e9, rel=0.002)
    assert workloads.least_seconds(gpt2, 163_000_000) == workloads.flops(gpt2) / 989e12
    small = workloads.TINY["gpt-small"]
    assert workloads.least_seconds(small, 4_900_000) == 4_900_000 * 30 / 4.8e12


def test_weights_depend_on_their_names_alone():
    shapes = {"a.weight": (4, 5), "a.bias": (4,), "norm.weight": (4,), "conv.weight": (8, 4, 3, 3)}
    found = workloads.initial(shapes)
    again = workloads.initial(dict(reversed(shapes.items())))
    assert all(np.array_equal(found[name], again[name]) for name in shapes)
    assert found["a.bias"].tolist() == [0.0] * 4 and found["norm.weight"].tolist() == [1.0] * 4
    assert found["conv.weight"].std() == pytest.approx((2 / 72) ** 0.5, rel=0.2)
