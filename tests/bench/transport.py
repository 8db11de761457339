"""Registers between processes of this machine, against gloo (PyTorch's) and against copies in memory.

    cmake -S . -B build -DTROUPE_BENCH=ON && ninja -C build process_bench
    .venv/bin/python tests/bench/transport.py --peer-python PATH [--processes 2]

"near": workers share memory, as those of one host do; "far": as if each were a host of its own, over the loopback device.
All-reduces of both sides alternate; a ratio is that of two blocks next to each other in time. Prints the median of each
and its spread, what workers use of a core while nothing moves, and everything as JSON in the last line. The memory bound of
an all-reduce is what one core copies per second.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import threading
from pathlib import Path

HERE = Path(__file__).resolve().parent
LIMIT_S = 120
SIZES = [4, 4096, 65536, 1 << 20, 16 << 20, 256 << 20]


class Asked:
    """A program that answers each line by a number."""

    def __init__(self, *command: str):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, line: str) -> float:
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        timer = threading.Timer(LIMIT_S, self.process.kill)
        timer.start()
        try:
            return float(self.process.stdout.readline() or "nan")
        finally:
            timer.cancel()

    def close(self) -> None:
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()


def spread(values: list[float]) -> dict:
    return {"median": statistics.median(values), "least": min(values), "most": max(values)}


def words(of: dict, scale: float, unit: str) -> str:
    return f"{of['median'] * scale:.4g} {unit} ({of['least'] * scale:.4g} to {of['most'] * scale:.4g})"


def copies() -> float:
    """Bytes per second that one core copies from memory to memory, the bound of what a reader of far memory can have."""
    import numpy as np
    from time import perf_counter

    source, target = np.zeros(1 << 26, np.uint8), np.ones(1 << 26, np.uint8)
    best = 0.0
    for _ in range(9):
        began = perf_counter()
        np.copyto(target, source)
        best = max(best, source.nbytes / (perf_counter() - began))
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer-python", default=os.environ.get("TROUPE_PEER_PYTHON"), help="a Python with PyTorch")
    parser.add_argument("--bench", default=str(HERE.parents[1] / "build/tests/bench/process_bench"))
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    if not options.peer_python:
        sys.exit("no PyTorch: name a Python that has it with --peer-python or TROUPE_PEER_PYTHON (.ci/run makes one)")
    found: dict = {"processes": options.processes, "copy_bytes_per_s": copies()}
    print(f"copies in memory: {found['copy_bytes_per_s'] / 1e9:.1f} GB/s")
    for kind in ("near", "far"):
        ours = Asked(options.bench, kind, str(options.processes))
        found[kind] = {"idle_share_of_a_core": ours.ask("idle 3")}
        print(f"{kind}: a worker that waits uses {found[kind]['idle_share_of_a_core']:.2%} of a core")
        for size in SIZES:
            trip = spread([ours.ask(f"trip {size}") for _ in range(3)])
            found[kind][size] = {"trip_s": trip}
            print(f"{kind} {size} B: round trip {words(trip, 1e6, 'us')}")
            if kind == "far":  # near ones are read where they were written
                flow = spread([size / ours.ask(f"stream {size}") for _ in range(3)])
                found[kind][size]["bytes_per_s"] = flow
                print(f"{kind} {size} B: one way {words(flow, 1e-9, 'GB/s')}")
        peer = Asked(options.peer_python, str(HERE / "peer_all_reduce.py"), str(options.processes))
        for size in SIZES:
            pairs = [(ours.ask(f"reduce {size}"), peer.ask(str(size))) for _ in range(options.rounds)]
            reduced = {
                "troupe_s": spread([a for a, _ in pairs]),
                "gloo_s": spread([b for _, b in pairs]),
                "gloo_over_troupe": spread([b / a for a, b in pairs]),
            }
            # At best every process reads the terms of its share and writes the share for all: each byte once in, once out.
            bound_s = size * max(1, options.processes / os.cpu_count()) / found["copy_bytes_per_s"]
            reduced["of_memory_bound"] = bound_s / reduced["troupe_s"]["median"]
            found[kind][f"reduce {size}"] = reduced
            print(
                f"{kind} all-reduce {size} B: Troupe {words(reduced['troupe_s'], 1e6, 'us')}, "
                f"gloo {words(reduced['gloo_s'], 1e6, 'us')}, gloo / Troupe {words(reduced['gloo_over_troupe'], 1, 'x')}, "
                f"{reduced['of_memory_bound']:.0%} of the memory bound"
            )
        peer.close()
        ours.close()
    print(json.dumps(found))


if __name__ == "__main__":
    main()
