"""Context parallelism: the sequence split along an axis, for the same models."""

import re

import numpy as np
import pytest
from model import GPT
from runs import assert_same, make_step, train

import troupe as tr
from models.llama.layouts import tensor_parallel
from models.llama.model import Configuration, Llama
from troupe.recipes import context_parallel, data_parallel, megatron, parse, zero

LLAMA = Configuration(vocab=64, layers=2, dim=32, heads=4, kv_heads=2, hidden=40, context=16)
MODELS = {
    "gpt": lambda: GPT(vocab=64, layers=2, dim=32, heads=4, context=16),
    "llama": lambda: Llama(LLAMA),
}


def run(name, axes, recipe, context=16, **options):
    def tokens(random):
        return random.integers(0, 64, (8, context + 1))

    return train(MODELS[name](), axes, recipe, 3, tokens, **options)


def plan_of(model, axes, recipe, context=16, rows=8, **options):
    ids = np.zeros((rows, context + 1), np.int64)
    return make_step(model, axes, recipe, **options).plan({"x": ids[:, :-1], "y": ids[:, 1:]})


@pytest.fixture(scope="module")
def one_device():
    """Losses by model and length."""
    return {(name, n): run(name, {}, data_parallel(), n)[0] for name in MODELS for n in (16, 13)}


@pytest.mark.parametrize("attention", ["gather", "ring"])
@pytest.mark.parametrize("cp, context", [(2, 16), (2, 13), (3, 16), (3, 13), (4, 16), (4, 13)])
@pytest.mark.parametrize("name", MODELS)
def test_losses_are_those_of_one_device_also_for_uneven_sequences(name, cp, context, attention, one_device):
    split, _ = run(name, {"cp": cp}, data_parallel() + context_parallel(attention=attention), context)
    assert np.allclose(split, one_device[name, context], rtol=1e-5)


@pytest.mark.parametrize("name, attention", [("gpt", "gather"), ("llama", "gather"), ("llama", "ring")])
def test_the_number_of_data_parallel_devices_changes_no_bit(name, attention):
    split = context_parallel(attention=attention)
    one = run(name, {"cp": 2}, data_parallel() + split)
    assert_same(run(name, {"dp": 2, "cp": 2}, data_parallel() + split), one)
    assert_same(run(name, {"dp": 3, "cp": 2}, data_parallel() + split), one)
    assert_same(run(name, {"dp": 2, "cp": 2}, zero(3) + split), one)


@pytest.mark.parametrize("name, tensor", [("gpt", megatron), ("llama", tensor_parallel)])
def test_it_composes_with_tensor_parallelism(name, tensor, one_device):
    for attention in ("gather", "ring"):
        recipe = data_parallel() + context_parallel(attention=attention) + tensor()
        for axes in ({"dp": 2, "cp": 2, "tp": 2}, {"tp": 2, "cp": 3}):
            assert np.allclose(run(name, axes, recipe)[0], one_device[name, 16], rtol=1e-5)


@pytest.mark.parametrize("attention", ["context_parallel", "ring"])
@pytest.mark.parametrize(
    "axes, recipe",
    [
        ({"pp": 2, "cp": 2}, "1f1b"),
        ({"dp": 2, "pp": 2, "cp": 2}, "data_parallel+1f1b"),
        ({"cp": 3}, "recompute"),
        ({"pp": 2, "cp": 2}, "1f1b+recompute"),
        ({"dp": 2, "cp": 2, "tp": 2}, "zero3+megatron"),
        ({"dp": 2, "pp": 2, "cp": 2, "tp": 2}, "zero3+megatron+1f1b+recompute+offload"),
    ],
    ids=str,
)
def test_it_composes_with_what_else_there_is(axes, recipe, attention, one_device):
    split, _ = run("gpt", axes, parse(f"{recipe}+{attention}"))
    assert np.allclose(split, one_device["gpt", 16], rtol=1e-5)


@pytest.mark.parametrize("attention", ["gather", "ring"])
@pytest.mark.parametrize("name", MODELS)
def test_it_trains_in_bfloat16(name, attention, one_device):
    recipe = data_parallel() + context_parallel(attention=attention)
    low, _ = run(name, {"dp": 2, "cp": 3}, recipe, precision="bf16")
    assert np.allclose(low, one_device[name, 16], rtol=0.005)
    assert low != one_device[name, 16]


@pytest.mark.parametrize("attention", ["context_parallel", "ring"])
def test_a_model_evaluates_and_generates_after_it(attention):
    results = []
    for axes, recipe in (
        ({}, data_parallel()),
        ({"cp": 3}, parse(f"data_parallel+{attention}")),
        ({"dp": 2, "cp": 2, "tp": 2}, parse(f"zero3+megatron+{attention}")),
        ({"pp": 2, "cp": 2}, parse(f"1f1b+{attention}")),
    ):
        ids = np.random.default_rng(0).integers(0, 64, (16, 17))
        batch = {"x": ids[:, :-1], "y": ids[:, 1:]}
        with make_step(MODELS["gpt"](), axes, recipe) as step:
            step(batch)
            validation = tr.evaluate(step, tr.data.arrays(**batch, batch=16, shuffle=False)).loss
            # Prompts shorter than there are devices, and longer than what the model can see.
            texts = [tr.generate(step, prompt, 5, seed=1).tolist() for prompt in ([1], [1, 2, 3], list(range(20)))]
            results.append((validation, texts))
    assert all(texts == results[0][1] for _, texts in results)
    assert np.allclose([loss for loss, _ in results], results[0][0], rtol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_keys_and_values_are_gathered_and_their_gradients_scattered(name):
    plan = plan_of(MODELS[name](), {"cp": 4}, data_parallel() + context_parallel(), batch_shards=1)
    counts = {kind: count for kind, axis, count, _ in plan.traffic if axis == "cp"}
    # Per layer k and v, in either pass; the gradients of k and v; half of q and out, of dout and dq.
    # The learned positions' gradient is gathered, all others are added together.
    positions = 1 if name == "gpt" else 0
    assert counts == {"all_gather": 2 * 4 + positions, "reduce_scatter": 2 * 2, "permute": 2 * 4, "all_reduce": 1}


@pytest.mark.parametrize("name", MODELS)
def test_in_a_ring_nothing_is_gathered_but_parts_change_places(name):
    plan = plan_of(MODELS[name](), {"cp": 4}, data_parallel() + context_parallel(attention="ring"), batch_shards=1)
    counts = {kind: count for kind, axis, count, _ in plan.traffic if axis == "cp"}
    # Instead of each gather and each scatter of the test above: a part of every other device, one at a time.
    positions = {"all_gather": 1} if name == "gpt" else {}
    assert counts == {"permute": 2 * (4 + 6 * 3), "all_reduce": 1} | positions


@pytest.mark.parametrize("attention, held", [("gather", r"(rope|reshape)(#\d)?@"), ("ring", "nothing")])
@pytest.mark.parametrize("name", MODELS)
def test_no_device_holds_activations_of_the_whole_sequence_but_gathered_keys_and_values(name, attention, held):
    recipe = data_parallel() + context_parallel(attention=attention)
    plan = plan_of(MODELS[name](), {"cp": 4}, recipe, batch_shards=1)
    whole = []
    for line in plan.stages["box"].splitlines():
        for value, shape, sbp in re.findall(r"(\S+): \w+\[(\d+(?:,\d+)*)\] (\S+)", line.split(" = ")[0]):
            if line.startswith("piece") and shape.startswith("8,16") and not sbp.startswith("S"):
                whole.append(value)
    gradients = 2 * 2 if attention == "gather" else 0  # of k and v, partial until they are scattered
    assert sum(bool(re.search("attention_gradient:d[kv]$", value)) for value in whole) == gradients
    rest = [value for value in whole if not re.search("attention_gradient:d[kv]$", value)]
    assert all(re.search(held, value) for value in rest), rest


def test_a_ring_needs_less_memory_for_long_sequences():
    held = {}
    for attention in ("gather", "ring"):
        model = GPT(vocab=64, layers=2, dim=64, heads=2, context=4096)
        recipe = data_parallel() + context_parallel(attention=attention)
        held[attention] = plan_of(model, {"cp": 8}, recipe, 4096, rows=1, batch_shards=1).memory[0]["activations"]
    assert held["ring"] < 0.8 * held["gather"], held


def test_a_form_of_attention_that_does_not_exist_is_refused():
    with pytest.raises(tr.PlanError, match="'gather' or 'ring'"):
        context_parallel(attention="ulysses")
    with pytest.raises(tr.PlanError, match="only one axis can split the sequence"):
        make_step(MODELS["gpt"](), {"cp": 2, "sp": 2}, parse("context_parallel+ring"))
