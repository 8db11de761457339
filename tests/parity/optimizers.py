"""Weights, gradients and options for which Troupe's and PyTorch's optimizers are compared, from formulas, NumPy alone.

The loss is the sum over all parameters p of p times b["p"], summed over the rows of the batch: its gradients are sums
of b, which float32 holds exactly, so that all differences are those of the update. optimizers.json has what
record_optimizers.py recorded with PyTorch: the weights of a float64 run after the steps `KEPT`, and the root mean
square by which a float32 run differs. (PyTorch's Muon multiplies in bfloat16; both of its runs here keep the dtype.)
"""

import json
import math
from pathlib import Path

import numpy as np

SHAPES = {"tall": (7, 4), "wide": (3, 5), "twin": (3, 5), "vector": (6,), "number": ()}
STEPS = 12
KEPT = (1, 2, 12)
ROWS = 8
WARMUP = 3

# "scheduled": the rate rises over WARMUP steps, then falls in a straight line to 0 after STEPS.
CASES = {
    "adam": {"kind": "Adam", "lr": 0.01},
    "adam_decay": {"kind": "Adam", "lr": 0.02, "betas": (0.8, 0.95), "weight_decay": 0.1, "scheduled": True},
    "adamw": {"kind": "AdamW", "lr": 0.02, "weight_decay": 0.1, "scheduled": True},
    # eps[0] is what a float32 run has by default.
    "adafactor": {"kind": "Adafactor", "lr": 0.05, "eps": (2.0**-23, 1e-3)},
    "adafactor_decay": {
        **{"kind": "Adafactor", "lr": 0.5, "beta2_decay": -0.6, "eps": (1e-3, 0.3), "d": 1.25, "weight_decay": 0.1},
        "scheduled": True,
    },
    # Matrices alone; the rest goes to AdamW.
    "muon": {"kind": "Muon", "lr": 0.05},
    "muon_adjusted": {
        **{"kind": "Muon", "lr": 0.02, "momentum": 0.8, "nesterov": False, "weight_decay": 0.3},
        **{"adjust_lr_fn": "match_rms_adamw", "ns_steps": 4, "scheduled": True},
    },
}


def initial() -> dict[str, np.ndarray]:
    """Float32 weights by name."""
    random = np.random.PCG64(7)
    return {name: _uniform(random, shape) for name, shape in SHAPES.items()}


def batch(step: int) -> dict[str, np.ndarray]:
    """Float32 [ROWS, *shape] by name, whose sums over the rows are exact. Step 4's are 8 times as large."""
    random = np.random.PCG64(100 + step)
    factor = np.float32(8 if step == 4 else 1)
    return {name: factor * _uniform(random, (ROWS, *shape)) for name, shape in SHAPES.items()}


def gradients(step: int) -> dict[str, np.ndarray]:
    """Float64 gradients by name."""
    return {name: np.asarray(value.astype(np.float64).sum(0)) for name, value in batch(step).items()}


def rate(options: dict, step: int) -> float:
    """The learning rate of a step."""
    if not options.get("scheduled"):
        return options["lr"]
    if step < WARMUP:
        return options["lr"] * (step + 1) / WARMUP
    return options["lr"] * (1 - (step - WARMUP) / (STEPS - WARMUP))


def flat(weights) -> list[float]:
    """All numbers in one list."""
    return [float(x) for name in SHAPES for x in np.asarray(weights[name], np.float64).reshape(-1)]


def recorded() -> dict:
    """{case: {"float64": numbers after each of KEPT, "float32_error"}}."""
    return json.loads((Path(__file__).parent / "optimizers.json").read_text())


def error(runs, oracle) -> float:
    """Root mean square of the difference between two lists of lists of numbers."""
    difference = np.asarray(runs, np.float64) - np.asarray(oracle, np.float64)
    return math.sqrt(float(np.mean(difference**2)))


def _uniform(random: np.random.PCG64, shape: tuple[int, ...]) -> np.ndarray:
    """Multiples of 1/256 between -1 and 1, the same on every machine."""
    raw = np.asarray(random.random_raw(math.prod(shape)), np.uint64)
    return (((raw % np.uint64(513)).astype(np.int64) - 256) / 256).astype(np.float32).reshape(shape)
