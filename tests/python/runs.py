"""Short training runs of language models, in this process and by their scripts, and how two of them are compared."""

from __future__ import annotations

import subprocess
import sys
from functools import partial

import numpy as np
from conftest import ROOT

import troupe as tr
from troupe import functional as F

VOCAB, CONTEXT, ROWS = 64, 16, 16


def next_token(model, batch):
    """The mean cross entropy of the token that follows."""
    return F.cross_entropy(model(batch["x"]), batch["y"])


def make_step(model, axes, recipe, **options):
    """A step on CPU devices, or those that `on` makes a mesh of, of 8 batch shards unless told otherwise."""
    options = {"batch_shards": 8, "clip_grad_norm": 1.0, "lr": 1e-2, "on": partial(tr.mesh, "cpu")} | options
    return tr.TrainStep(
        model,
        options.pop("loss", next_token),
        tr.optim.AdamW(model.parameters(), lr=options.pop("lr")),
        mesh=options.pop("on")(memory=options.pop("memory", 0), **axes),
        recipe=recipe,
        **options,
    )


def random_tokens(random):
    """A batch of tokens that have nothing to do with one another."""
    return random.integers(0, VOCAB, (ROWS, CONTEXT + 1))


def train(model, axes, recipe, steps, tokens=random_tokens, **options):
    """Losses and weights after so many steps on tokens(random)."""
    random = np.random.default_rng(0)
    with make_step(model, axes, recipe, **options) as step:
        losses = []
        for _ in range(steps):
            ids = tokens(random)
            losses.append(step({"x": ids[:, :-1], "y": ids[:, 1:]}).loss)
    return losses, model.state_dict()


def assert_same(ours, theirs):
    """Two runs gave the same bits."""
    assert ours[0] == theirs[0]
    assert [name for name, value in ours[1].items() if not np.array_equal(value, theirs[1][name])] == []


def run_script(module, directory, *options):
    """What a script prints that trains on a small text, with checkpoints in directory / "run"."""
    text = directory / "text.txt"
    text.write_bytes(b"the quick brown fox jumps over the lazy dog. " * 400)
    command = [sys.executable, "-m", module, "--data", text, "--checkpoint", directory / "run", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout
