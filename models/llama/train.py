"""Trains a byte-level Llama on real text: the source files of Python's standard library, or any files.

From the repository's root: .venv/bin/python -m models.llama.train --mesh dp=2,tp=2
"""

from __future__ import annotations

import argparse
import os
import sys
import time

import troupe as tr
from models.gpt import text
from models.llama.layouts import tensor_parallel
from models.llama.model import Configuration, Llama
from troupe import functional as F

BYTES = Configuration(vocab=256, layers=4, dim=256, heads=8, kv_heads=4, hidden=704, context=256)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", metavar="PATH", help="a file or a directory of files to train on")
    parser.add_argument("--mesh", default="dp=2,tp=2", help="axes and sizes (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=720, help="default: %(default)s")
    parser.add_argument(
        "--batch", type=int, default=8, help="windows per step, a multiple of 8 (default: %(default)s)"
    )
    parser.add_argument(
        "--lr", type=float, default=2e-3, help="the highest learning rate (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--checkpoint", metavar="DIR", help="where checkpoints go (default: a new directory in runs/)"
    )
    return parser.parse_args()


def run(arguments: argparse.Namespace) -> None:
    """Trains, and reports."""
    data = text.load(arguments.data, BYTES.context, arguments.batch, arguments.seed)
    model = Llama(BYTES)
    schedule = tr.optim.schedule.cosine(
        arguments.lr, warmup=max(arguments.steps // 20, 1), total=arguments.steps, min=arguments.lr / 20
    )
    step = tr.TrainStep(
        model,
        lambda m, b: F.cross_entropy(m(b["x"]), b["y"]),
        tr.optim.AdamW(model.parameters(), lr=schedule, betas=(0.9, 0.95), eps=1e-5, weight_decay=0.1),
        clip_grad_norm=1.0,
        mesh=tr.parse_mesh(arguments.mesh),
        recipe=tr.recipes.data_parallel() + tensor_parallel(),
        batch_shards=8,
        seed=arguments.seed,
    )
    print(step.plan(data.train).summary(), flush=True)
    directory = arguments.checkpoint or time.strftime("runs/llama-%Y%m%d-%H%M%S")
    progress = tr.log.progress(arguments.steps)
    try:
        for _ in tr.train(step, data.train, steps=arguments.steps, checkpoint=directory, log=[progress]):
            pass
    finally:
        progress.close()
    held_out = data.held_out.tokens()
    starts = text.spread_windows(held_out, BYTES.context, 64)
    validation = text.validation(held_out, starts, BYTES.context, arguments.batch)
    print(f"validation loss {tr.evaluate(step, validation).loss:.3f}")
    ids = tr.generate(step, b"def ", 200, temperature=0.8, top_k=40, seed=arguments.seed)
    print("\n" + bytes(ids.astype("u1")).decode("utf-8", errors="replace") + "\n")
    print(f"checkpoint: {os.path.abspath(directory)}")


def main() -> int:
    """Runs; returns the exit status."""
    try:
        run(parse())
    except (tr.PlanError, tr.FaultError) as error:
        print(f"train.py: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
