"""The GPT-mini in PyTorch, tuned: tokens/s of training in float32. Needs torch (TROUPE_PEER_PYTHON).

512 tokens, width 256, 4 layers, 4 heads, context 128, untied head without bias: 3 454 464 parameters; batch 8 x 128,
8 fixed random batches in rotation, AdamW lr 1e-3, weight decay 0.01. With --processes it is data-parallel over so many
processes (DistributedDataParallel, gloo), each with its share of the batch and --threads threads.
"""

import os
import subprocess
import sys
import time

import protocol

options = protocol.parser(__doc__)
options.add_argument("--threads", type=int, default=2)
options.add_argument("--compile", action="store_true")
options.add_argument("--attention", choices=["composed", "fused"], default="composed")
options.add_argument("--processes", type=int, default=1)
options = options.parse_args()
if "OMP_PROC_BIND" not in os.environ:  # OpenMP reads its settings when the process starts: set them and start again
    os.environ |= {"OMP_PROC_BIND": "true", "OMP_NUM_THREADS": str(options.threads), "ATEN_CPU_CAPABILITY": "avx512"}
    if "avx512f" not in open("/proc/cpuinfo").read():
        del os.environ["ATEN_CPU_CAPABILITY"]
    os.execv(sys.executable, [sys.executable, *sys.argv])
rank = int(os.environ.get("RANK", 0))
cores = sorted(os.sched_getaffinity(0), reverse=True)
if options.threads == 1 and options.processes <= len(cores):
    os.sched_setaffinity(0, {cores[rank]})
if options.processes > 1 and "RANK" not in os.environ:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(20000 + os.getpid() % 20000)}
    os.environ |= {"GLOO_SOCKET_IFNAME": "lo", "WORLD_SIZE": str(options.processes)}
    for other in range(1, options.processes):
        os.sched_setaffinity(0, set(cores))  # before the other starts: it chooses a core of its own
        subprocess.Popen([sys.executable, *sys.argv], env={**os.environ, "RANK": str(other)}, stdin=subprocess.DEVNULL)
    os.environ["RANK"] = "0"
    os.sched_setaffinity(0, {cores[0]} if options.threads == 1 else set(cores))

import torch  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

VOCAB, DIM, LAYERS, HEADS, CONTEXT, BATCH = 512, 256, 4, 4, 128, 8


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.ln1, self.ln2 = nn.LayerNorm(DIM), nn.LayerNorm(DIM)
        self.qkv, self.out = nn.Linear(DIM, 3 * DIM), nn.Linear(DIM, DIM)
        self.up, self.down = nn.Linear(DIM, 4 * DIM), nn.Linear(4 * DIM, DIM)

    def forward(self, x, mask):
        q, k, v = (t.unflatten(-1, (HEADS, -1)).transpose(1, 2) for t in self.qkv(self.ln1(x)).chunk(3, -1))
        if options.attention == "fused":
            mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            scores = (q @ k.transpose(-2, -1)) * (DIM // HEADS) ** -0.5
            mixed = scores.masked_fill(mask, float("-inf")).softmax(-1) @ v
        x = x + self.out(mixed.transpose(1, 2).flatten(2))
        return x + self.down(F.gelu(self.up(self.ln2(x))))


class Gpt(nn.Module):
    def __init__(self):
        super().__init__()
        self.tok, self.pos = nn.Embedding(VOCAB, DIM), nn.Embedding(CONTEXT, DIM)
        self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))
        self.ln, self.head = nn.LayerNorm(DIM), nn.Linear(DIM, VOCAB, bias=False)
        self.mask = torch.ones(CONTEXT, CONTEXT, dtype=torch.bool).triu(1)

    def forward(self, x, y):
        x = self.tok(x) + self.pos.weight
        for block in self.blocks:
            x = block(x, self.mask)
        return F.cross_entropy(self.head(self.ln(x)).flatten(0, 1), y.flatten())


torch.manual_seed(0)
torch.set_num_threads(options.threads)
model = Gpt()
assert sum(p.numel() for p in model.parameters()) == 3_454_464
if options.processes > 1:
    torch.distributed.init_process_group("gloo")
    model = nn.parallel.DistributedDataParallel(model)
run = torch.compile(model) if options.compile else model
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01, fused=True)
data = torch.randint(VOCAB, (8, 2, BATCH, CONTEXT))
count = 0


def block(steps: int) -> float:
    global count
    share = BATCH // options.processes
    mine = slice(rank * share, (rank + 1) * share)
    started = time.perf_counter()
    for _ in range(steps):
        x, y = data[count % 8][:, mine]
        count += 1
        optimizer.zero_grad(set_to_none=True)
        run(x, y).backward()
        optimizer.step()
    return steps * BATCH * CONTEXT / (time.perf_counter() - started)


def block_together(steps: int) -> float:
    """What the first process says is done by all; 0 steps end them."""
    said = torch.tensor([steps])
    torch.distributed.broadcast(said, 0)
    return block(int(said)) if said else 0.0


if options.processes == 1:
    protocol.serve(block, options, torch=torch.__version__, threads=options.threads)
elif rank == 0:
    protocol.serve(block_together, options, torch=torch.__version__, threads=options.threads)
    block_together(0)
else:
    while block_together(0):
        pass
if options.processes > 1:
    torch.distributed.destroy_process_group()
