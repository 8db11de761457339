"""The GPT-mini in Troupe: tokens/s of training on two CPU devices, data-parallel, in any precision. See
peer_gpt_mini.py."""

import sys
import time
from pathlib import Path

import numpy as np
import protocol

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "models" / "gpt"))
from model import GPT  # noqa: E402

import troupe as tr  # noqa: E402
from troupe import functional as F  # noqa: E402

VOCAB, CONTEXT, BATCH, BATCHES = 512, 128, 8, 8


def make_step(mesh: str, precision: str) -> tr.TrainStep:
    model = GPT(vocab=VOCAB, layers=4, dim=256, heads=4, context=CONTEXT)
    assert sum(p.numel() for p in model.parameters()) == 3_454_464
    return tr.TrainStep(
        model,
        lambda m, b: F.cross_entropy(m(b["x"]), b["y"]),
        tr.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01),
        mesh=tr.parse_mesh(mesh),
        precision=precision,
    )


def main() -> None:
    options = protocol.parser(__doc__)
    options.add_argument("--mesh", default="dp=2")
    options.add_argument("--precision", choices=["f32", "bf16", "f16"], default="f32")
    options = options.parse_args()
    step = make_step(options.mesh, options.precision)
    random = np.random.default_rng(0)
    x, y = random.integers(0, VOCAB, (2, BATCHES * BATCH, CONTEXT), np.int32)
    data = tr.data.arrays(x=x, y=y, batch=BATCH, shuffle=False)

    def block(steps: int) -> float:
        began = time.perf_counter()
        for _ in tr.train(step, data, steps=step.steps + steps):
            pass
        return steps * BATCH * CONTEXT / (time.perf_counter() - began)

    protocol.serve(block, options, mesh=options.mesh, precision=options.precision)


if __name__ == "__main__":
    main()
