"""Trains a byte-level Mixtral on real text: the source files of Python's standard library, or any files.

From the repository's root: .venv/bin/python -m models.moe.train --mesh dp=2,ep=2
"""

from __future__ import annotations

import sys

import troupe as tr
from models import training
from models.gpt import text
from models.moe.layouts import expert_and_tensor_parallel
from models.moe.model import Configuration, Mixtral
from models.moe.published import loss

BYTES = Configuration(vocab=256, layers=4, dim=256, heads=8, kv_heads=4, hidden=352, context=256, capacity_factor=1.25,
                      dropless=False)  # fmt: skip


def main() -> None:
    """Trains, and reports."""
    arguments = training.parse(__doc__, mesh="dp=2,ep=2")
    model = Mixtral(BYTES)
    step = tr.TrainStep(
        model,
        loss,
        tr.optim.AdamW(
            model.parameters(), lr=training.schedule(arguments), betas=(0.9, 0.95), eps=1e-5, weight_decay=0.1
        ),
        clip_grad_norm=1.0,
        mesh=tr.parse_mesh(arguments.mesh),
        recipe=tr.recipes.data_parallel() + expert_and_tensor_parallel() + tr.recipes.pipeline(),
        batch_shards=training.BATCH_SHARDS,
        seed=arguments.seed,
    )
    data = text.load(arguments.data, BYTES.context, arguments.batch, arguments.seed)
    training.run("moe", step, data, arguments)


if __name__ == "__main__":
    sys.exit(training.exit_status(main))
