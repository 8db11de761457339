"""Tokens/s of the GPT-mini: Troupe against PyTorch, in alternation in one run, and their ratio.

    .venv/bin/python tests/bench/run.py --peer-python PATH [--processes 2]

PyTorch is measured in all its settings first (1 and 2 threads, eager and compiled, composed and fused attention); the
fastest then alternates with Troupe. A ratio is that of two blocks next to each other in time; the median and the spread
of those ratios are printed, and everything as JSON in the last line. Both sides: see protocol.py. With --processes both
are data-parallel over so many processes of one thread: DistributedDataParallel over gloo, and `troupe launch`.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
PEERS = {
    f"{'compiled' if compiled else 'eager'}, {threads} thread{'s' * (threads > 1)}, {attention} attention": (
        [f"--threads={threads}", f"--attention={attention}"] + ["--compile"] * compiled
    )
    for compiled in (False, True)
    for attention in ("composed", "fused")
    for threads in (2, 1)
}


class Side:
    """One program that runs a block when asked to: of `steps` steps, or as many as protocol.py says. Before each it
    waits for pause_s, because the other side's threads may still spin. Raises RuntimeError, with the reason if it gave
    one, for a program that cannot go on, ends, or takes longer than limit_s for an answer; it is then over."""

    def __init__(self, command: list[str], limit_s: float, pause_s: float = 0.5):
        self.process = subprocess.Popen(
            [*command, "--alternate"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=HERE
        )
        self.limit_s, self.pause_s = limit_s, pause_s
        self.steps: int | None = None
        self.about = self.read()

    def read(self) -> dict:
        timer = threading.Timer(self.limit_s, self.process.kill)
        timer.start()
        why = "ended without an answer"
        try:
            for line in self.process.stdout:
                if line.startswith("{"):
                    said = json.loads(line)
                    if "error" not in said:
                        return said
                    why = said["error"]
            if timer.finished.is_set():
                why = f"took over {self.limit_s:.0f} s"
        finally:
            timer.cancel()
        self.close()
        raise RuntimeError(f"{' '.join(self.process.args)}: {why}")

    def block(self) -> float:
        time.sleep(self.pause_s)
        try:
            self.process.stdin.write("block\n" if self.steps is None else f"block {self.steps}\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # it has ended, as reading tells
        return self.read()["tokens_per_s"][0]

    def close(self) -> None:
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def alternate(ours: Side, theirs: Side, rounds: int, names: tuple[str, str]) -> list[tuple[float, float]]:
    """Tokens/s of both sides, block by block; whoever goes first in one round goes second in the next."""
    pairs = []
    for i in range(rounds):
        if i % 2:
            second = theirs.block()
            pairs.append((ours.block(), second))
        else:
            pairs.append((ours.block(), theirs.block()))
        first, second = pairs[-1]
        print(f"round {i}: {names[0]} {first:.0f}, {names[1]} {second:.0f}, ratio {first / second:.2f}")
    return pairs


def spread(pairs: list[tuple[float, float]]) -> tuple[float, list[float], str]:
    """The median of the pairs' ratios, all of them, and both in words."""
    ratios = sorted(a / b for a, b in pairs)
    ratio = statistics.median(ratios)
    return ratio, ratios, f"{ratio:.2f} (from {ratios[0]:.2f} to {ratios[-1]:.2f} in {len(ratios)} rounds)"


def best_peer(python: str, peers: dict[str, list[str]], limit_s: float, blocks: int) -> str:
    """The name of PyTorch's fastest setting."""
    found = {}
    for name, arguments in peers.items():
        try:
            side = Side([python, "peer_gpt_mini.py", *arguments], limit_s)
            found[name] = max(side.block() for _ in range(blocks))
            side.close()
            print(f"PyTorch, {name}: {found[name]:.0f} tokens/s")
        except RuntimeError as error:
            print(f"PyTorch, {name}: {error}")
    if not found:
        sys.exit("no setting of PyTorch ran")
    return max(found, key=found.get)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer-python", default=os.environ.get("TROUPE_PEER_PYTHON"), help="a Python with PyTorch")
    parser.add_argument("--ours", default=str(HERE / "gpt_mini.py"), help="Troupe's side (a Python file)")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--limit", type=float, default=300, help="seconds that a side may take for one answer")
    options = parser.parse_args()
    if not options.peer_python:
        sys.exit("no PyTorch: name a Python that has it with --peer-python or TROUPE_PEER_PYTHON (.ci/run makes one)")
    options.peer_python = os.path.abspath(options.peer_python)  # both sides run in this file's folder
    peers, command = PEERS, [sys.executable]
    if options.processes > 1:
        count = f"--processes={options.processes}"
        peers = {name: [*arguments, count] for name, arguments in PEERS.items() if "--threads=1" in arguments}
        command += ["-m", "troupe", "launch", "-n", str(options.processes), "--devices", "cpu=1", "--"]
    name = best_peer(options.peer_python, peers, options.limit, blocks=3)
    peer = Side([options.peer_python, "peer_gpt_mini.py", *peers[name]], options.limit)
    ours = Side([*command, options.ours], options.limit)
    pairs = alternate(ours, peer, options.rounds, ("Troupe", "PyTorch"))
    peer.close()
    ours.close()
    ratio, ratios, words = spread(pairs)
    print(f"PyTorch {peer.about.get('torch')} at its fastest: {name}")
    print(f"Troupe / PyTorch: {words}")
    print(json.dumps({"ratio": ratio, "ratios": ratios, "tokens_per_s": [a for a, _ in pairs],
                      "peer_tokens_per_s": [b for _, b in pairs], "peer": name, "torch": peer.about.get("torch")}))


if __name__ == "__main__":
    main()
