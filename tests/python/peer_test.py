"""The quickstart's GPT beside PyTorch, live: the same weights, data and steps. Skipped without TROUPE_PEER_PYTHON."""

import json
import os
import subprocess

import numpy as np
import pytest
import text
from conftest import ROOT
from model import GPT
from safetensors.numpy import save_file

import troupe as tr
from troupe import functional as F

STEPS, BATCH, SEQ, LR = 30, 8, 256, 1e-3
PEER = os.environ.get("TROUPE_PEER_PYTHON")


@pytest.mark.skipif(not PEER, reason="TROUPE_PEER_PYTHON names no Python with PyTorch")
def test_the_validation_loss_is_within_two_percent_of_pytorchs_at_equal_steps(tmp_path):
    tokens = text.load(None, SEQ, BATCH, 0).train.tokens(0, 2_000_000)
    starts = np.random.default_rng(0).integers(0, len(tokens) - SEQ - 1, (STEPS + 4, BATCH))
    rows = tokens[starts[..., None] + np.arange(SEQ + 1)]
    x, y = rows[..., :-1], rows[..., 1:]
    model = GPT()
    save_file(model.state_dict(), tmp_path / "weights.safetensors")
    np.savez(tmp_path / "batches.npz", x=x[:STEPS], y=y[:STEPS], valid_x=x[STEPS:], valid_y=y[STEPS:])
    peer = subprocess.run(
        [
            PEER,
            str(ROOT / "tests" / "parity" / "quickstart_peer.py"),
            "--weights",
            str(tmp_path / "weights.safetensors"),
            "--batches",
            str(tmp_path / "batches.npz"),
            "--lr",
            str(LR),
        ],
        capture_output=True,
        text=True,
        timeout=500,
        check=True,
    )
    theirs = json.loads(peer.stdout.splitlines()[-1])
    optimizer = tr.optim.AdamW(model.parameters(), lr=LR, betas=(0.9, 0.95), weight_decay=0.1)
    with tr.TrainStep(
        model,
        lambda m, b: F.cross_entropy(m(b["x"]), b["y"]),
        optimizer,
        clip_grad_norm=1.0,
        mesh=tr.mesh("cpu", dp=2, tp=2),
        batch_shards=8,
        recipe=tr.recipes.data_parallel() + tr.recipes.megatron(),
    ) as step:
        losses = [step({"x": x[i], "y": y[i]}).loss for i in range(STEPS)]
        valid = tr.evaluate(step, [{"x": x[i], "y": y[i]} for i in range(STEPS, STEPS + 4)]).loss
    print(f"validation loss {valid:.4f}, PyTorch {theirs['valid_loss']:.4f}")
    assert abs(valid / theirs["valid_loss"] - 1) < 0.02
    assert np.allclose(losses, theirs["losses"], rtol=1e-3)
