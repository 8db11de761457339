"""Recipes on the GPT: what changes where tensors lie changes no number."""

import re

import numpy as np
import pytest
from model import GPT
from runs import assert_same, make_step, train

import troupe as tr
from troupe.recipes import (
    data_parallel,
    megatron,
    offload,
    parse,
    pipeline,
    recompute,
    recompute_to_fit,
    sample_parallel,
    sequence_parallel,
    zero,
)


def run(axes, recipe, steps=3, **options):
    return train(GPT(vocab=64, layers=2, dim=32, heads=4, context=16), axes, recipe, steps, **options)


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


@pytest.mark.parametrize("schedule", ["gpipe", "1f1b", "zero_bubble"])
@pytest.mark.parametrize("axes", [{"pp": 2}, {"pp": 5}, {"dp": 2, "pp": 2}, {"pp": 2, "dp": 4}], ids=str)
def test_pipelines_keep_the_bits(schedule, axes, one_device):
    if axes == {"pp": 2, "dp": 4} and schedule == "gpipe":
        assert_same(run(axes, zero(3) + pipeline(schedule)), one_device)
    else:
        assert_same(run(axes, data_parallel() + pipeline(schedule)), one_device)


def test_interleaved_pipelines_keep_the_bits(one_device):
    assert_same(run({"pp": 2}, pipeline("interleaved", chunks_per_stage=2)), one_device)
    assert_same(run({"pp": 2}, pipeline(cut=["blocks.1"])), one_device)


def test_pipelines_compose_with_everything():
    axes = {"dp": 2, "pp": 2, "tp": 2}
    whole = run({"dp": 2, "tp": 2}, data_parallel() + megatron())
    assert_same(run(axes, parse("zero3+megatron+1f1b")), whole)
    assert_same(run(axes, parse("data_parallel+megatron+zero_bubble")), whole)


@pytest.mark.parametrize("axes", [{"tp": 2}, {"tp": 3}, {"dp": 2, "tp": 2}], ids=str)
def test_sequence_parallelism_splits_tokens_between_pairs_of_layers(axes, one_device):
    recipe = data_parallel() + megatron() + sequence_parallel()
    assert np.allclose(run(axes, recipe)[0], one_device[0], rtol=1e-5)
    model = GPT(vocab=64, layers=2, dim=32, heads=4, context=16)
    ids = np.zeros((16, 17), np.int64)
    step = make_step(model, axes, recipe)
    boxed = step.plan({"x": ids[:, :-1], "y": ids[:, 1:]}).stages["box"].splitlines()
    sums = [line for line in boxed if "blocks.1.attn.out.linear@" in line and "reduce_scatter" in line]
    assert len(sums) == 1 and "S(1)" in sums[0]


@pytest.mark.parametrize("axes", [{"sp": 2}, {"sp": 3}, {"dp": 2, "sp": 2}], ids=str)
def test_samples_of_a_piece_are_split(axes, one_device):
    recipe = data_parallel() + sample_parallel()
    assert np.allclose(run(axes, recipe)[0], one_device[0], rtol=1e-5)
    model = GPT(vocab=64, layers=2, dim=32, heads=4, context=16)
    ids = np.zeros((16, 17), np.int64)
    plan = make_step(model, axes, recipe).plan({"x": ids[:, :-1], "y": ids[:, 1:]})
    along = [(kind, count) for kind, axis, count, _ in plan.traffic if axis == "sp" and count]
    assert along == [("all_reduce", 1)]


def test_recompute_keeps_the_bits_and_holds_less(one_device):
    assert_same(run({}, data_parallel() + recompute()), one_device)
    assert_same(run({"dp": 2}, zero(3) + recompute("blocks.0", "blocks.1.mlp")), one_device)
    assert_same(run({"dp": 2, "pp": 2}, parse("zero3+recompute+1f1b")), one_device)
    batch = {"x": np.zeros((16, 16), np.int64), "y": np.zeros((16, 16), np.int64)}
    held = []
    for recipe in (data_parallel(), data_parallel() + recompute()):
        plan = make_step(GPT(vocab=64, layers=6, dim=32, heads=4, context=16), {}, recipe).plan(batch)
        held.append(plan.memory[0]["activations"])
    assert held[1] < held[0] / 2
    with pytest.raises(tr.PlanError, match="'layers.*' matches no module; the modules are tok"):
        make_step(GPT(vocab=64, layers=2, dim=32, heads=4, context=16), {}, data_parallel() + recompute("layers.*"))

@pytest.mark.parametrize("axes", [{}, {"dp": 2}, {"dp": 2, "pp": 2}], ids=str)
def test_what_is_offloaded_keeps_the_bits_and_frees_devices(axes, one_device):
    base = zero(3) + pipeline() if "pp" in axes else zero(3) if axes else data_parallel()
    assert_same(run(axes, base + parse("offload+recompute")), one_device)
    assert_same(run(axes, base + offload("blocks.*.mlp", memory="1GiB")), one_device)
    batch = {name: np.zeros((16, 16), np.int64) for name in ("x", "y")}
    model = GPT(vocab=64, layers=6, dim=32, heads=4, context=16)
    kept = make_step(model, axes, base).plan(batch).memory
    moved = make_step(model, axes, base + offload()).plan(batch)
    assert sum(moved.memory[0].values()) < sum(kept[0].values())
    assert len(moved.memory) == len(moved.host_memory) == len(kept) and sum(moved.host_memory[0].values()) > 0
    with pytest.raises(tr.PlanError, match=r"on host:0 at its peak .* offload has memory=1.0 KiB per host"):
        make_step(model, axes, base + offload(memory="1KiB")).plan(batch)


@pytest.mark.parametrize("axes", [{"dp": 2}, {"dp": 2, "pp": 2}], ids=str)
def test_what_is_recomputed_to_fit_keeps_the_bits(axes, one_device):
    base = zero(3) + pipeline() if "pp" in axes else zero(3)
    batch = {name: np.zeros((16, 16), np.int64) for name in ("x", "y")}

    def planned(memory, recipe):
        model = GPT(vocab=64, layers=2, dim=32, heads=4, context=16)
        return make_step(model, axes, recipe, memory=memory).plan(batch)

    kept = max(sum(row.values()) for row in planned(0, base).memory)
    plan = planned(kept, base + recompute_to_fit())
    assert "nothing needs to be recomputed" in plan.summary()
    assert plan.stages["rewrite"] == planned(kept, base).stages["rewrite"]
    with pytest.raises(tr.PlanError, match=r"blocks\.0.*recomputed.*would do is memory=\d+; .*at the peak: \w+") as refused:
        planned(1000, base + recompute_to_fit())
    least = int(re.search(r"memory=(\d+);", str(refused.value))[1])
    assert least < kept
    plan = planned(least, base + recompute_to_fit())
    assert "recomputed to fit" in plan.summary() and ".again" in plan.stages["rewrite"]
    assert_same(run(axes, base + parse("recompute_auto"), memory=least), one_device)
    with pytest.raises(tr.PlanError):
        planned(least - 1, base + recompute_to_fit())



def test_a_pipeline_evaluates_and_generates():
    results = []
    everything = parse("zero3+megatron+1f1b")
    for axes, recipe in (
        ({}, pipeline()),
        ({"pp": 3}, pipeline()),
        ({"dp": 2, "pp": 2}, data_parallel() + pipeline()),
        ({"dp": 2, "pp": 2, "tp": 2}, everything),
        ({"dp": 4, "tp": 2}, parse("zero2+megatron")),
    ):
        model = GPT(vocab=64, layers=2, dim=32, heads=4, context=16)
        ids = np.random.default_rng(0).integers(0, 64, (16, 17))
        batch = {"x": ids[:, :-1], "y": ids[:, 1:]}
        with make_step(model, axes, recipe) as step:
            step(batch)
            validation = tr.evaluate(step, tr.data.arrays(**batch, batch=16, shuffle=False)).loss
            results.append((validation, tr.generate(step, [1, 2, 3], 5, seed=1).tolist()))
    assert all(text == results[0][1] for _, text in results)
    assert np.allclose([loss for loss, _ in results], results[0][0], rtol=1e-6)


def test_the_summary_shows_what_a_pipeline_does():
    model = GPT(vocab=64, layers=2, dim=32, heads=4, context=16)
    step = make_step(model, {"pp": 2}, pipeline())
    ids = np.zeros((16, 17), np.int64)
    text = step.plan({"x": ids[:, :-1], "y": ids[:, 1:]}).summary()
    assert "in each of 2 stages (1f1b)" in text and "bubble" in text
    assert "stage 0: F0 " in text or "stage 0: 2xF0" in text


def test_what_no_pipeline_can_do_is_refused_with_what_it_can():
    model = GPT(vocab=64, layers=2, dim=32, heads=4, context=16)
    batch = {"x": np.zeros((16, 16), np.int64), "y": np.zeros((16, 16), np.int64)}
    with pytest.raises(tr.PlanError, match="8 chunks, but the model has 6 parts .*blocks.1.*at most 6"):
        make_step(model, {"pp": 8}, pipeline())
    with pytest.raises(tr.PlanError, match="4 stages needs as many pieces.*there are 2; more batch_shards"):
        make_step(model, {"pp": 4}, pipeline(), batch_shards=2).plan(batch)
    with pytest.raises(tr.PlanError, match="no schedule 'dualpipe'.*'zero_bubble'"):
        make_step(model, {"pp": 2}, pipeline("dualpipe")).plan(batch)
    with pytest.raises(tr.PlanError, match=r"cut=\['blocks'\] must name parts in their order, of pos, blocks.0"):
        make_step(model, {"pp": 2}, pipeline(cut=["blocks"]))
    with pytest.raises(tr.PlanError, match="only one pipeline"):
        make_step(model, {"pp": 2}, pipeline() + pipeline())
    with pytest.raises(tr.PlanError, match="there is no 'zero4'; data_parallel"):
        parse("zero4+megatron")


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


def test_the_fast_reduction_holds_one_accumulator_and_rounds_otherwise(one_device):
    ids = np.zeros((16, 17), np.int64)
    gradients = {}
    for reduction in ("canonical", "fast"):
        step = make_step(GPT(vocab=64, layers=2, dim=32, heads=4, context=16), {}, data_parallel(), reduction=reduction)
        plan = step.plan({"x": ids[:, :-1], "y": ids[:, 1:]})
        gradients[reduction] = plan.memory[0]["gradients"]
        assert ("reduction: fast" in plan.summary()) == (reduction == "fast")
    assert gradients["fast"] * 3 < gradients["canonical"]
    fast = run({"dp": 2}, zero(2), reduction="fast")
    assert np.allclose(fast[0], one_device[0], rtol=1e-5)
    assert_same(run({"dp": 2}, zero(2), reduction="fast"), fast)
    with pytest.raises(tr.PlanError, match="8 pieces cannot be shared out evenly to 3"):
        make_step(GPT(vocab=64, layers=2, dim=32, heads=4, context=16), {"dp": 3}, zero(2), reduction="fast")


def test_a_stage_that_does_not_exist_is_refused():
    with pytest.raises(tr.PlanError, match="the stages are 1, 2 and 3"):
        zero(4)


def test_parameters_are_whole_or_in_parts():
    with pytest.raises(tr.PlanError, match="zero.*asks for|asks for.*zero"):
        make_step(GPT(vocab=64, layers=1, dim=32, heads=4, context=16), {"dp": 2}, data_parallel() + zero(3))
