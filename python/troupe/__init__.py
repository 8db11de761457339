"""Troupe trains neural networks on many devices.

Write a model as if for one device, say where tensors lie (split, broadcast or partial along the axes of a mesh), and a
planner compiles it into a static graph of actors.

    import troupe as tr
    from troupe import nn, functional as F, S, B

    mesh = tr.mesh("cpu", dp=2, tp=2)
    step = tr.TrainStep(model, loss=lambda m, b: F.cross_entropy(m(b["x"]), b["y"]),
                        optimizer=tr.optim.AdamW(model.parameters(), lr=3e-4), mesh=mesh,
                        recipe=tr.recipes.data_parallel() + tr.recipes.megatron(), batch_shards=8)
    for m in tr.train(step, data, steps=500):
        print(m.loss)
"""

from troupe import data, functional, log, nn, ops, optim, recipes
from troupe._troupe import FaultError, PlanError
from troupe.checkpoint import load_tensors
from troupe.compiled import compile
from troupe.dtypes import float16, float32, float64, int32, int64, uint8
from troupe.evaluation import evaluate
from troupe.generation import generate
from troupe.layout import B, P, S
from troupe.layouts import pin, to_layout
from troupe.loop import train
from troupe.loss_scale import LossScale
from troupe.mesh import mesh, parse_mesh
from troupe.metrics import Metrics
from troupe.nn.parameter import manual_seed
from troupe.plan import Plan
from troupe.precision import precision_table
from troupe.step import TrainStep
from troupe.tensor import Tensor
from troupe.watching import watch

__version__ = "0.1.0"

__all__ = [
    "B",
    "FaultError",
    "LossScale",
    "Metrics",
    "P",
    "Plan",
    "PlanError",
    "S",
    "Tensor",
    "TrainStep",
    "compile",
    "data",
    "evaluate",
    "float16",
    "float32",
    "float64",
    "functional",
    "generate",
    "int32",
    "int64",
    "load_tensors",
    "log",
    "manual_seed",
    "mesh",
    "nn",
    "ops",
    "optim",
    "parse_mesh",
    "pin",
    "precision_table",
    "recipes",
    "to_layout",
    "train",
    "uint8",
    "watch",
]
