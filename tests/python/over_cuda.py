"""What the tests of CUDA devices over workers start: a short training with a checkpoint, an evaluation and restored weights
between, the same in one process or in several.

over_cuda.py MODEL MESH RECIPE [SIGNAL]: with a signal it trains on, and a worker gets that after the first step. Prints each
loss, bit for bit, and at the end a hash of all variables.
"""

from __future__ import annotations

import hashlib
import os
import signal
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "models" / "gpt"))

import numpy as np  # noqa: E402
from model import GPT  # noqa: E402
from over_workers import workers  # noqa: E402

import troupe as tr  # noqa: E402
from troupe import functional as F  # noqa: E402
from troupe import nn  # noqa: E402

SEQ, BATCH, VOCAB, CLASSES = 8, 4, 16, 4


def model_and_batch() -> tuple[nn.Module, dict[str, np.ndarray]]:
    """The model by its name, and what it learns."""
    random = np.random.default_rng(0)
    if sys.argv[1] == "gpt":
        tokens = random.integers(0, VOCAB, (BATCH, SEQ + 1)).astype(np.int32)
        model = GPT(vocab=VOCAB, layers=1, dim=16, heads=2, context=SEQ)
        return model, {"x": tokens[:, :-1].copy(), "y": tokens[:, 1:].copy()}
    x = random.standard_normal((BATCH, 12)).astype(np.float32)
    sizes = [12, 16, 16, CLASSES]
    model = nn.Sequential(*(nn.Linear(i, o) for i, o in zip(sizes, sizes[1:], strict=False)))
    return model, {"x": x, "y": random.integers(0, CLASSES, BATCH)}


def main() -> None:
    """Trains."""
    model, batch = model_and_batch()
    step = tr.TrainStep(
        model,
        loss=lambda m, b: F.cross_entropy(m(b["x"]), b["y"]),
        optimizer=tr.optim.AdamW(model.parameters(), lr=1e-2),
        mesh=tr.parse_mesh(sys.argv[2]),
        recipe=tr.recipes.parse(sys.argv[3]),
        batch_shards=4,
        seed=0,
    )

    def show(what: str, loss: float) -> None:
        print(what, np.float32(loss).tobytes().hex(), flush=True)

    show("step", step(batch).loss)
    if sys.argv[4:]:
        os.kill(workers()[-1], signal.Signals[sys.argv[4]])
        while True:
            step(batch)
    folder = tempfile.mkdtemp()
    step.save(f"{folder}/checkpoint")
    show("step", step(batch).loss)
    show("evaluated", tr.evaluate(step, [batch]).loss)
    step.load(f"{folder}/checkpoint")
    show("evaluated", tr.evaluate(step, [batch]).loss)
    show("step", step(batch).loss)
    print(len(workers()), "workers", file=sys.stderr)
    values = b"".join(value.tobytes() for value in model.state_dict().values())
    print("weights", hashlib.sha256(values).hexdigest())


if __name__ == "__main__":
    main()
