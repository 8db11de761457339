"""How Mixtral lies on a mesh."""

from __future__ import annotations

import troupe as tr
from models.llama.layouts import tensor_parallel


def expert_and_tensor_parallel(ep: str = "ep", tp: str = "tp") -> tr.recipes.Recipe:
    """Experts along `ep`; attention by heads, and each expert by its width, along `tp`."""
    return tr.recipes.expert_parallel(ep) + tensor_parallel(tp)
