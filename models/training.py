"""What the scripts share that train models, and more of it those of byte-level language models."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import troupe as tr
from models.gpt import text
from troupe.data import Tokens
from troupe.optim.schedule import Schedule

BATCH_SHARDS = 8
VALIDATION_ROWS = 64
SAMPLE_TOKENS = 200
PROMPT = b"def "


def parse(doc: str | None, mesh: str, batch: int = 8, lr: float = 2e-3) -> argparse.Namespace:
    """The command line. mesh, batch, lr: the defaults."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", metavar="PATH", help="a file or a directory of files to train on")
    parser.add_argument("--mesh", default=mesh, help="axes and sizes (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=720, help="default: %(default)s")
    parser.add_argument(
        "--batch", type=int, default=batch, help="windows per step, a multiple of 8 (default: %(default)s)"
    )
    parser.add_argument(
        "--lr", type=float, default=lr, help="the highest learning rate (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--checkpoint", metavar="DIR", help="where checkpoints go (default: a new directory in runs/)"
    )
    add_trace(parser)
    return parser.parse_args()


def add_trace(parser: argparse.ArgumentParser) -> None:
    """The option that says where a timeline goes."""
    parser.add_argument("--trace", metavar="FILE", help="write a timeline of three steps, for ui.perfetto.dev")


def schedule(arguments: argparse.Namespace) -> Schedule:
    """Up to the highest learning rate in a twentieth of the steps, and down to a twentieth of it along a cosine."""
    return tr.optim.schedule.cosine(
        arguments.lr, warmup=max(arguments.steps // 20, 1), total=arguments.steps, min=arguments.lr / 20
    )


def run(name: str, step: tr.TrainStep, data: text.Text, arguments: argparse.Namespace) -> None:
    """Trains, and reports: the plan, the progress, the held-out loss, and text that the model writes."""
    print(step.plan(data.train).summary(), flush=True)
    directory = arguments.checkpoint or time.strftime(f"runs/{name}-%Y%m%d-%H%M%S")
    train(step, data.train, arguments.steps, directory, arguments.trace)
    print(f"validation loss {tr.evaluate(step, validation(data.held_out, arguments.batch)).loss:.3f}")
    ids = tr.generate(step, PROMPT, SAMPLE_TOKENS, temperature=0.8, top_k=40, seed=arguments.seed)
    print("\n" + bytes(ids.astype("u1")).decode("utf-8", errors="replace") + "\n")
    print(f"checkpoint: {os.path.abspath(directory)}")


def train(
    step: tr.TrainStep, data: Any, steps: int, checkpoint: str | None = None, trace: str | None = None
) -> None:
    """Trains, and shows how far it is. checkpoint, trace: where checkpoints and a timeline go; None: nowhere."""
    progress = tr.log.progress(steps)
    try:
        for _ in tr.train(step, data, steps=steps, checkpoint=checkpoint, log=[progress], trace=trace):
            pass
    finally:
        progress.close()


def validation(held_out: Tokens, batch: int) -> tr.data.Arrays:
    """Windows spread evenly over the held-out bytes."""
    tokens = held_out.tokens()
    starts = text.spread_windows(tokens, held_out.seq, VALIDATION_ROWS)
    return text.validation(tokens, starts, held_out.seq, batch)


def exit_status(script: Callable[[], object]) -> int:
    """Runs a script; mistakes and failures are told in a line."""
    try:
        script()
    except (tr.PlanError, tr.FaultError) as error:
        print(f"train.py: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as interrupt:
        print("stopped" if interrupt.__cause__ is None else f"stopped; {interrupt.__cause__}", file=sys.stderr)
        return 130
    return 0
