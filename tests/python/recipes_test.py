"""Recipes on the GPT: what changes where tensors lie changes no number."""

import numpy as np
import pytest
from model import GPT

import troupe as tr
from troupe import functional as F
from troupe.recipes import data_parallel, megatron, zero


def make_step(model, axes, recipe, **options):
    options = {"batch_shards": 8, "clip_grad_norm": 1.0} | options
    return tr.TrainStep(
        model,
        lambda m, b: F.cross_entropy(m(b["x"]), b["y"]),
        tr.optim.AdamW(model.parameters(), lr=1e-2),
        mesh=tr.mesh("cpu", **axes),
        recipe=recipe,
        **options,
    )


def run(axes, recipe, steps=3, **options):
    model = GPT(vocab=64, layers=2, dim=32, heads=4, context=16)
    random = np.random.default_rng(0)
    with make_step(model, axes, recipe, **options) as step:
        losses = []
        for _ in range(steps):
            ids = random.integers(0, 64, (16, 17))
            losses.append(step({"x": ids[:, :-1], "y": ids[:, 1:]}).loss)
    return losses, model.state_dict()


def assert_same(ours, theirs):
    assert ours[0] == theirs[0]
    assert [name for name, value in ours[1].items() if not np.array_equal(value, theirs[1][name])] == []


@pytest.fixture(scope="module")
def one_device():
    return run({}, data_parallel())


@pytest.mark.parametrize("stage", [1, 2, 3])
@pytest.mark.parametrize("dp", [2, 3, 8])
def test_zero_keeps_the_bits(stage, dp, one_device):
    assert_same(run({"dp": dp}, zero(stage)), one_device)


@pytest.mark.parametrize("stage", [2, 3])
def test_hybrid_sharding_keeps_the_bits(stage, one_device):
    recipe = data_parallel("dp") + zero(stage, "fsdp")
    assert_same(run({"dp": 2, "fsdp": 2}, recipe), one_device)


def test_zero_composes_with_tensor_parallelism():
    axes = {"dp": 2, "tp": 2}
    assert_same(run(axes, zero(3) + megatron()), run(axes, data_parallel() + megatron()))


def test_what_is_stored_in_parts_is_saved_whole_and_loads_anywhere(tmp_path):
    model = GPT(vocab=64, layers=1, dim=32, heads=4, context=16)
    ids = np.random.default_rng(0).integers(0, 64, (16, 17))
    batch = {"x": ids[:, :-1], "y": ids[:, 1:]}
    with make_step(model, {"dp": 4}, zero(3)) as step:
        step(batch)
        step.save(str(tmp_path / "a"))
        weights = model.state_dict()
        after = step(batch).loss
        assert np.isfinite(tr.evaluate(step, tr.data.arrays(**batch, batch=16, shuffle=False)).loss)
    other = GPT(vocab=64, layers=1, dim=32, heads=4, context=16)
    with make_step(other, {"dp": 2}, data_parallel()) as step:
        step.load(str(tmp_path / "a"))
        assert [name for name, value in other.state_dict().items() if not np.array_equal(value, weights[name])] == []
        assert step(batch).loss == after


def test_the_plan_counts_what_zero_moves():
    step = make_step(GPT(vocab=64, layers=2, dim=32, heads=4, context=16), {"dp": 8}, zero(3))
    ids = np.zeros((16, 17), np.int64)
    text = step.plan({"x": ids[:, :-1], "y": ids[:, 1:]}).summary()
    for kind in ("all_gather", "reduce_scatter"):
        assert kind in text
    assert "all_reduce      dp      1" not in text


def test_a_stage_that_does_not_exist_is_refused():
    with pytest.raises(tr.PlanError, match="the stages are 1, 2 and 3"):
        zero(4)


def test_parameters_are_whole_or_in_parts():
    with pytest.raises(tr.PlanError, match="zero.*asks for|asks for.*zero"):
        make_step(GPT(vocab=64, layers=1, dim=32, heads=4, context=16), {"dp": 2}, data_parallel() + zero(3))
