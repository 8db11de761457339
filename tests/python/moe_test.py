"""Mixtral: its formulas are Llama's and nn.MoE's; here the same numbers over meshes, and what is published."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT
from formulas import gated, llama_logits
from runs import assert_same, make_step, run_script, train
from safetensors.numpy import save_file

import troupe as tr
from models.moe.checkpoint import from_published, to_published
from models.moe.layouts import expert_and_tensor_parallel
from models.moe.model import Configuration, Mixtral
from models.moe.published import PUBLISHED, loss
from troupe.recipes import data_parallel, pipeline, recompute, zero

PEER = os.environ.get("TROUPE_PEER_PYTHON")
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


def random_checkpoint():
    """Random tensors with the names and shapes of a published checkpoint."""
    random = np.random.default_rng(0)
    dim, kv_dim = SMALL.dim, SMALL.dim // SMALL.heads * SMALL.kv_heads
    shapes = {"model.embed_tokens": (SMALL.vocab, dim), "model.norm": (dim,), "lm_head": (SMALL.vocab, dim)}
    for layer in (f"model.layers.{i}" for i in range(SMALL.layers)):
        shapes |= {f"{layer}.{norm}": (dim,) for norm in ("input_layernorm", "post_attention_layernorm")}
        for part, out in {"q": dim, "k": kv_dim, "v": kv_dim, "o": dim}.items():
            shapes[f"{layer}.self_attn.{part}_proj"] = (out, dim)
        shapes[f"{layer}.block_sparse_moe.gate"] = (SMALL.experts, dim)
        for expert in (f"{layer}.block_sparse_moe.experts.{e}" for e in range(SMALL.experts)):
            shapes |= {f"{expert}.w1": (SMALL.hidden, dim), f"{expert}.w2": (dim, SMALL.hidden)}
            shapes[f"{expert}.w3"] = (SMALL.hidden, dim)
    return {
        f"{name}.weight": (random.standard_normal(shape) * (1 if len(shape) == 1 else 0.3)).astype(np.float32)
        for name, shape in shapes.items()
    }


def save_sharded(tensors, path):
    """In two files, which share the experts of each layer, and an index."""
    files = {name: f"model-0000{1 + i % 2}-of-00002.safetensors" for i, name in enumerate(tensors)}
    path.mkdir()
    for file in set(files.values()):
        save_file({name: tensors[name] for name in tensors if files[name] == file}, path / file)
    (path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": files}))
    return path


def test_published_checkpoints_load_and_are_written_back(tmp_path):
    tensors = random_checkpoint()
    model = Mixtral(SMALL)
    model.load_state_dict(from_published(tr.load_tensors(save_sharded(tensors, tmp_path / "checkpoint"))))
    back = to_published(model.state_dict())
    assert back.keys() == tensors.keys()
    assert all(np.array_equal(back[name], tensors[name]) for name in tensors)


def test_a_checkpoint_whose_experts_differ_or_are_missing_is_refused():
    tensors = random_checkpoint()
    first = "model.layers.1.block_sparse_moe.experts.0.w2.weight"
    with pytest.raises(tr.PlanError, match="experts of a layer differ: .*experts.1.w2.*experts.0.w2"):
        from_published(tensors | {first: tensors[first].T})
    del tensors[first]
    with pytest.raises(tr.PlanError, match="has '.*experts.3.w2.weight', and of the 4 experts up to it only 3"):
        from_published(tensors)


def published_experts(w, block, y):
    """What the experts of a block add for y [seq, dim], one token after another, in the published names."""
    prefix = f"{block}.block_sparse_moe"
    scores = np.exp(y @ w[f"{prefix}.gate.weight"].T)
    result = np.zeros_like(y)
    for token, row in enumerate(y):
        chosen = np.argsort(-scores[token])[: SMALL.chosen]
        for expert in chosen:
            matrices = (w[f"{prefix}.experts.{expert}.{part}.weight"] for part in ("w1", "w3", "w2"))
            result[token] += scores[token, expert] / scores[token, chosen].sum() * gated(row, *matrices)
    return result


IDS = np.random.default_rng(1).integers(0, SMALL.vocab, (3, SMALL.context))


def published_logits():
    """Of a model with the weights of random_checkpoint()."""
    model = Mixtral(SMALL)
    model.load_state_dict(from_published(random_checkpoint()))
    return model(IDS)


def test_logits_of_a_published_checkpoint_are_those_of_the_formula():
    expected = np.stack([llama_logits(random_checkpoint(), row, SMALL, published_experts) for row in IDS])
    assert np.allclose(published_logits(), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.skipif(not PEER, reason="TROUPE_PEER_PYTHON names no Python with PyTorch")
def test_logits_of_a_published_checkpoint_are_pytorchs(tmp_path):
    save_file(random_checkpoint(), tmp_path / "model.safetensors")
    np.save(tmp_path / "ids.npy", IDS)
    sizes = [f"--{name}={getattr(SMALL, name)}" for name in ("heads", "kv_heads", "chosen", "theta", "eps")]
    files = ["--weights", tmp_path / "model.safetensors", "--ids", tmp_path / "ids.npy", "--logits", tmp_path / "y.npy"]
    subprocess.run([PEER, ROOT / "tests" / "parity" / "mixtral_peer.py", *sizes, *files], timeout=300, check=True)
    assert np.allclose(published_logits(), np.load(tmp_path / "y.npy"), rtol=1e-4, atol=1e-4)


def test_the_script_trains(tmp_path):
    shown = run_script("models.moe.train", tmp_path, "--steps", "3")
    assert "3/3" in shown and "validation loss" in shown
