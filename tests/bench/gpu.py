"""A model on one GPU: Troupe against PyTorch, in alternation in one run, and their ratio.

    tests/gpu/bench.sh MODEL                                          # builds what is needed and runs this
    .venv/bin/python tests/bench/gpu.py MODEL --peer-python PATH
    .venv/bin/python tests/bench/gpu.py MODEL --peer-python PATH --tiny --simulated build/libtroupe_cuda_simulated.so

PyTorch is measured in all its settings first; the fastest then alternates with Troupe. Both train the same model
(workloads.py) from the same weights on the same batches, computing in bfloat16 with float32 master weights, and their
first losses must agree. A ratio is that of two blocks next to each other in time. A table comes last; everything is written
as JSON to --out. The exit status is not zero when there is no ratio or the losses differ. Both sides: see protocol.py.
With --simulated both run on the CPU, Troupe on a simulated CUDA runtime: that tries the benchmark itself out, and its
times mean nothing.
"""

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path

import workloads
from run import HERE, Side, alternate, spread

BLOCK_S = 2.0
PAUSE_S = 0.05  # who waits for a GPU leaves it alone
MODES = ("eager", "compile", "max-autotune")
FOR_OURS = 0.4  # of the time; no setting of PyTorch is begun within it


class Clock:
    """The seconds that are left of so many."""

    def __init__(self, limit_s: float):
        self.limit_s, self.began = limit_s, time.monotonic()

    @property
    def left_s(self) -> float:
        return max(self.limit_s - (time.monotonic() - self.began), 1.0)


def measure_peers(commands: dict[str, list[str]], unit: str, clock: Clock) -> dict[str, dict]:
    """What each setting of PyTorch said and how fast it was ("units_per_s"), or "error"."""
    found = {}
    for mode, command in commands.items():
        left_s = clock.left_s - FOR_OURS * clock.limit_s
        if left_s < 10:
            found[mode] = {"error": "no time was left"}
        else:
            try:
                side = Side(command, left_s, PAUSE_S)
                side.steps = steps_of(side, BLOCK_S)
                found[mode] = {**side.about, "units_per_s": max(side.block() for _ in range(2))}
                side.close()
            except RuntimeError as error:
                found[mode] = {"error": str(error).removeprefix(" ".join([*command, "--alternate"]) + ": ")}
        fast = found[mode].get("units_per_s")
        print(f"PyTorch {mode}: " + (f"{fast:.0f} {unit}/s" if fast else found[mode]["error"]), flush=True)
    return found


def steps_of(side: Side, seconds: float) -> int:
    """How many steps take about so long."""
    return max(1, int(seconds / side.about["step_s"]))


def prepare(sides: list[Side], rounds: int, clock: Clock) -> int:
    """Decides about blocks that fit into the time that is left. Returns how many rounds do, at most `rounds`."""
    block_s = min(BLOCK_S, clock.left_s / rounds / len(sides))
    for side in sides:
        side.steps = steps_of(side, block_s)
        side.limit_s = max(10.0, 5 * side.steps * side.about["step_s"])
    round_s = sum(side.steps * side.about["step_s"] + PAUSE_S for side in sides)
    return max(1, min(rounds, int(clock.left_s / round_s)))


def run_pairs(ours: list[str], peer: list[str], rounds: int, clock: Clock) -> dict:
    """Both sides' blocks: in alternation where both fit into the GPU's memory, else one side's after the other's."""
    theirs = Side(peer, clock.left_s, PAUSE_S)
    try:
        mine = Side(ours, clock.left_s, PAUSE_S)
    except RuntimeError as error:
        print(f"beside PyTorch: {error}\nso the one comes after the other", flush=True)
        theirs.close()
        return run_in_turn(ours, peer, rounds, clock)
    rounds = prepare([mine, theirs], rounds, clock)
    try:
        pairs = alternate(mine, theirs, rounds, ("Troupe", "PyTorch"))
    finally:
        mine.close()
        theirs.close()
    return {"interleaved": True, "troupe": mine.about, "peer": theirs.about, "pairs": pairs}


def run_in_turn(ours: list[str], peer: list[str], rounds: int, clock: Clock) -> dict:
    """The blocks of one side after those of the other."""
    blocks, about = [], []
    for part, command in ((2, ours), (1, peer)):
        side = Side(command, clock.left_s, PAUSE_S)
        share = Clock(clock.left_s / part)
        blocks.append([side.block() for _ in range(prepare([side], rounds, share))])
        about.append(side.about)
        side.close()
    return {"interleaved": False, "troupe": about[0], "peer": about[1], "pairs": list(zip(*blocks))}


def run_alone(ours: list[str], rounds: int, clock: Clock) -> dict:
    """Troupe's blocks."""
    side = Side(ours, clock.left_s, PAUSE_S)
    blocks = [side.block() for _ in range(prepare([side], rounds, clock))]
    side.close()
    return {"interleaved": False, "troupe": side.about, "alone": blocks}


def difference(ours: list[float], theirs: list[float]) -> tuple[float, int]:
    """The largest relative difference of two rows of losses, and at which step it is. One that is not a number, or
    missing, is as far away as can be."""
    if len(ours) != len(theirs):
        return float("inf"), min(len(ours), len(theirs))
    apart = [abs(a - b) / abs(b) if a == a and b == b and b else float("inf") for a, b in zip(ours, theirs)]
    worst = max(range(len(apart)), key=apart.__getitem__)
    return apart[worst], worst


def judge(found: dict, workload: workloads.Workload) -> None:
    """Adds what follows from what was measured."""
    ours, theirs = found["troupe"], found.get("peer")
    found["flops_per_step"] = workloads.flops(workload)
    found["least_step_s"] = workloads.least_seconds(workload, ours["parameters"])
    if theirs is None:
        found["errors"].append("PyTorch ran in none of its settings, so there is no ratio")
        return
    found["ratio"], found["ratios"], found["ratio_words"] = spread(found["pairs"])
    if ours["parameters"] != theirs["parameters"]:
        found["errors"].append(f"the models differ: {ours['parameters']} and {theirs['parameters']} parameters")
    apart, step = difference(ours["losses"], theirs["losses"])
    found["loss_difference"], found["loss_tolerance"] = apart, workloads.TOLERANCE
    if not apart <= workloads.TOLERANCE:
        said = [side["losses"][step] if step < len(side["losses"]) else "nothing" for side in (ours, theirs)]
        found["errors"].append(f"the losses differ at step {step}: {said[0]} and {said[1]}, {apart:.2%}, more than "
                               f"{workloads.TOLERANCE:.1%}: the speeds are not of the same training")  # fmt: skip


def table(found: dict, workload: workloads.Workload) -> str:
    """What is to be read."""
    ours, peers = found["troupe"], found["peers"]
    pairs = found.get("pairs")
    mine = statistics.median(a for a, _ in pairs) if pairs else statistics.median(found["alone"])
    gib = 2.0**30

    def row(name: str, rate: float, host_s: float | None = None, peak: int = 0) -> str:
        of_peak = found["flops_per_step"] * rate / workload.units / workloads.PEAK_FLOPS_PER_S
        host = f"{host_s * 1e3:9.2f}" if host_s is not None else " " * 9
        memory = f"{peak / gib:9.2f}" if peak else " " * 9
        return f"{name:28}{rate:12.0f}{workload.units / rate * 1e3:11.2f}{host}{memory}{of_peak:10.1%}"

    lines = [f"{found['model']}, {workload.rows}, on {ours['device']}",
             f"{'':28}{workload.unit + '/s':>12}{'ms/step':>11}{'host ms':>9}{'peak GiB':>9}{'of peak':>10}"]  # fmt: skip
    if found["simulated"]:
        lines.insert(0, "on a simulated GPU: no time below means anything")
    lines.append(row("Troupe", mine, ours["host_s"], ours["peak_bytes"]))
    lines.append(row("  as planned", workload.units / ours["predicted_step_s"], None, ours["predicted_bytes"]))
    for mode, peer in peers.items():
        name = f"PyTorch {mode}" + (" (best)" if mode == found.get("best") else "")
        if "error" in peer:
            lines.append(f"{name:28}  {peer['error']}")
        else:
            lines.append(row(name, peer["units_per_s"], peer["host_s"], peer["peak_bytes"]))
    lines.append(row("no H200 can beat", workload.units / found["least_step_s"]))
    if pairs:
        how = "in alternation" if found["interleaved"] else "one after the other: together they do not fit"
        lines.append(f"Troupe / PyTorch {found['best']}: {found['ratio_words']}, {how}")
        lines.append(f"losses of {len(ours['losses'])} steps: at most {found['loss_difference']:.3%} apart "
                     f"(tolerance {workloads.TOLERANCE:.1%})")  # fmt: skip
    lines.append(f"planning {ours['planning_s']:.2f} s")
    return "\n".join([*lines, *(f"FAILED: {error}" for error in found["errors"])])


def measure(options: argparse.Namespace, workload: workloads.Workload) -> dict:
    """Everything. Raises RuntimeError where not even Troupe ran."""
    clock = Clock(options.limit)
    tiny = ["--tiny"] * options.tiny
    ours = [sys.executable, options.ours, options.model, *tiny]
    theirs = [os.path.abspath(options.peer_python), options.peer, options.model, *tiny]
    if options.simulated:
        ours += ["--simulated", os.path.abspath(options.simulated)]
        theirs += ["--device", "cpu"]
    commands = {mode: [*theirs, "--mode", mode] for mode in options.modes}
    found = {"model": options.model, "tiny": options.tiny, "simulated": bool(options.simulated), "errors": []}
    peers = measure_peers(commands, workload.unit, clock)
    fastest = {mode: peer["units_per_s"] for mode, peer in peers.items() if "error" not in peer}
    found["peers"] = peers
    if fastest:
        found["best"] = max(fastest, key=fastest.get)
        try:
            return found | run_pairs(ours, commands[found["best"]], options.rounds, clock)
        except RuntimeError as error:
            found["errors"].append(str(error))
            print(error, flush=True)
            del found["best"]
    return found | run_alone(ours, options.rounds, clock)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=workloads.WORKLOADS)
    parser.add_argument("--peer-python", default=os.environ.get("TROUPE_PEER_PYTHON", sys.executable),
                        help="a Python with PyTorch (default: TROUPE_PEER_PYTHON, or this one)")  # fmt: skip
    parser.add_argument("--modes", type=lambda text: text.split(","), default=MODES, help="PyTorch's settings to try")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--limit", type=float, default=500, help="seconds that all may take (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=HERE.parents[1] / "build-gpu" / "results", help="a folder")
    parser.add_argument("--tiny", action="store_true", help="sizes for any machine")
    parser.add_argument("--simulated", metavar="LIBRARY", help="a simulated CUDA runtime, which needs no GPU")
    parser.add_argument("--ours", default=str(HERE / "gpu_troupe.py"), help="Troupe's side (a Python file)")
    parser.add_argument("--peer", default=str(HERE / "peer_gpu.py"), help="PyTorch's side (a Python file)")
    options = parser.parse_args()
    workload = workloads.find(options.model, options.tiny)
    options.out.mkdir(parents=True, exist_ok=True)
    file = options.out / f"{options.model}.json"
    file.unlink(missing_ok=True)
    try:
        found = measure(options, workload)
    except RuntimeError as error:
        print(f"FAILED: {error}")
        return 1
    judge(found, workload)
    file.write_text(json.dumps(found, indent=1) + "\n")
    print(f"\n{table(found, workload)}", flush=True)
    return 1 if found["errors"] else 0


if __name__ == "__main__":
    sys.exit(main())
