"""What the tests of array files start: a short training on rows of files, or of the same arrays in memory.

over_files.py files|memory|mixed MESH FOLDER RECIPE [STRIKE]: FOLDER has images-0.npy, images-1.npy and labels.npy. Prints
each loss, bit for bit, a replayed step, an evaluation, and a hash of the weights. With STRIKE "remove" the images are gone
before training, with "truncate" they are cut short in it. How many bytes this process has read in training goes to
stderr.
"""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

import numpy as np

import troupe as tr
from troupe import functional as F
from troupe import nn

BATCH, STEPS = 12, 7


def bytes_read() -> int:
    """By all threads of this process, from whatever it was."""
    return int(Path("/proc/self/io").read_text().split()[1])


def main() -> None:
    """Trains."""
    kind, mesh, folder, recipe = sys.argv[1], sys.argv[2], Path(sys.argv[3]), sys.argv[4]
    images: object = folder / "images-*.npy"
    labels: object = folder / "labels.npy"
    if kind == "memory":
        images = np.concatenate([np.load(path) for path in sorted(folder.glob("images-*.npy"))])
    if kind != "files":
        labels = np.load(folder / "labels.npy")
    axes = {name: int(size) for name, size in (axis.split("=") for axis in mesh.split(","))}
    data = tr.data.arrays(x=images, y=labels, batch=BATCH, seed=3)
    dim = data.fields["x"].shape[-1]
    model = nn.Sequential(nn.Linear(dim, 8), nn.GELU(), nn.Linear(8, 5))

    def loss(m: nn.Module, b: dict[str, tr.Tensor]) -> tr.Tensor:
        x = tr.pin(b["x"], tp=tr.S(1)) if "tp" in axes else b["x"]
        return F.cross_entropy(m(x), b["y"])

    step = tr.TrainStep(
        model,
        loss=loss,
        optimizer=tr.optim.AdamW(model.parameters(), lr=1e-2),
        mesh=tr.mesh("cpu", **axes),
        recipe=tr.recipes.parse(recipe),
        batch_shards=4,
    )
    strike = sys.argv[5] if len(sys.argv) > 5 else ""
    if strike == "remove":
        for path in folder.glob("images-*.npy"):
            path.unlink()
    before = bytes_read()
    for metrics in tr.train(step, data, steps=STEPS):
        print(metrics.step, np.float32(metrics.loss).tobytes().hex(), flush=True)
        if metrics.step == 2 and strike == "truncate":
            for path in folder.glob("images-*.npy"):
                os.truncate(path, 4096)
    print("read", bytes_read() - before, file=sys.stderr)
    again = step(data.batch_at(3))
    print("replayed", np.float32(again.loss).tobytes().hex())
    print("evaluated", np.float32(tr.evaluate(model, data, loss=step.loss).loss).tobytes().hex())
    values = b"".join(value.tobytes() for value in model.state_dict().values())
    print("weights", hashlib.sha256(values).hexdigest())


if __name__ == "__main__":
    main()
