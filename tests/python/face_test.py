"""The recogniser: the same numbers however its classes are split, and class weights that never travel."""

import re
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT

import troupe as tr
from models.face.layouts import class_parallel
from models.face.model import COSFACE, Configuration, Margin, Recogniser, identity_loss
from models.face.published import PUBLISHED
from troupe.recipes import data_parallel

SMALL = Configuration(inputs=12, hidden=(16,), dim=8, classes=53, margin=Margin(scale=8.0, m1=0.9, m2=0.3, m3=0.1))
ROWS = 22


def make_step(axes, of=SMALL):
    model = Recogniser(of)
    return tr.TrainStep(
        model,
        identity_loss,
        tr.optim.AdamW(model.parameters(), lr=1e-2, eps=1e-5),
        mesh=tr.mesh("cpu", **axes),
        recipe=class_parallel() + data_parallel(),
        batch_shards=2,
        clip_grad_norm=1.0,
    )


def batch(random, of=SMALL, rows=ROWS):
    return {
        "x": random.standard_normal((rows, of.inputs)).astype(np.float32),
        "y": random.integers(0, of.classes, rows).astype(np.int32),
    }


def run(axes, of=SMALL, steps=4):
    random = np.random.default_rng(0)
    with make_step(axes, of) as step:
        losses = [step(batch(random, of)).loss for _ in range(steps)]
    return losses, step.model.state_dict()


@pytest.fixture(scope="module")
def one_device():
    return run({})


@pytest.mark.parametrize("axes", [{"cp": 2}, {"cp": 4}, {"cp": 5}, {"dp": 2, "cp": 3}], ids=str)
def test_uneven_parts_of_classes_and_samples_change_rounding_alone(axes, one_device):
    losses, weights = run(axes)
    assert np.allclose(losses, one_device[0], rtol=1e-5)
    for name, value in weights.items():
        assert np.allclose(value, one_device[1][name], rtol=1e-4, atol=1e-5), name


def test_a_margin_of_cosines_is_split_as_well():
    of = Configuration(12, (16,), dim=8, classes=7, margin=COSFACE)
    assert np.allclose(run({"cp": 4}, of)[0], run({}, of)[0], rtol=1e-5)


def test_class_weights_are_never_communicated():
    of = Configuration(inputs=256, hidden=(256,), dim=64, classes=200_003)
    plan = make_step({"cp": 4}, of).plan(batch(np.random.default_rng(0), of, 256))
    # Over all four devices; gathering the weights once would be three times their bytes.
    assert sum(size for _, _, _, size in plan.traffic) < 4 * of.classes * of.dim / 4
    nodes = plan.stages["deduce"].splitlines()
    for kind in ("variable 'head.weight'", "variable 'optimizer.m.head.weight'", "variable 'optimizer.v.head.weight'"):
        assert any(line.startswith(kind) and "cp  -> S(0)" in line for line in nodes)
    (cosines,) = (line for line in nodes if line.startswith("linear 'head.linear'"))
    assert "cp B, S(0) -> S(1)" in cosines
    (margin,) = (line for line in nodes if line.startswith("margin_logits 'head.margin_logits'"))
    assert "cp S(1), B -> S(1), P" in margin
    assert any(line.startswith("picked_logit") and "cp S(1), B -> P" in line for line in nodes)
    backbone = next(line for line in nodes if line.startswith("linear 'backbone.layers.0.0.linear'"))
    assert "cp S(0), B, B -> S(0)" in backbone
    # What is boxed along the axis: nothing has both the dims of the class weights.
    boxed = [line for line in plan.stages["box"].splitlines() if re.search(r"= (all_|reduce_scatter|exchange)", line)]
    assert boxed and not [line for line in boxed if re.search(rf"\[{of.classes},{of.dim}\]", line)]


@pytest.mark.parametrize("name, count", [(name, of.parameter_count()) for name, of in PUBLISHED.items()])
def test_published_sizes_count_their_parameters(name, count):
    parameters = dict(Recogniser(PUBLISHED[name]).named_parameters())
    assert sum(int(np.prod(p.shape)) for p in parameters.values()) == count
    assert parameters["head.weight"].shape == (PUBLISHED[name].classes, 512)


def test_two_million_classes_fit_where_they_are_split():
    def plan(*options):
        command = [sys.executable, "-m", "troupe", "plan", "face-webface42m", "--memory", "12GB", *options]
        return subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=ROOT)

    options = ("--recipe", "class_parallel", "--batch", "64")
    whole = plan(*options)
    assert whole.returncode == 1 and "largest tensors at the peak" in whole.stderr and "head.weight" in whole.stderr
    split = plan("--mesh", "cp=8", *options)
    assert split.returncode == 0, split.stderr


def test_an_identity_that_does_not_exist_is_a_fault():
    with make_step({"cp": 2}) as step, pytest.raises(tr.FaultError, match=r"label 53 .* is outside 0..52"):
        wrong = batch(np.random.default_rng(0))
        wrong["y"][3] = 53
        step(wrong)


def test_the_script_recognises_identities_it_has_never_seen(tmp_path):
    options = ["--steps", "60", "--identities", "301", "--mesh", "cp=3", "--checkpoint", str(tmp_path / "run")]
    done = subprocess.run(
        [sys.executable, "-m", "models.face.train", *options], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    after, before = map(int, re.search(r"(\d+)% are recognised, untrained (\d+)%", done.stdout).groups())
    assert after > before
