"""Every op of the runtime as a function, made from its list: operands by position, attributes by name.

`troupe.functional` has the names and defaults of PyTorch; what it lacks is here. `help(troupe.ops.attention)` shows an
op's operands, outputs and formula.
"""

from __future__ import annotations

from typing import Any

from troupe import _troupe
from troupe.trace import record


def _function(name: str, inputs: list[str], outputs: list[str], doc: str) -> Any:
    def function(*operands: Any, **attrs: Any) -> Any:
        return record(name, *operands, **attrs)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"{name}({', '.join(inputs)}) -> {', '.join(outputs)}\n\n{doc}"
    return function


_OPS = {
    name: (inputs, outputs, doc)
    for name, inputs, outputs, doc in _troupe.ops()
    if name not in ("variable", "source")
}


def __getattr__(name: str) -> Any:
    if name not in _OPS:
        raise AttributeError(f"there is no op {name!r}")
    return _function(name, *_OPS[name])


def __dir__() -> list[str]:
    return sorted(_OPS)
