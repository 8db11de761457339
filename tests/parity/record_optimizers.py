#!/usr/bin/env python3
"""Runs the cases of optimizers.py with PyTorch and writes optimizers.json; with --print, writes to the output.

TROUPE_PEER_PYTHON tests/parity/record_optimizers.py [--print]
"""

import json
import sys
from pathlib import Path

import optimizers
import torch

FILE = Path(__file__).parent / "optimizers.json"


def make(options: dict, parameters: list[torch.nn.Parameter]) -> list[torch.optim.Optimizer]:
    """The optimizers of a case. Muon takes matrices, AdamW with its defaults the rest."""
    kind = getattr(torch.optim, options["kind"])
    options = {name: value for name, value in options.items() if name not in ("kind", "scheduled")}
    if kind is not torch.optim.Muon:
        return [kind(parameters, **options)]
    matrices = [p for p in parameters if p.ndim == 2]
    rest = [p for p in parameters if p.ndim != 2]
    return [kind(matrices, **options), torch.optim.AdamW(rest, lr=options["lr"])]


def run(options: dict, dtype: torch.dtype) -> list[list[float]]:
    """The weights after the steps KEPT."""
    weights = {
        name: torch.nn.Parameter(torch.from_numpy(value).to(dtype)) for name, value in optimizers.initial().items()
    }
    found, made = [], make(options, list(weights.values()))
    for step in range(optimizers.STEPS):
        for name, gradient in optimizers.gradients(step).items():
            weights[name].grad = torch.from_numpy(gradient).to(dtype)
        for optimizer in made:
            for group in optimizer.param_groups:
                group["lr"] = optimizers.rate(options, step)
            optimizer.step()
        if step + 1 in optimizers.KEPT:
            found.append(optimizers.flat({name: value.detach().numpy() for name, value in weights.items()}))
    return found


def record(name: str) -> dict:
    """What optimizers.json has of a case."""
    float64, float32 = (run(optimizers.CASES[name], dtype) for dtype in (torch.float64, torch.float32))
    return {"float64": float64, "float32_error": optimizers.error(float32, float64)}


def main() -> None:
    torch.set_num_threads(1)
    torch.Tensor.bfloat16 = lambda self: self.clone()  # Muon's products in the dtype of the run
    found = {name: record(name) for name in optimizers.CASES}
    if "--print" in sys.argv:
        json.dump(found, sys.stdout)
        return
    lines = [
        f'"{name}": {{"float32_error": {case["float32_error"]},\n  "float64": [\n    '
        + ",\n    ".join(json.dumps(numbers) for numbers in case["float64"])
        + "]}"
        for name, case in found.items()
    ]
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
