#!/usr/bin/env python3
"""Trains the cases of cases.py with PyTorch, in float64 and float32, and writes losses.json.

    TROUPE_PEER_PYTHON tests/parity/record.py                          all cases, into losses.json
    TROUPE_PEER_PYTHON tests/parity/record.py llama_small              this case; the others there stay as they are
    TROUPE_PEER_PYTHON tests/parity/record.py --print mlp --seeds 2    one case as JSON on the output, to compare live
"""

import argparse
import json
import sys
import time
from pathlib import Path

import cases
import peer
import torch

FILE = Path(__file__).parent / "losses.json"


def record(name: str, seeds) -> dict:
    case = cases.CASES[name]
    return {
        "float64": [peer.train(case, seed, torch.float64) for seed in seeds],
        "float32": [peer.train(case, seed, torch.float32) for seed in seeds],
        "checksum": [cases.checksum(case, seed) for seed in seeds],
        "made_with": {
            "torch": torch.__version__,
            "cpu_capability": torch.backends.cpu.get_cpu_capability(),
            "threads": 1,
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="CASE", help="of cases.py; all by default")
    parser.add_argument("--print", dest="name", choices=cases.CASES)
    parser.add_argument("--seeds", type=int, default=len(cases.SEEDS))
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    seeds = cases.SEEDS[: options.seeds]
    if options.name:
        json.dump(record(options.name, seeds), sys.stdout)
        return
    found = json.loads(FILE.read_text())["cases"] if options.cases else {}
    for name in options.cases or cases.CASES:
        started = time.perf_counter()
        found[name] = record(name, seeds)
        difference = cases.error(found[name]["float32"], found[name]["float64"])
        print(f"{name}: error of float32 {difference:.3g}, {time.perf_counter() - started:.1f} s")
    text = json.dumps({"cases": found}, indent=1)
    # One seed per line.
    lines, depth = [], 0
    for line in text.split("\n"):
        if depth:
            lines[-1] += line.strip() + (" " if line.endswith(",") else "")
        else:
            lines.append(line)
        if line.strip() == "[":
            depth = 1
        elif depth and line.strip().startswith("]"):
            depth = 0
    FILE.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
