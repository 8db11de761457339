"""What tracing costs: seconds of a step that is traced against one that is not, in alternation, and their ratio.

    .venv/bin/python tests/bench/trace.py

A pair is two blocks next to each other in time; in every other pair the traced one comes second. What counts is the
processor time of the whole process, which another program on the machine disturbs far less than it does the seconds on
the clock; those are told too, of each block's fastest step. `firing_bench --benchmark_filter=one.stream` gives the other
way to it: what tracing costs a firing, times the firings of a step that are told here. The first and the last step of a block do not count: there
a trace begins and is written, which is paid once and told by itself. The last line is JSON.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from gpt_mini import BATCH, BATCHES, CONTEXT, VOCAB, make_step
from run import spread

import troupe as tr


def interval(ratios: list[float]) -> tuple[float, float]:
    """Where the median lies in 95 % of resamples of the pairs."""
    random = np.random.default_rng(0)
    medians = np.median(random.choice(ratios, (10_000, len(ratios))), axis=1)
    low, high = np.percentile(medians, (2.5, 97.5))
    return float(low), float(high)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mesh", default="dp=2,tp=2")
    parser.add_argument("--pairs", type=int, default=60)
    parser.add_argument("--steps", type=int, default=3, help="of a block")
    options = parser.parse_args()
    step = make_step(options.mesh, "f32")
    random = np.random.default_rng(0)
    x, y = random.integers(0, VOCAB, (2, BATCHES * BATCH, CONTEXT), np.int32)
    data = tr.data.arrays(x=x, y=y, batch=BATCH, shuffle=False)
    file = Path(tempfile.mkdtemp()) / "trace.json"
    once = []

    def block(traced: bool) -> tuple[float, float]:
        """Processor seconds of a step, and the fastest step's seconds."""
        end = step.steps + options.steps + 2
        if traced:
            step.trace(file, range(step.steps, end))
        began = time.perf_counter()
        made = [(time.process_time(), m.seconds) for m in tr.train(step, data, steps=end)]
        if traced:
            once.append(time.perf_counter() - began - sum(seconds for _, seconds in made))
        counted = made[1:-1]
        return (counted[-1][0] - made[0][0]) / len(counted), min(seconds for _, seconds in counted)

    block(False)
    pairs = []
    for i in range(options.pairs):
        first = block(bool(i % 2))
        second = block(not i % 2)
        pairs.append((first, second) if i % 2 else (second, first))
    found = {}
    for index, name in enumerate(("processor", "clock")):
        ratio, ratios, _ = spread([(traced[index], plain[index]) for traced, plain in pairs])
        low, high = interval(ratios)
        step_s = statistics.median(plain[index] for _, plain in pairs)
        print(f"{name}: {step_s * 1e3:.1f} ms a step; traced / not: {ratio:.4f}, 95 % of resamples of the {len(ratios)} "
              f"pairs between {low:.4f} and {high:.4f}")
        found[name] = {"step_s": step_s, "ratio": ratio, "interval": [low, high], "ratios": ratios}
    events = json.loads(file.read_text())["traceEvents"]
    firings = sum(event.get("cat") in ("firing", "transfer") for event in events) / (options.steps + 2)
    print(f"{firings:.0f} firings a step; {len(events)} events of {options.steps + 2} steps; "
          f"{statistics.median(once):.2f} s to begin and to write")
    print(json.dumps(found | {"firings": firings, "events": len(events), "once_s": statistics.median(once)}))


if __name__ == "__main__":
    main()
