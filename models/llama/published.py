"""The configurations of published checkpoints, as their config.json has them."""

from __future__ import annotations

from models.llama.model import Configuration, Llama
from troupe.published import Published, language_model

# fmt: off
PUBLISHED = {
    "tinyllama-1.1b": Configuration(32000, layers=22, dim=2048, heads=32, kv_heads=4, hidden=5632, context=2048),
    "llama-2-7b": Configuration(32000, layers=32, dim=4096, heads=32, kv_heads=32, hidden=11008, context=4096),
    "llama-2-13b": Configuration(32000, layers=40, dim=5120, heads=40, kv_heads=40, hidden=13824, context=4096),
    "llama-2-70b": Configuration(32000, layers=80, dim=8192, heads=64, kv_heads=8, hidden=28672, context=4096),
    "llama-3-8b": Configuration(
        128256, layers=32, dim=4096, heads=32, kv_heads=8, hidden=14336, context=8192, theta=500000.0),
    "llama-3-70b": Configuration(
        128256, layers=80, dim=8192, heads=64, kv_heads=8, hidden=28672, context=8192, theta=500000.0),
}
# fmt: on


def make(name: str) -> Published:
    """The model, not yet initialised, and what it is trained on."""
    return language_model(Llama(PUBLISHED[name]), PUBLISHED[name].context)
