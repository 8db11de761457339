"""Trains a byte-level BERT to find masked bytes of real text: Python's standard library, or any files.

From the repository's root: .venv/bin/python -m models.bert.train --mesh dp=2,tp=2
"""

from __future__ import annotations

import os
import sys
import time

import numpy as np

import troupe as tr
from models import training
from models.bert.layouts import tensor_parallel
from models.bert.masking import BYTES, SPECIAL, VOCAB, MaskedText
from models.bert.model import Bert, Configuration, masked_lm_loss
from models.gpt import text

SMALL = Configuration(VOCAB, layers=2, dim=128, heads=4, hidden=512, context=128)
VALIDATION_BATCHES = 20


def by_counting(tokens: np.ndarray) -> float:
    """The loss of knowing how frequent each byte is, and nothing else."""
    share = np.bincount(tokens, minlength=BYTES) / len(tokens)
    return float(-(share[share > 0] * np.log(share[share > 0])).sum())


def main() -> None:
    """Trains, and reports."""
    arguments = training.parse(__doc__, mesh="dp=2,tp=2", batch=16, lr=1e-3)
    windows = SMALL.context - SPECIAL
    files = text.load(arguments.data, windows, arguments.batch, arguments.seed)
    data = MaskedText(files.train, arguments.seed)
    model = Bert(SMALL)
    schedule = tr.optim.schedule.cosine(
        arguments.lr, warmup=max(arguments.steps // 10, 1), total=arguments.steps, min=arguments.lr / 20
    )
    step = tr.TrainStep(
        model,
        masked_lm_loss,
        tr.optim.AdamW(model.parameters(), lr=schedule, betas=(0.9, 0.98), eps=1e-6, weight_decay=0.01),
        clip_grad_norm=1.0,
        mesh=tr.parse_mesh(arguments.mesh),
        recipe=tr.recipes.data_parallel() + tensor_parallel() + tr.recipes.pipeline(),
        batch_shards=8,
        seed=arguments.seed,
    )
    print(step.plan(data).summary(), flush=True)
    directory = arguments.checkpoint or time.strftime("runs/bert-%Y%m%d-%H%M%S")
    training.train(step, data, arguments.steps, directory, arguments.trace)
    validation = tr.evaluate(step, MaskedText(files.held_out, arguments.seed), batches=VALIDATION_BATCHES)
    seen = min(VALIDATION_BATCHES * arguments.batch * windows, len(files.held_out))
    counted = by_counting(files.held_out.tokens(0, seen))
    print(f"validation loss {validation.loss:.3f}; by counting bytes {counted:.3f}")
    print(f"checkpoint: {os.path.abspath(directory)}")


if __name__ == "__main__":
    sys.exit(training.exit_status(main))
