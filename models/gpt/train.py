"""Trains a byte-level GPT on real text: the source files of Python's standard library, or any files.

python models/gpt/train.py --mesh dp=2,tp=2
"""

from __future__ import annotations

import argparse
import os
import struct
import sys
import time
from collections.abc import Sequence
from typing import IO

import text
from baselines import Tables
from model import GPT

import troupe as tr
from troupe import functional as F

CONTEXT = 256
BATCH_SHARDS = 8
VALIDATION_ROWS = 64
SAMPLE_TOKENS = 300
PROMPT = b"def "


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", metavar="PATH", help="a file or a directory of files to train on")
    parser.add_argument("--mesh", default="dp=2,tp=2", help="axes and sizes (default: %(default)s)")
    parser.add_argument(
        "--recipe",
        default="data_parallel+megatron",
        help="what lies where, such as zero3+megatron+1f1b (default: %(default)s)",
    )
    parser.add_argument("--steps", type=int, default=720, help="default: %(default)s")
    parser.add_argument(
        "--batch", type=int, default=8, help="windows per step, a multiple of 8 (default: %(default)s)"
    )
    parser.add_argument(
        "--lr", type=float, default=2e-3, help="the highest learning rate (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", metavar="DIR", help="go on from the newest checkpoint in DIR")
    parser.add_argument(
        "--checkpoint", metavar="DIR", help="where checkpoints go (default: a new directory in runs/)"
    )
    parser.add_argument("--losses", metavar="FILE", help="write each step's loss, and its float32 bits")
    parser.add_argument("--trace", metavar="FILE", help="write a timeline of three steps, for ui.perfetto.dev")
    return parser.parse_args(arguments)


def loss(model: GPT, batch: dict[str, tr.Tensor]) -> tr.Tensor:
    """The mean cross-entropy of the next byte."""
    return F.cross_entropy(model(batch["x"]), batch["y"])


def make_step(arguments: argparse.Namespace) -> tr.TrainStep:
    """The model, its optimizer, and where everything lies."""
    model = GPT(context=CONTEXT)
    schedule = tr.optim.schedule.cosine(
        arguments.lr, warmup=max(arguments.steps // 20, 1), total=arguments.steps, min=arguments.lr / 20
    )
    optimizer = tr.optim.AdamW(model.parameters(), lr=schedule, betas=(0.9, 0.95), weight_decay=0.1)
    return tr.TrainStep(
        model,
        loss,
        optimizer,
        clip_grad_norm=1.0,
        mesh=tr.parse_mesh(arguments.mesh),
        recipe=tr.recipes.parse(arguments.recipe),
        batch_shards=BATCH_SHARDS,
        seed=arguments.seed,
    )


def write_loss(file: IO[str], metrics: tr.Metrics) -> None:
    """A line: step, loss, its float32 bits."""
    bits = struct.pack(">f", metrics.loss).hex()
    file.write(f"{metrics.step} {metrics.loss:.9g} {bits}\n")
    file.flush()


def sample(step: tr.TrainStep, seed: int) -> str:
    """Text the model writes."""
    ids = tr.generate(step, PROMPT, SAMPLE_TOKENS, temperature=0.8, top_k=40, seed=seed)
    return bytes(ids.astype("u1")).decode("utf-8", errors="replace")


def run(arguments: argparse.Namespace) -> None:
    """Trains, and reports."""
    data = text.load(arguments.data, CONTEXT, arguments.batch, arguments.seed)
    step = make_step(arguments)
    print(f"{len(data.train):,} bytes to train on, {len(data.held_out):,} held out")
    print(step.plan(data.train).summary(), flush=True)

    held_out = data.held_out.tokens()
    starts = text.spread_windows(held_out, CONTEXT, VALIDATION_ROWS)
    bigram, trigram = Tables(data.train.tokens()).losses(held_out, starts, CONTEXT)
    validation = text.validation(held_out, starts, CONTEXT, arguments.batch)
    print(f"validation loss of counting: bigram {bigram:.3f}, trigram {trigram:.3f}", flush=True)

    directory = arguments.checkpoint or arguments.resume or time.strftime("runs/gpt-%Y%m%d-%H%M%S")
    if arguments.resume:
        step.load(arguments.resume)
    progress = tr.log.progress(arguments.steps)
    losses = (
        open(arguments.losses, "a" if arguments.resume else "w", encoding="utf-8")
        if arguments.losses
        else None
    )
    log = [progress] if losses is None else [progress, lambda metrics: write_loss(losses, metrics)]
    pause = max(arguments.steps // 6, 1)
    try:
        for metrics in tr.train(
            step, data.train, steps=arguments.steps, checkpoint=directory, log=log, trace=arguments.trace
        ):
            if (metrics.step + 1) % pause == 0 and metrics.step + 1 < arguments.steps:
                progress.show(validation=tr.evaluate(step, validation).loss)
    finally:
        progress.close()
        if losses is not None:
            losses.close()

    final = tr.evaluate(step, validation).loss
    print(f"validation loss {final:.3f}; by counting: bigram {bigram:.3f}, trigram {trigram:.3f}")
    print(f"\n{sample(step, arguments.seed)}\n")
    print(f"checkpoint: {os.path.abspath(directory)}")


def main() -> int:
    """Runs; returns the exit status."""
    arguments = parse()
    try:
        run(arguments)
    except (tr.PlanError, tr.FaultError) as error:
        print(f"train.py: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as interrupt:
        print("stopped" if interrupt.__cause__ is None else f"stopped; {interrupt.__cause__}", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
