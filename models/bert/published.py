"""The configurations of published checkpoints (Devlin et al. 2019), as their config.json has them."""

from __future__ import annotations

from functools import partial

from models.bert.layouts import tensor_parallel
from models.bert.model import Bert, Configuration, masked_lm_loss
from troupe.batch import Field
from troupe.optim import AdamW
from troupe.published import Published

PUBLISHED = {
    "bert-base": Configuration(30522, layers=12, dim=768, heads=12, hidden=3072, context=512),
    "bert-large": Configuration(30522, layers=24, dim=1024, heads=16, hidden=4096, context=512),
}


def make(name: str) -> Published:
    """The model, not yet initialised, and what it is trained on."""
    of = PUBLISHED[name]
    fields = {name: Field("i32", (of.context,)) for name in ("x", "segments", "y")}
    return Published(
        Bert(of),
        fields | {"mask": Field("bool", (of.context,))},
        masked_lm_loss,
        of.context,
        partial(AdamW, lr=1e-4, weight_decay=0.01),
        {"tensor_parallel": tensor_parallel},
    )
