"""How long the quickstart's plan takes: from the model to `step.plan(data)`, tracing and compiling apart.

    .venv/bin/python tests/bench/compile_time.py [--mesh dp=2,tp=2]

A plan is to be there within a second. Every round plans a new model, after one round that is not counted;
medians and spreads are printed, and everything as JSON in the last line.
"""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "models" / "gpt"))
import text  # noqa: E402
import train  # noqa: E402

import troupe as tr  # noqa: E402

BOUND_S = 1.0


def plan_once(arguments: argparse.Namespace, data: tr.data.Tokens) -> dict[str, float]:
    """The seconds that planning one model takes."""
    step = train.make_step(arguments)
    record = step._trace
    traced: list[float] = []

    def timed_trace(*given: Any) -> Any:
        began = time.perf_counter()
        trace = record(*given)
        traced.append(time.perf_counter() - began)
        return trace

    step._trace = timed_trace
    began = time.perf_counter()
    step.plan(data)
    whole = time.perf_counter() - began
    step.close()
    (trace,) = traced
    return {"trace_s": trace, "compile_s": whole - trace, "plan_s": whole}


def main() -> None:
    """Measures, and reports."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mesh", default="dp=2,tp=2")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    arguments = train.parse(["--mesh", options.mesh])
    data = text.load(None, train.CONTEXT, arguments.batch, arguments.seed).train
    plan_once(arguments, data)
    rounds = [plan_once(arguments, data) for _ in range(options.rounds)]
    medians = {}
    for part in rounds[0]:
        seconds = sorted(found[part] for found in rounds)
        medians[part] = statistics.median(seconds)
        spread = f"from {seconds[0]:.3f} to {seconds[-1]:.3f} in {len(seconds)} rounds"
        print(f"{part}: {medians[part]:.3f} ({spread})")
    ratio = medians["plan_s"] / BOUND_S
    print(f"time of planning on {options.mesh} / bound of {BOUND_S:.0f} s: {ratio:.2f}")
    print(json.dumps({"ratio": ratio, "bound_s": BOUND_S, "mesh": options.mesh, **medians, "rounds": rounds}))


if __name__ == "__main__":
    main()
