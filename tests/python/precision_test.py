"""Steps in bfloat16: losses near float32's, the same bits over meshes, float32 where it is promised."""

import numpy as np
import pytest
import runs
from model import GPT
from runs import assert_same

import troupe as tr
from models.llama.model import Configuration, Llama
from troupe.recipes import data_parallel, pipeline, zero

# Losses of about 4 over twenty steps; bfloat16 keeps eight bits of every activation.
NEAR = 0.005


def gpt():
    return GPT(vocab=64, layers=2, dim=32, heads=4, context=16)


def llama():
    return Llama(Configuration(vocab=64, layers=2, dim=32, heads=4, kv_heads=2, hidden=40, context=16))


def make_step(model, precision, axes, recipe):
    return runs.make_step(model, axes, recipe, lr=3e-3, precision=precision)


def successors(random):
    """Each token is followed by its successor, so that there is something to learn."""
    return (random.integers(0, 64, (16, 1)) + np.arange(17)) % 64


def run(make_model, precision="bf16", axes=None, recipe=None, steps=3):
    return runs.train(
        make_model(), axes or {}, recipe or data_parallel(), steps, successors, lr=3e-3, precision=precision
    )


@pytest.mark.parametrize("make_model", [gpt, llama])
def test_twenty_steps_follow_those_in_float32(make_model):
    ours, theirs = (run(make_model, precision, steps=20)[0] for precision in ("bf16", "f32"))
    assert theirs[-1] < theirs[0] - 1
    assert ours != theirs
    assert np.abs(np.subtract(ours, theirs)).max() < NEAR


@pytest.mark.parametrize("make_model", [gpt, llama])
def test_bits_do_not_depend_on_the_mesh(make_model):
    one_device = run(make_model)
    for dp in (2, 4):
        assert_same(run(make_model, axes={"dp": dp}), one_device)
    assert_same(run(make_model, axes={"dp": 4}, recipe=zero(3)), one_device)
    assert_same(run(make_model, axes={"pp": 2}, recipe=pipeline()), one_device)
    assert_same(run(make_model, axes={"pp": 2, "dp": 2}, recipe=zero(3) + pipeline()), one_device)


def test_weights_and_state_stay_float32():
    model = gpt()
    batch = {name: np.zeros((8, 16), np.int32) for name in ("x", "y")}
    with make_step(model, "bf16", {}, data_parallel()) as step:
        plan = step.plan(batch)
        step(batch)
        dtypes = {value.dtype for value in step.optimizer_state().values()}
    assert dtypes <= {np.dtype(np.float32), np.dtype(np.int64)}
    assert {value.dtype for value in model.state_dict().values()} == {np.dtype(np.float32)}
    assert "bf16" in plan.text()
    with make_step(gpt(), "f32", {}, data_parallel()) as step:
        assert "bf16" not in step.plan(batch).text()


def test_the_table_names_every_op_once():
    rows = dict(line.split("  ", 1) for line in tr.precision_table().splitlines())
    table = {name.strip(): meaning.strip() for name, meaning in rows.items()}
    assert table["linear"] == table["matmul"] == table["attention"] == "bf16"
    assert table["gelu"] == table["reshape"] == "bf16 where all its operands are, else f32"
    assert table["layer_norm"] == table["cross_entropy"] == table["adamw"] == "f32"


def test_other_precisions_are_refused():
    with pytest.raises(tr.PlanError, match=r"precision='f16'; 'f32' and 'bf16' are possible"):
        make_step(gpt(), "f16", {}, data_parallel())
