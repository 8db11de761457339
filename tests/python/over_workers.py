"""What the tests of runs over workers start: a short training of a small GPT, the same in one process or in several.

over_workers.py MESH RECIPE [PHASE SIGNAL]: at the phase a worker gets the signal. Prints each loss, bit for bit, and at
the end a hash of all variables, of an evaluation and of generated text.
"""

from __future__ import annotations

import hashlib
import os
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "models" / "gpt"))
sys.path.append(str(ROOT))

import numpy as np  # noqa: E402
from model import GPT  # noqa: E402

import troupe as tr  # noqa: E402
from troupe import functional as F  # noqa: E402

SEQ, BATCH, VOCAB = 16, 8, 64


def workers() -> list[int]:
    """The processes that the launcher has started for this run, in the order of their numbers."""
    found = []
    for entry in os.listdir("/proc"):
        try:
            parent = Path("/proc", entry, "stat").read_text().rsplit(")", 1)[1].split()[1]
            if int(parent) == os.getppid() and b"troupe\0worker" in Path("/proc", entry, "cmdline").read_bytes():
                found.append(int(entry))
        except (OSError, IndexError, ValueError):
            continue
    return sorted(found)


def strike(phase: str) -> None:
    """Sends the signal when this phase is the chosen one."""
    if sys.argv[3:4] == [phase]:
        while not workers():
            time.sleep(0.001)
        os.kill(workers()[-1], signal.Signals[sys.argv[4]])
        print("struck", time.time(), flush=True)


def during(phase: str, seconds: float) -> None:
    """The same from another thread, a little later."""
    threading.Timer(seconds, strike, [phase]).start()


def axes(text: str) -> dict[str, int]:
    """The axes of "dp=2,tp=2"."""
    return {name: int(size) for name, size in (axis.split("=") for axis in text.split(","))}


def main() -> None:
    """Trains."""
    random = np.random.default_rng(0)
    tokens = random.integers(0, VOCAB, 4096).astype(np.uint8)
    folder = Path(tempfile.mkdtemp())
    (folder / "tokens.bin").write_bytes(tokens.tobytes())
    model = GPT(vocab=VOCAB, layers=2, dim=32, heads=4, context=SEQ)
    during("join", 0)
    step = tr.TrainStep(
        model,
        loss=lambda m, b: F.cross_entropy(m(b["x"]), b["y"]),
        optimizer=tr.optim.AdamW(model.parameters(), lr=1e-3),
        mesh=tr.mesh("cpu", **axes(sys.argv[1])),
        recipe=tr.recipes.parse(sys.argv[2]),
        batch_shards=4,
        seed=0,
    )
    data = tr.data.tokens(folder / "tokens.bin", seq=SEQ, batch=BATCH)
    steps = 2000 if sys.argv[3:4] == ["step"] else 6
    for metrics in tr.train(step, data, steps=steps, checkpoint=folder / "run", every=3):
        print(metrics.step, np.float32(metrics.loss).tobytes().hex(), flush=True)
        if metrics.step == 2:
            during("step", 0.05)
            strike("checkpoint")
    given = {"x": random.integers(0, VOCAB, (BATCH, SEQ)).astype(np.int32)}
    given["y"] = given["x"]

    def feed() -> None:
        print("fed", np.float32(step(given).loss).tobytes().hex())

    def evaluate() -> None:
        print("evaluated", np.float32(tr.evaluate(model, data, loss=step.loss).loss).tobytes().hex())

    feed()
    print(len(workers()), "workers", file=sys.stderr)
    strike("evaluate")
    evaluate()
    kept = {name: value.copy() for name, value in model.state_dict().items()}
    for _ in range(2):  # each sees the weights of the moment
        feed()
        evaluate()
    model.load_state_dict(kept)
    evaluate()
    feed()
    print("generated", list(tr.generate(model, given["x"][0, :4], 5, seed=1)))
    try:
        step({"x": given["x"] + VOCAB, "y": given["y"]})
    except tr.FaultError as fault:
        print("refused", str(fault).partition(" is outside")[2])  # which device is first is a matter of timing
    other = tr.TrainStep(model, step.loss, tr.optim.SGD(model.parameters(), lr=0.1), mesh=step.mesh, batch_shards=4)
    print("another", np.float32(other(given).loss).tobytes().hex())
    strike("shutdown")
    other.close()
    values = b"".join(value.tobytes() for value in model.state_dict().values())
    print("weights", hashlib.sha256(values).hexdigest())


if __name__ == "__main__":
    main()
