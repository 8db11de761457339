"""The shapes of published GPTs: GPT-2 (Radford et al. 2019), GPT-3 (Brown et al. 2020, table 2.1)."""

from __future__ import annotations

from models.gpt.model import GPT
from troupe.published import Published, language_model

# fmt: off
PUBLISHED = {
    "gpt2-124m": {"vocab": 50257, "layers": 12, "dim": 768, "heads": 12, "context": 1024},
    "gpt2-355m": {"vocab": 50257, "layers": 24, "dim": 1024, "heads": 16, "context": 1024},
    "gpt2-774m": {"vocab": 50257, "layers": 36, "dim": 1280, "heads": 20, "context": 1024},
    "gpt2-1.5b": {"vocab": 50257, "layers": 48, "dim": 1600, "heads": 25, "context": 1024},
    "gpt3-6.7b": {"vocab": 50257, "layers": 32, "dim": 4096, "heads": 32, "context": 2048},
    "gpt3-13b": {"vocab": 50257, "layers": 40, "dim": 5120, "heads": 40, "context": 2048},
    "gpt3-175b": {"vocab": 50257, "layers": 96, "dim": 12288, "heads": 96, "context": 2048},
}
# fmt: on


def make(name: str) -> Published:
    """The model, not yet initialised, and what it is trained on."""
    shape = PUBLISHED[name]
    return language_model(GPT(**shape), shape["context"])
