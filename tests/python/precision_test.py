"""Steps in bfloat16 and float16: losses near float32's, the same bits over meshes, float32 where it is promised."""

import json
import os
import subprocess

import numpy as np
import pytest
import runs
from conftest import ROOT
from model import GPT
from runs import assert_same
from safetensors.numpy import save_file

import troupe as tr
from models.llama.model import Configuration, Llama
from troupe import _troupe
from troupe.recipes import data_parallel, pipeline, zero

# Losses of about 4 over twenty steps; of every activation bfloat16 keeps eight bits and float16 eleven.
NEAR = {"bf16": 0.005, "f16": 0.001}
PEER = os.environ.get("TROUPE_PEER_PYTHON")


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
    losses = {precision: run(make_model, precision, steps=20)[0] for precision in ("f32", "bf16", "f16")}
    assert losses["f32"][-1] < losses["f32"][0] - 1
    for precision, near in NEAR.items():
        assert losses[precision] != losses["f32"]
        assert np.abs(np.subtract(losses[precision], losses["f32"])).max() < near


def errors(low, full):
    """The root mean square of the losses' difference."""
    return float(np.sqrt(np.mean(np.subtract(low, full) ** 2)))


@pytest.mark.skipif(not PEER, reason="TROUPE_PEER_PYTHON names no Python with PyTorch")
def test_losses_are_as_near_to_float32_as_pytorchs_under_autocast(tmp_path):
    random = np.random.default_rng(0)
    ids = np.stack([successors(random) for _ in range(20)])
    model = gpt()
    save_file(model.state_dict(), tmp_path / "weights.safetensors")
    x, y = ids[..., :-1], ids[..., 1:]
    np.savez(tmp_path / "batches.npz", x=x, y=y, valid_x=x[:1], valid_y=y[:1])
    command = [PEER, str(ROOT / "tests" / "parity" / "quickstart_peer.py"), "--heads=4", "--lr=3e-3", "--threads=1"]
    command += ["--betas", "0.9", "0.999", "--weight-decay=0.01"]
    command += [f"--weights={tmp_path / 'weights.safetensors'}", f"--batches={tmp_path / 'batches.npz'}"]
    processes = {
        precision: subprocess.Popen(command + options, stdout=subprocess.PIPE, text=True)
        for precision, options in (("f32", []), ("bf16", ["--autocast=bf16"]), ("f16", ["--autocast=f16"]))
    }
    ours = {precision: run(gpt, precision, steps=20)[0] for precision in processes}
    theirs = {
        precision: json.loads(process.communicate(timeout=300)[0].splitlines()[-1])["losses"]
        for precision, process in processes.items()
    }
    assert errors(ours["f32"], theirs["f32"]) < 1e-5
    for precision in ("bf16", "f16"):
        error, peer = (errors(losses[precision], losses["f32"]) for losses in (ours, theirs))
        print(f"{precision}: error {error:.2e}, PyTorch {peer:.2e}")
        assert error < 2 * peer


@pytest.mark.parametrize("make_model", [gpt, llama])
def test_bits_do_not_depend_on_the_mesh(make_model):
    one_device = run(make_model)
    for dp in (2, 4):
        assert_same(run(make_model, axes={"dp": dp}), one_device)
    assert_same(run(make_model, axes={"dp": 4}, recipe=zero(3)), one_device)
    assert_same(run(make_model, axes={"pp": 2}, recipe=pipeline()), one_device)
    assert_same(run(make_model, axes={"pp": 2, "dp": 2}, recipe=zero(3) + pipeline()), one_device)


@pytest.mark.parametrize("precision", ["bf16", "f16"])
def test_weights_and_state_stay_float32(precision):
    model = gpt()
    batch = {name: np.zeros((8, 16), np.int32) for name in ("x", "y")}
    with make_step(model, precision, {}, data_parallel()) as step:
        plan = step.plan(batch)
        step(batch)
        dtypes = {value.dtype for value in step.optimizer_state().values()}
    assert dtypes <= {np.dtype(np.float32), np.dtype(np.int64)}
    assert {value.dtype for value in model.state_dict().values()} == {np.dtype(np.float32)}
    assert precision in plan.text()
    with make_step(gpt(), "f32", {}, data_parallel()) as step:
        assert precision not in step.plan(batch).text()


@pytest.mark.parametrize("precision", ["bf16", "f16"])
def test_the_table_names_every_op_once(precision):
    lines = tr.precision_table(precision).splitlines()
    rows = dict(line.split("  ", 1) for line in lines)
    table = {name.strip(): meaning.strip() for name, meaning in rows.items()}
    assert sorted(table) == sorted(name for name, *_ in _troupe.ops()) and len(lines) == len(table)
    assert table["linear"] == table["matmul"] == table["attention"] == precision
    assert table["gelu"] == table["reshape"] == f"{precision} where all its operands are, else f32"
    assert table["layer_norm"] == table["cross_entropy"] == table["adamw"] == "f32"


def test_other_precisions_are_refused():
    with pytest.raises(tr.PlanError, match=r"precision='f8'; 'f32', 'bf16' and 'f16' are possible"):
        make_step(gpt(), "f8", {}, data_parallel())
    with pytest.raises(tr.PlanError, match=r"precision='f32' has no table; 'bf16' and 'f16' have"):
        tr.precision_table("f32")
