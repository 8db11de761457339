"""PyTorch's side of gpu.py: trains a workload in bfloat16 with float32 master weights, as fast as a setting of PyTorch can.
Needs torch."""

import sys
import time

import protocol
import workloads

try:
    import torch
    from peer_models import make_model
except ImportError as error:
    protocol.say(error=f"no PyTorch: {error}")
    sys.exit(1)
from torch import nn

MODES = {"eager": None, "compile": "default", "max-autotune": "max-autotune"}


class Training:
    """A model that computes in bfloat16, the float32 masters of its parameters, and their optimizer."""

    def __init__(self, workload, mode: str, device: str):
        model = make_model(workload).to(device)
        self.low = list(model.parameters())
        self.masters = [nn.Parameter(p.detach().clone()) for p in self.low]
        for master in self.masters:
            master.grad = torch.zeros_like(master)
        if workload.image:  # batch norms take float32 scales, and only those
            for module in model.modules():
                if isinstance(module, (nn.Conv2d, nn.Linear)):
                    module.to(torch.bfloat16)
            model.to(memory_format=torch.channels_last)
        else:
            for parameter in self.low:
                parameter.data = parameter.data.to(torch.bfloat16)
        kind = torch.optim.SGD if workload.image else torch.optim.AdamW
        self.optimizer = kind(self.masters, fused=True, **workload.optimizer)
        self.run = torch.compile(model, mode=MODES[mode]) if MODES[mode] else model
        self.workload, self.device, self.count = workload, device, 0
        self.parameters = sum(p.numel() for p in self.masters)
        arrays = {name: torch.from_numpy(array) for name, array in workloads.batches(workload).items()}
        self.batches = [
            {name: rows.pin_memory() if device == "cuda" else rows for name, rows in zip(arrays, pair)}
            for pair in zip(*(array.split(workload.batch) for array in arrays.values()))
        ]

    def step(self) -> torch.Tensor:
        batch = self.batches[self.count % len(self.batches)]
        self.count += 1
        x, y = (batch[name].to(self.device, non_blocking=True) for name in ("x", "y"))
        if self.workload.image:
            x = x.to(torch.bfloat16, memory_format=torch.channels_last)
        loss = self.run(x, y.long())
        loss.backward()
        torch._foreach_copy_([p.grad for p in self.masters], [p.grad for p in self.low])
        for parameter in self.low:
            parameter.grad = None
        if not self.workload.image:
            nn.utils.clip_grad_norm_(self.masters, workloads.CLIP_GRAD_NORM)
        self.optimizer.step()
        with torch.no_grad():
            torch._foreach_copy_(self.low, self.masters)
        return loss.detach().clone()


def main() -> None:
    parser = protocol.parser(__doc__)
    parser.add_argument("model", choices=workloads.WORKLOADS)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--mode", choices=MODES, default="eager")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    options = parser.parse_args()
    workload = workloads.find(options.model, options.tiny)
    cuda = options.device == "cuda"
    if cuda and not torch.cuda.is_available():
        protocol.say(error=f"PyTorch {torch.__version__} finds no GPU")
        sys.exit(1)
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    training = Training(workload, options.mode, options.device)
    launched_s = 0.0

    def wait() -> None:
        if cuda:
            torch.cuda.synchronize()

    def block(steps: int) -> float:
        nonlocal launched_s
        began = time.perf_counter()
        for _ in range(steps):
            training.step()
        launched_s = (time.perf_counter() - began) / steps
        wait()
        return steps * workload.units / (time.perf_counter() - began)

    losses = [training.step().item()]
    if cuda:
        torch.cuda.reset_peak_memory_stats()  # tuning may have taken more
    losses += [training.step().item() for _ in range(workloads.LOSSES - 1)]
    block(2)  # the first steps with graphs record them
    step_s = workload.units / block(1)
    protocol.serve(
        block,
        options,
        warm_up=0,
        version=torch.__version__,
        parameters=training.parameters,
        losses=losses,
        step_s=step_s,
        host_s=launched_s,
        peak_bytes=torch.cuda.max_memory_allocated() if cuda else 0,
    )


if __name__ == "__main__":
    try:
        main()
    except (RuntimeError, MemoryError) as error:
        protocol.say(error=f"{type(error).__name__}: {str(error).splitlines()[0]}")
        sys.exit(1)
