"""Trains a recogniser on synthetic identities and tests it on others that it has never seen.

From the repository's root: .venv/bin/python -m models.face.train --mesh cp=4
"""

from __future__ import annotations

import argparse
import os
import sys
import time

import numpy as np

import troupe as tr
from models import training
from models.face.layouts import class_parallel
from models.face.model import Configuration, Margin, Recogniser, identity_loss

INPUTS, TRAITS = 128, 12
UNSEEN = 200


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mesh", default="cp=4", help="axes and sizes of cp and dp (default: %(default)s)")
    parser.add_argument("--identities", type=int, default=1001, help="to train on (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=400, help="default: %(default)s")
    parser.add_argument("--batch", type=int, default=128, help="images per step (default: %(default)s)")
    parser.add_argument(
        "--lr", type=float, default=3e-3, help="the highest learning rate (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--checkpoint", metavar="DIR", help="where checkpoints go (default: a new directory in runs/)"
    )
    training.add_trace(parser)
    return parser.parse_args()


class Faces:
    """Identities are points in a space of traits; an image is a fixed curved map of a point and of what differs from
    one picture of a person to the next."""

    def __init__(self, seed: int):
        self._random = np.random.default_rng(seed)
        self._lens = self._random.standard_normal((2 * TRAITS, INPUTS)) / TRAITS**0.5

    def images(self, identities: int, each: int) -> tuple[np.ndarray, np.ndarray]:
        """`each` images of so many new identities: "x" f32[rows, INPUTS] and "y" i64[rows]."""
        traits = self._random.standard_normal((identities, TRAITS)).repeat(each, 0)
        circumstances = self._random.standard_normal((identities * each, TRAITS))
        images = np.sin(np.concatenate([traits, 0.5 * circumstances], 1) @ self._lens)
        return images.astype(np.float32), np.arange(identities).repeat(each)


def recognised(embeddings: np.ndarray) -> float:
    """Of pairs of images of one identity, rows 2i and 2i + 1, how many have no other second image nearer to the
    first."""
    cosines = embeddings[::2] @ embeddings[1::2].T
    return float((cosines.argmax(1) == np.arange(len(cosines))).mean())


def run(arguments: argparse.Namespace) -> None:
    """Trains, and reports."""
    faces = Faces(arguments.seed)
    x, y = faces.images(arguments.identities, 8)
    data = tr.data.arrays(x=x, y=y, batch=arguments.batch, seed=arguments.seed)
    others, _ = faces.images(UNSEEN, 2)
    margin = Margin(scale=16.0, m2=0.2)
    model = Recogniser(Configuration(INPUTS, (256,), dim=32, classes=arguments.identities, margin=margin))
    schedule = tr.optim.schedule.cosine(
        arguments.lr, warmup=max(arguments.steps // 10, 1), total=arguments.steps, min=arguments.lr / 20
    )
    step = tr.TrainStep(
        model,
        identity_loss,
        tr.optim.AdamW(model.parameters(), lr=schedule, weight_decay=0.05),
        mesh=tr.parse_mesh(arguments.mesh),
        recipe=class_parallel() + tr.recipes.data_parallel(),
        seed=arguments.seed,
    )
    print(step.plan(data).summary(), flush=True)
    before = recognised(model(others))
    directory = arguments.checkpoint or time.strftime("runs/face-%Y%m%d-%H%M%S")
    training.train(step, data, arguments.steps, directory, arguments.trace)
    print(f"of {UNSEEN} unseen identities {recognised(model(others)):.0%} are recognised, untrained {before:.0%}")
    print(f"checkpoint: {os.path.abspath(directory)}")


if __name__ == "__main__":
    sys.exit(training.exit_status(lambda: run(parse())))
