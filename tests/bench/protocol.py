"""How run.py measures two programs in alternation: the two sides of the protocol.

A program calls `serve(block)`. Run by itself it prints one line, {"tokens_per_s": [a number per block]}. Run with
--alternate it prints {"ready": true} after its warm-up; then, for each line on its input, it runs one timed block and
prints {"tokens_per_s": [the number]}; it ends with its input. A line may say how many steps: "block 7". Between blocks
it must leave the processor alone. A program that cannot go on prints {"error": "why"} and ends.
"""

import argparse
import json
import sys
from collections.abc import Callable

STEPS = 20  # of a timed block
BLOCKS = 7
WARM_UP = 5  # steps


def parser(description: str) -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(description=description)
    found.add_argument("--alternate", action="store_true", help="run a block per line of the input")
    found.add_argument("--blocks", type=int, default=BLOCKS)
    return found


def say(**fields) -> None:
    print(json.dumps(fields), flush=True)


def serve(block: Callable[[int], float], options: argparse.Namespace, warm_up: int = WARM_UP, **about) -> None:
    """block(steps) trains so many steps and returns tokens/s. about: what else is known when it is ready."""
    if warm_up:
        block(warm_up)
    if options.alternate:
        say(ready=True, **about)
        for line in sys.stdin:
            _, _, steps = line.partition(" ")
            say(tokens_per_s=[block(int(steps or STEPS))])
    else:
        say(tokens_per_s=[block(STEPS) for _ in range(options.blocks)], **about)
