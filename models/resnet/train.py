"""Trains a residual network on images that it makes itself: gratings of ten directions, in noise.

From the repository's root: .venv/bin/python -m models.resnet.train --mesh dp=2,sp=2
"""

from __future__ import annotations

import argparse
import os
import sys
import time

import numpy as np

import troupe as tr
from models import training
from models.resnet.layouts import data_parallel, shared_statistics
from models.resnet.model import Configuration, ResNet
from troupe import functional as F

CLASSES, SIZE = 10, 32
RESNET_20 = Configuration(bottleneck=False, blocks=(3, 3, 3), classes=CLASSES, width=16, small_images=True)


def images(count: int, seed: int) -> dict[str, np.ndarray]:
    """"x": [count, 3, 32, 32] gratings of random wavelength, phase and colour; "y": their direction's number."""
    random = np.random.default_rng(seed)
    y = random.integers(0, CLASSES, count)
    angle = (np.pi * y / CLASSES)[:, None, None]
    wavelength = random.uniform(4, 10, (count, 1, 1))
    rows, columns = np.mgrid[:SIZE, :SIZE]
    phase = 2 * np.pi * (rows * np.sin(angle) + columns * np.cos(angle)) / wavelength
    grating = np.sin(phase + random.uniform(0, 2 * np.pi, (count, 1, 1)))
    colours = random.uniform(-1, 1, (count, 3, 1, 1))
    x = colours * grating[:, None] + random.normal(0, 0.5, (count, 3, SIZE, SIZE))
    return {"x": x.astype(np.float32), "y": y.astype(np.int32)}


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mesh", default="dp=2", help="axes dp and sp, and sizes (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=200, help="default: %(default)s")
    parser.add_argument("--batch", type=int, default=64, help="images per step (default: %(default)s)")
    parser.add_argument(
        "--lr", type=float, default=0.1, help="the highest learning rate (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--checkpoint", metavar="DIR", help="where checkpoints go (default: a new directory in runs/)"
    )
    training.add_trace(parser)
    return parser.parse_args()


def loss(model: ResNet, batch: dict[str, tr.Tensor]) -> tr.Tensor:
    """The mean cross-entropy of the direction."""
    return F.cross_entropy(model(batch["x"]), batch["y"])


def run(arguments: argparse.Namespace) -> None:
    """Trains, and reports."""
    data = tr.data.arrays(**images(4096, arguments.seed), batch=arguments.batch)
    held_out = tr.data.arrays(**images(512, arguments.seed + 1), batch=arguments.batch, shuffle=False)
    model = ResNet(RESNET_20)
    schedule = tr.optim.schedule.cosine(arguments.lr, warmup=max(arguments.steps // 20, 1), total=arguments.steps)
    step = tr.TrainStep(
        model,
        loss,
        tr.optim.SGD(model.parameters(), lr=schedule, momentum=0.9, weight_decay=1e-4),
        mesh=tr.parse_mesh(arguments.mesh),
        recipe=data_parallel() + shared_statistics(),
        seed=arguments.seed,
    )
    print(step.plan(data).summary(), flush=True)
    directory = arguments.checkpoint or time.strftime("runs/resnet-%Y%m%d-%H%M%S")
    training.train(step, data, arguments.steps, directory, arguments.trace)
    print(f"loss on held-out images {tr.evaluate(step, held_out).loss:.3f}, by guessing {np.log(CLASSES):.3f}")
    print(f"checkpoint: {os.path.abspath(directory)}")


if __name__ == "__main__":
    sys.exit(training.exit_status(lambda: run(parse())))
