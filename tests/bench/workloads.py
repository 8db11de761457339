"""What gpu.py trains: the models' sizes, their first weights, their batches and how much they compute, with NumPy alone, so
that Troupe's side and PyTorch's have the same.

Work is counted per unit (a token, an image): 6 floating point operations per parameter in a matrix product that works
on it (2 forward, 4 backward), and for causal attention 6 * layers * dim * tokens. Recomputed work does not count.
"""

import math
import os
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

BATCHES = 2  # of random data, in rotation
LOSSES = 6  # of so many first steps both sides' losses are compared: each batch comes again, and is then known better
TOLERANCE = 0.005  # relative, of a loss in bfloat16: it has 8 bits, and a loss is a mean over many rounding errors

# An H200 with dense bfloat16 products (NVIDIA's data sheet).
PEAK_FLOPS_PER_S = 989e12
PEAK_BYTES_PER_S = 4.8e12

ADAMW = {"lr": 3e-4, "betas": (0.9, 0.95), "eps": 1e-8, "weight_decay": 0.1}
SGD = {"lr": 0.02, "momentum": 0.9, "weight_decay": 1e-4}
CLIP_GRAD_NORM = 1.0  # of language models
BALANCE = 0.04  # the coefficient of the loss that balances experts, that of models/moe/published.py


@dataclass(frozen=True)
class Workload:
    """kind: "gpt", "llama", "moe" or "resnet". shape: the keywords of Troupe's model of that kind. batch: rows per step.
    tokens: per row. image: the height and width of a row that is an image."""

    kind: str
    shape: dict
    batch: int
    tokens: int = 1
    image: int = 0

    @property
    def unit(self) -> str:
        return "images" if self.image else "tokens"

    @property
    def units(self) -> int:
        """Per step."""
        return self.batch * self.tokens

    @property
    def rows(self) -> str:
        return f"{self.batch} x {self.image}²" if self.image else f"{self.batch} x {self.tokens}"

    @property
    def optimizer(self) -> dict:
        return SGD if self.image else ADAMW


def _gpt(batch: int, context: int, **shape) -> Workload:
    return Workload("gpt", shape | {"context": context}, batch, context)


def _llama(kind: str, batch: int, context: int, **shape) -> Workload:
    return Workload(kind, shape | {"context": context}, batch, context)


# GPT-2's vocabulary of 50257 is padded to a multiple of 64, as is usual on GPUs. llama-1b is Llama 3.2 1B with a head
# of its own; the experts of moe have the width of many small ones.
_LLAMA_1B = {"dim": 2048, "heads": 32, "kv_heads": 8, "theta": 500000.0}
WORKLOADS = {
    "gpt2-124m": _gpt(64, 1024, vocab=50304, layers=12, dim=768, heads=12),
    "gpt2-1.5b": _gpt(16, 1024, vocab=50304, layers=48, dim=1600, heads=25),
    "llama-1b": _llama("llama", 1, 8192, vocab=128256, layers=16, hidden=8192, **_LLAMA_1B),
    "moe": _llama("moe", 4, 2048, vocab=32000, layers=4, hidden=1024, experts=64, chosen=8, **_LLAMA_1B),
    "resnet50": Workload("resnet", {"bottleneck": True, "blocks": (3, 4, 6, 3)}, 256, image=224),
    "gpt-small": _gpt(8, 256, vocab=256, layers=6, dim=256, heads=4),
}
_TINY_LLAMA = {"vocab": 96, "layers": 2, "dim": 32, "heads": 4, "kv_heads": 2, "hidden": 48, "theta": 500000.0}
TINY = {
    "gpt2-124m": _gpt(4, 16, vocab=96, layers=2, dim=32, heads=4),
    "gpt2-1.5b": _gpt(2, 16, vocab=96, layers=3, dim=40, heads=5),
    "llama-1b": _llama("llama", 1, 32, **_TINY_LLAMA),
    "moe": _llama("moe", 2, 16, experts=8, chosen=2, **_TINY_LLAMA),
    "resnet50": Workload("resnet", {"bottleneck": True, "blocks": (1, 1), "width": 8, "classes": 10}, 8, image=32),
    "gpt-small": _gpt(2, 8, vocab=32, layers=1, dim=16, heads=2),
}


def find(name: str, tiny: bool) -> Workload:
    """The workload of this name; `tiny`: of a size for any machine, to try the benchmark itself out."""
    return (TINY if tiny else WORKLOADS)[name]


def initial(shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """The first weights of parameters by Troupe's names, float32. Scales are ones, biases zeros; matrices are normal
    with standard deviation 0.02, convolutions with variance 2 / fan-out. They depend on name and shape alone."""

    def one(item):
        name, shape = item
        if len(shape) == 1:
            return np.full(shape, 0.0 if name.endswith("bias") else 1.0, np.float32)
        deviation = math.sqrt(2 / (shape[0] * shape[2] * shape[3])) if len(shape) == 4 else 0.02
        random = np.random.Generator(np.random.SFC64(zlib.crc32(name.encode())))
        value = random.standard_normal(shape, np.float32)
        value *= deviation
        return value

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return dict(zip(shapes, pool.map(one, shapes.items())))


def batches(workload: Workload) -> dict[str, np.ndarray]:
    """"x" and "y" of all batches, one after another; no row can be guessed from others."""
    random = np.random.default_rng(0)
    rows = BATCHES * workload.batch
    if workload.image:
        x = random.standard_normal((rows, 3, workload.image, workload.image), np.float32)
        return {"x": x, "y": random.integers(0, workload.shape.get("classes", 1000), rows, np.int32)}
    x, y = random.integers(0, workload.shape["vocab"], (2, rows, workload.tokens), np.int32)
    return {"x": x, "y": y}


def convolutions(workload: Workload) -> list[tuple[int, int]]:
    """Of each convolution of a residual network of bottlenecks on large images: how many multiplications it takes per
    image, and how many numbers it makes."""
    found = []

    def add(inputs: int, outputs: int, kernel: int, size: int) -> None:
        made = outputs * size * size
        found.append((made * inputs * kernel * kernel, made))

    first = width = workload.shape.get("width", 64)
    size, inputs = workload.image // 4, width
    add(3, width, 7, workload.image // 2)
    for group, count in enumerate(workload.shape["blocks"]):
        width = first << group
        for block in range(count):
            before = size
            if group > 0 and block == 0:
                size //= 2
            add(inputs, width, 1, before)
            add(width, width, 3, size)
            add(width, 4 * width, 1, size)
            if block == 0:
                add(inputs, 4 * width, 1, size)
            inputs = 4 * width
    return found


def flops(workload: Workload) -> float:
    """Of a training step."""
    shape = workload.shape
    if workload.kind == "resnet":
        head = (shape.get("width", 64) << (len(shape["blocks"]) + 1)) * shape.get("classes", 1000)
        return 6.0 * workload.batch * (sum(count for count, _ in convolutions(workload)) + head)
    dim = shape["dim"]
    if workload.kind == "gpt":
        block = 12 * dim * dim
    else:
        attention = 2 * dim * (dim // shape["heads"]) * (shape["heads"] + shape["kv_heads"])
        mlp = 3 * dim * shape["hidden"] * shape.get("chosen", 1)
        block = attention + mlp + dim * shape.get("experts", 0)
    layers = shape["layers"]
    return 6.0 * workload.units * (layers * block + dim * shape["vocab"] + layers * dim * workload.tokens)


def least_bytes(workload: Workload, parameters: int) -> float:
    """What a training step must move through memory at least: an update reads a float32 gradient, writes and reads a
    float32 parameter and each moment, and writes the parameter in bfloat16. What a convolution makes is written and
    read in bfloat16, and so is its gradient."""
    moments = 1 if workload.image else 2
    made = sum(made for _, made in convolutions(workload)) if workload.kind == "resnet" else 0
    return parameters * (4 + 8 * (1 + moments) + 2) + 4 * 2 * made * workload.batch


def least_seconds(workload: Workload, parameters: int) -> float:
    """That no GPU of this kind can do a step faster: its products or its traffic, whichever takes longer."""
    return max(flops(workload) / PEAK_FLOPS_PER_S, least_bytes(workload, parameters) / PEAK_BYTES_PER_S)
