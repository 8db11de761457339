"""Llama: its names and formulas, and the same numbers over meshes."""

import numpy as np
import pytest
from formulas import gated, llama_logits
from runs import assert_same, make_step, run_script, train

import troupe as tr
from models.llama.layouts import tensor_parallel
from models.llama.model import Configuration, Llama
from models.llama.published import PUBLISHED
from troupe.recipes import data_parallel, pipeline, zero

SMALL = Configuration(vocab=64, layers=2, dim=32, heads=4, kv_heads=2, hidden=40, context=16)


def run(axes, recipe, steps=4):
    return train(Llama(SMALL), axes, recipe, steps)


@pytest.fixture(scope="module")
def one_device():
    return run({}, data_parallel())


@pytest.mark.parametrize("dp", [2, 4, 8])
def test_bits_do_not_depend_on_the_number_of_data_parallel_devices(dp, one_device):
    assert_same(run({"dp": dp}, data_parallel() + tensor_parallel()), one_device)


# With tp=4 there are fewer key heads than devices.
@pytest.mark.parametrize("axes", [{"tp": 2}, {"tp": 4}, {"dp": 2, "tp": 2}, {"dp": 2, "tp": 4}], ids=str)
def test_tensor_parallelism_changes_rounding_alone(axes, one_device):
    recipe = data_parallel() + tensor_parallel()
    losses = run(axes, recipe)[0]
    assert np.allclose(losses, one_device[0], rtol=1e-5)
    assert run(axes, recipe)[0] == losses


def test_zero_keeps_the_bits_alone_and_with_tensor_parallelism(one_device):
    assert_same(run({"dp": 4}, zero(3)), one_device)
    axes = {"dp": 2, "tp": 2}
    split = run(axes, zero(3) + tensor_parallel())
    assert_same(split, run(axes, data_parallel() + tensor_parallel()))
    assert np.allclose(split[0], one_device[0], rtol=1e-5)


def test_a_pipeline_of_blocks_keeps_the_bits(one_device):
    assert_same(run({"pp": 2, "dp": 2}, data_parallel() + pipeline()), one_device)
    assert_same(run({"pp": 2}, pipeline(cut=["model.layers.1"])), one_device)
    axes = {"pp": 2, "dp": 2, "tp": 2}
    assert np.allclose(run(axes, data_parallel() + pipeline() + tensor_parallel())[0], one_device[0], rtol=1e-5)


def test_a_sequence_can_be_split_and_keeps_its_positions():
    class BySequence(Llama):
        def forward(self, ids):
            x = self.model.embed_tokens(ids)
            for block in self.model.layers:
                x = tr.pin(block(x), sp=tr.S(1))
            return self.lm_head(self.model.norm(x))

    ids = np.random.default_rng(1).integers(0, 64, (2, 16))
    split = tr.compile(BySequence(SMALL), ids, mesh=tr.mesh("cpu", sp=3))
    assert np.allclose(split(ids), Llama(SMALL)(ids), atol=1e-6)
    nodes = split.plan.stages["deduce"].splitlines()
    assert any(line.startswith("rope '") and "sp S(1) -> S(1)" in line for line in nodes)


@pytest.mark.parametrize("tp, by_heads", [(2, True), (4, False)])
def test_attention_is_split_by_heads_where_every_device_has_key_heads(tp, by_heads):
    ids = np.zeros((16, 17), np.int64)
    step = make_step(Llama(SMALL), {"tp": tp}, data_parallel() + tensor_parallel())
    nodes = step.plan({"x": ids[:, :-1], "y": ids[:, 1:]}).stages["deduce"].splitlines()
    attention = [line for line in nodes if line.startswith("attention '")]
    assert len(attention) == SMALL.layers
    assert all(("tp S(2), S(2), S(2) -> S(2), S(1)" in line) == by_heads for line in attention)


@pytest.mark.parametrize(
    "name, count",
    [
        ("tinyllama-1.1b", 1_100_048_384),
        ("llama-2-7b", 6_738_415_616),
        ("llama-2-13b", 13_015_864_320),
        ("llama-2-70b", 68_976_648_192),
        ("llama-3-8b", 8_030_261_248),
        ("llama-3-70b", 70_553_706_496),
    ],
)
def test_published_configurations_have_the_published_number_of_parameters(name, count):
    published = PUBLISHED[name]
    assert published.parameter_count() == count
    parameters = dict(Llama(published).named_parameters())
    assert sum(int(np.prod(p.shape)) for p in parameters.values()) == count
    assert parameters[f"model.layers.{published.layers - 1}.self_attn.k_proj.weight"].shape == (
        published.dim // published.heads * published.kv_heads,
        published.dim,
    )


def mlp(w, block, y):
    """What the MLP of a block adds for y [seq, dim]."""
    return gated(y, *(w[f"{block}.mlp.{part}_proj.weight"] for part in ("gate", "up", "down")))


def test_logits_are_those_of_the_formula():
    model, random = Llama(SMALL), np.random.default_rng(0)
    for _, parameter in model.named_parameters():
        parameter.copy_(random.standard_normal(parameter.shape) * (1 if len(parameter.shape) == 1 else 0.3))
    ids = random.integers(0, 64, (3, 16))
    expected = np.stack([llama_logits(model.state_dict(), row, SMALL, mlp) for row in ids])
    assert np.allclose(model(ids), expected, rtol=1e-4, atol=1e-4)


def test_the_script_trains(tmp_path):
    shown = run_script("models.llama.train", tmp_path, "--steps", "3")
    assert "3/3" in shown and "validation loss" in shown
    assert (tmp_path / "run" / "step-00000003" / "model.safetensors").exists()
