"""Trains a byte-level Llama on real text: the source files of Python's standard library, or any files.

From the repository's root: .venv/bin/python -m models.llama.train --mesh dp=2,tp=2
"""

from __future__ import annotations

import sys

import troupe as tr
from models import training
from models.gpt import text
from models.llama.layouts import tensor_parallel
from models.llama.model import Configuration, Llama
from troupe import functional as F

BYTES = Configuration(vocab=256, layers=4, dim=256, heads=8, kv_heads=4, hidden=704, context=256)


def main() -> None:
    """Trains, and reports."""
    arguments = training.parse(__doc__, mesh="dp=2,tp=2")
    model = Llama(BYTES)
    step = tr.TrainStep(
        model,
        lambda m, b: F.cross_entropy(m(b["x"]), b["y"]),
        tr.optim.AdamW(
            model.parameters(), lr=training.schedule(arguments), betas=(0.9, 0.95), eps=1e-5, weight_decay=0.1
        ),
        clip_grad_norm=1.0,
        mesh=tr.parse_mesh(arguments.mesh),
        recipe=tr.recipes.data_parallel() + tensor_parallel(),
        batch_shards=training.BATCH_SHARDS,
        seed=arguments.seed,
    )
    data = text.load(arguments.data, BYTES.context, arguments.batch, arguments.seed)
    training.run("llama", step, data, arguments)


if __name__ == "__main__":
    sys.exit(training.exit_status(main))
