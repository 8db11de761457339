"""The configurations of published checkpoints, as their config.json has them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import troupe as tr
from models.moe.model import Configuration, Mixtral
from troupe import functional as F
from troupe.published import Published, language_model

# fmt: off
PUBLISHED = {
    "mixtral-8x7b": Configuration(
        32000, layers=32, dim=4096, heads=32, kv_heads=8, hidden=14336, context=32768, theta=1e6, capacity_factor=2.0),
    "mixtral-8x22b": Configuration(
        32000, layers=56, dim=6144, heads=48, kv_heads=8, hidden=16384, context=65536, theta=1e6, capacity_factor=2.0),
}
# fmt: on

BALANCE = 2 * 0.02
"""The coefficient of nn.MoE's balance loss: the router_aux_loss_coef of mixtral-8x7b is for a loss that is `chosen` = 2
times as large (see nn.MoE)."""


def loss(model: Mixtral, batch: Mapping[str, tr.Tensor]) -> tr.Tensor:
    """The mean cross entropy of the next token, plus the balance loss."""
    logits, balance = model.with_balance(batch["x"])
    return F.cross_entropy(logits, batch["y"]) + BALANCE * balance


def make(name: str) -> Published:
    """The model, not yet initialised, and what it is trained on."""
    model = Mixtral(PUBLISHED[name])
    return replace(language_model(model, model.context), loss=loss)
