"""All-reduce of float32 over gloo: PyTorch's, for transport.py.

    peer_all_reduce.py PROCESSES [--alternate]      then on stdin: BYTES

starts PROCESSES of one thread each on this machine. Each line of stdin is answered by the seconds of one all-reduce,
from a block of so many that it takes about 0.4 s.
"""

import os
import sys
import time

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

BLOCK_S = 0.4


def seconds(size: int) -> float:
    tensor = torch.zeros(max(size // 4, 1))

    def block(times: int) -> float:
        dist.barrier()
        began = time.perf_counter()
        for _ in range(times):
            dist.all_reduce(tensor)
        took = torch.tensor([time.perf_counter() - began], dtype=torch.float64)
        dist.broadcast(took, 0)  # so that all decide alike
        return took.item()

    times = 3
    block(times)
    while block(times) < BLOCK_S / 10:
        times *= 4
    return block(times * 10) / (times * 10)


def work(rank: int, processes: int, port: int, asked, answers) -> None:
    torch.set_num_threads(1)
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), GLOO_SOCKET_IFNAME="lo")
    dist.init_process_group("gloo", rank=rank, world_size=processes)
    while (size := asked.get()) >= 0:
        took = seconds(size)
        if rank == 0:
            answers.put(took)
    dist.destroy_process_group()


def main() -> None:
    processes = int(sys.argv[1])
    context = mp.get_context("spawn")
    asked = [context.Queue() for _ in range(processes)]
    answers = context.Queue()
    port = 20000 + os.getpid() % 20000
    started = [
        context.Process(target=work, args=(rank, processes, port, asked[rank], answers), daemon=True)
        for rank in range(processes)
    ]
    for process in started:
        process.start()
    for line in sys.stdin:
        for queue in asked:
            queue.put(int(line))
        print(f"{answers.get(timeout=120):.9f}", flush=True)
    for queue in asked:
        queue.put(-1)
    for process in started:
        process.join(10)


if __name__ == "__main__":
    main()
