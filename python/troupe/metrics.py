"""What steps and evaluations report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np


class Values(Mapping[str, Any]):
    """Named numbers, read as attributes (`m.loss`) or as a mapping (`m["blocks.0.attn.mean"]`)."""

    def __init__(self, values: Mapping[str, Any]):
        self._values = dict(values)

    def __getattr__(self, name: str) -> Any:
        values = self.__dict__.get("_values", {})
        if name not in values:
            raise AttributeError(f"there is no metric {name!r}; there are {', '.join(values)}")
        return values[name]

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        shown = ", ".join(
            f"{name}={value:.6g}" if isinstance(value, float) else f"{name}={value}"
            for name, value in self._values.items()
            if not isinstance(value, np.ndarray)
        )
        return f"{type(self).__name__}({shown})"


class Metrics(Values):
    """A step's number, loss, grad_norm, lr, tokens, seconds, tokens_per_s, what the loss function returned beside the
    loss, and what is watched. Scalars are Python floats."""

    def __init__(self, step: int, seconds: float, tokens: int, values: Mapping[str, np.ndarray]):
        own = {
            "step": step,
            "seconds": seconds,
            "tokens": tokens,
            "tokens_per_s": tokens / seconds if seconds > 0 else 0.0,
        }
        super().__init__(own | {name: float(v) if v.ndim == 0 else v for name, v in values.items()})
