"""Trains Wide & Deep on clicks that are made up, and compares with what the rate of clicks alone would give.

From the repository's root: .venv/bin/python -m models.wide_deep.train --mesh dp=2,tp=2 --split column
"""

from __future__ import annotations

import argparse
import sys

import numpy as np

import troupe as tr
from models import training
from models.wide_deep import clicks
from models.wide_deep.model import WideDeep
from troupe import functional as F


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mesh", default="dp=2,tp=2", help="axes and sizes (default: %(default)s)")
    parser.add_argument("--split", choices=("row", "column"), default="row", help="of tables, along tp")
    parser.add_argument("--samples", type=int, default=40000, help="to train on (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=300, help="default: %(default)s")
    parser.add_argument("--batch", type=int, default=256, help="samples per step (default: %(default)s)")
    parser.add_argument("--lr", type=float, default=3e-3, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0)
    training.add_trace(parser)
    return parser.parse_args(arguments)


def loss(model: WideDeep, batch: dict) -> tr.Tensor:
    """Binary cross entropy of clicks."""
    logits = model(batch["ids"], batch["numbers"], batch["crosses"])
    return F.binary_cross_entropy_with_logits(logits, batch["clicked"])


def run(arguments: argparse.Namespace) -> tuple[float, float]:
    """Trains, and reports (loss on held-out samples, loss of the mere rate of clicks)."""
    model = WideDeep(clicks.FIELDS)
    step = tr.TrainStep(
        model,
        loss,
        tr.optim.AdamW(model.parameters(), lr=arguments.lr, weight_decay=1e-3),
        mesh=tr.parse_mesh(arguments.mesh),
        recipe=tr.recipes.data_parallel() + tr.recipes.table_parallel(split=arguments.split),
        batch_shards=4,
        seed=arguments.seed,
    )
    samples = clicks.generate(arguments.samples, arguments.seed)
    held_out = clicks.generate(4096, arguments.seed + 1_000_000)
    data = tr.data.arrays(**samples, batch=arguments.batch, seed=arguments.seed)
    print(step.plan(data).summary(), flush=True)
    with step:
        training.train(step, data, arguments.steps, trace=arguments.trace)
        found = tr.evaluate(step, tr.data.arrays(**held_out, batch=256)).loss
    rate, clicked = samples["clicked"].mean(), held_out["clicked"]
    alone = float(-np.mean(np.where(clicked > 0, np.log(rate), np.log(1 - rate))))
    print(f"loss on held-out samples {found:.3f}; by the rate of clicks alone {alone:.3f}")
    return found, alone


if __name__ == "__main__":
    sys.exit(training.exit_status(lambda: run(parse())))
