"""Mixtral: its formulas are Llama's and nn.MoE's; here the same numbers over meshes, and what is published."""

import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT
from runs import assert_same, make_step, train

from models.moe.layouts import expert_and_tensor_parallel
from models.moe.model import Configuration, Mixtral
from models.moe.published import PUBLISHED, loss
from troupe.recipes import data_parallel, parse, pipeline, recompute, zero

SMALL = Configuration(vocab=64, layers=2, dim=32, heads=4, kv_heads=2, hidden=24, context=16, experts=4)


def run(axes, recipe, steps=3, of=SMALL, **options):
    return train(Mixtral(of), axes, recipe, steps, loss=loss, **options)


@pytest.fixture(scope="module")
def one_device():
    return run({}, data_parallel())


SPLIT = data_parallel() + expert_and_tensor_parallel()


def test_splitting_everything_changes_rounding_alone(one_device):
    assert np.allclose(run({"dp": 2, "ep": 2, "tp": 2}, SPLIT)[0], one_device[0], rtol=1e-5)


def test_data_parallelism_zero_pipelines_and_recompute_keep_the_bits(one_device):
    assert_same(run({"dp": 4}, SPLIT), one_device)
    assert_same(run({"dp": 2, "pp": 2}, zero(3) + expert_and_tensor_parallel() + pipeline() + recompute()), one_device)
    split = run({"ep": 2}, SPLIT)
    assert_same(run({"dp": 2, "ep": 2}, SPLIT), split)
    assert_same(run({"dp": 2, "ep": 2}, zero(3) + expert_and_tensor_parallel()), split)
    # What is computed again has a price, for which the planner may split experts' inputs otherwise.
    split = run({"ep": 2}, SPLIT + recompute())
    assert_same(run({"dp": 2, "ep": 2}, zero(3) + expert_and_tensor_parallel() + recompute()), split)


def test_everything_together_trains_in_bfloat16(one_device):
    axes = {"dp": 2, "pp": 2, "ep": 2, "tp": 2}
    recipe = zero(3) + expert_and_tensor_parallel() + pipeline() + recompute()
    assert np.allclose(run(axes, recipe)[0], one_device[0], rtol=1e-5)
    assert np.allclose(run(axes, recipe, precision="bf16")[0], one_device[0], rtol=5e-3)


def test_routing_stays_float32_and_experts_compute_in_bfloat16():
    ids = np.zeros((16, 17), np.int64)
    step = make_step(Mixtral(SMALL), {}, data_parallel(), loss=loss, precision="bf16")
    lines = step.plan({"x": ids[:, :-1], "y": ids[:, 1:]}).stages["rewrite"].splitlines()
    nodes = [line for line in lines if "model.layers.1.moe" in line]

    def dtypes(op):
        return {line.split(": ")[1].split("[")[0] for line in nodes if f" = {op}(" in line}

    assert dtypes("top_k") == dtypes("softmax") == {"f32"}
    assert dtypes("dispatch") == dtypes("combine") == dtypes("expert_linear") == {"bf16"}
    assert dtypes("linear") == dtypes("linear_input_gradient") == {"f32"}


@pytest.mark.parametrize("name, count, active", [
    ("mixtral-8x7b", 46_702_792_704, 12_879_925_248),
    ("mixtral-8x22b", 140_620_634_112, 39_152_031_744),
])  # fmt: skip
def test_published_configurations_have_the_published_number_of_parameters(name, count, active):
    published = PUBLISHED[name]
    assert (published.parameter_count(), published.active_count()) == (count, active)
    assert sum(int(np.prod(p.shape)) for p in Mixtral(published).parameters()) == count


def test_published_models_are_planned():
    options = ["--mesh", "dp=2,ep=8", "--recipe", "zero3+expert_parallel", "--seq", "512"]
    done = subprocess.run(
        [sys.executable, "-m", "troupe", "plan", "mixtral-8x7b", *options], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert "all_to_all      ep" in done.stdout
    assert "all_to_all      dp" not in done.stdout, "gradients of experts are gathered for their norm"


def test_the_script_trains(tmp_path):
    text = tmp_path / "text.txt"
    text.write_bytes(b"the quick brown fox jumps over the lazy dog. " * 400)
    options = ["--data", str(text), "--steps", "3", "--checkpoint", str(tmp_path / "run")]
    done = subprocess.run(
        [sys.executable, "-m", "models.moe.train", *options], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert "3/3" in done.stdout and "validation loss" in done.stdout
