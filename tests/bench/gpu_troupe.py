"""Troupe's side of gpu.py: trains a workload on one CUDA device in bfloat16 with float32 master weights."""

import ctypes
import os
import sys
import time
from pathlib import Path

import numpy as np  # before Troupe, so that Python's own OpenSSL is there first
import protocol
import workloads

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT))  # for models

import troupe as tr  # noqa: E402
from models.gpt.model import GPT  # noqa: E402
from models.llama import model as llama  # noqa: E402
from models.moe import model as moe  # noqa: E402
from models.moe.published import loss as with_balance  # noqa: E402
from models.resnet import model as resnet  # noqa: E402
from troupe import functional as F  # noqa: E402


def make_model(workload: workloads.Workload) -> tr.nn.Module:
    """The model with the workload's first weights."""
    makers = {
        "gpt": lambda **shape: GPT(**shape),
        "llama": lambda **shape: llama.Llama(llama.Configuration(**shape)),
        "moe": lambda **shape: moe.Mixtral(moe.Configuration(**shape)),
        "resnet": lambda **shape: resnet.ResNet(resnet.Configuration(**shape)),
    }
    model = makers[workload.kind](**workload.shape)
    parameters = dict(model.named_parameters())
    weights = workloads.initial({name: tuple(p.shape) for name, p in parameters.items()})
    for name, parameter in parameters.items():
        parameter.copy_(weights.pop(name))  # they take gigabytes
    return model


def make_step(workload: workloads.Workload, mesh: tr.mesh) -> tr.TrainStep:
    """One step of training."""
    model = make_model(workload)
    kind = tr.optim.SGD if workload.image else tr.optim.AdamW

    def loss(model, batch):
        return F.cross_entropy(model(batch["x"]), batch["y"])

    return tr.TrainStep(
        model,
        with_balance if workload.kind == "moe" else loss,
        kind(model.parameters(), **workload.optimizer),
        mesh=mesh,
        precision="bf16",
        clip_grad_norm=None if workload.image else workloads.CLIP_GRAD_NORM,
    )


def simulate(library: str) -> None:
    """From now on CUDA is this simulated runtime, with one device and cuBLASLt."""
    os.environ[tr.cuda.LIBRARY] = library
    setup = ctypes.CDLL(library).troupe_simulated_cuda_setup
    setup.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int, ctypes.c_bool]
    setup(1, 1 << 30, 13000, True)


def main() -> None:
    parser = protocol.parser(__doc__)
    parser.add_argument("model", choices=workloads.WORKLOADS)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--simulated", metavar="LIBRARY", help="a simulated CUDA runtime, which needs no GPU")
    options = parser.parse_args()
    workload = workloads.find(options.model, options.tiny)
    if options.simulated:
        simulate(options.simulated)
    mesh = tr.mesh("cuda")
    began = time.perf_counter()
    step = make_step(workload, mesh)
    data = tr.data.arrays(**workloads.batches(workload), batch=workload.batch, shuffle=False)
    made = time.perf_counter()
    plan = step.plan(data)
    planned = time.perf_counter()
    (device,) = tr.cuda.devices()[:1]
    losses = []

    def block(steps: int) -> float:
        began = time.perf_counter()
        for metrics in tr.train(step, data, steps=step.steps + steps):
            losses.append(metrics.loss)
        return steps * workload.units / (time.perf_counter() - began)

    block(workloads.LOSSES)
    used = device.free - tr.cuda.devices()[0].free
    first = losses[: workloads.LOSSES]
    worked = time.process_time()
    step_s = workload.units / block(1)
    host_s = time.process_time() - worked
    protocol.serve(
        block,
        options,
        warm_up=0,
        version=tr.__version__,
        device=device.name,
        device_bytes=device.memory,
        parameters=sum(int(np.prod(p.shape)) for p in step.model.parameters()),
        losses=first,
        step_s=step_s,
        host_s=host_s,
        peak_bytes=used,
        # "io" is the host's. All of these plans compute in one queue and copy nothing to the host in another.
        predicted_bytes=sum(size for kind, size in plan.memory[0].items() if kind != "io") + tr.cuda.queue_bytes(),
        predicted_step_s=plan.predicted_step_s,
        model_s=made - began,
        planning_s=planned - made,
    )


if __name__ == "__main__":
    try:
        main()
    except (tr.PlanError, tr.FaultError, MemoryError) as error:
        protocol.say(error=f"{type(error).__name__}: {error}")
        sys.exit(1)
