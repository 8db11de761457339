"""How run.py measures two programs in alternation: the two sides of the protocol.

A program calls `serve(block)`. Run by itself it prints one line, {"tokens_per_s": [a number per block]}. Run with
--alternate it prints {"ready": true} after its warm-up; then, for each line on its input, it runs one timed block and
prints {"tokens_per_s": [the number]}; it ends with its input. Between blocks it must leave the processor alone.
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


def serve(block: Callable[[int], float], options: argparse.Namespace, **about) -> None:
    """block(steps) trains so many steps and returns tokens/s."""
    block(WARM_UP)
    if options.alternate:
        say(ready=True, **about)
        for _ in sys.stdin:
            say(tokens_per_s=[block(STEPS)])
    else:
        say(tokens_per_s=[block(STEPS) for _ in range(options.blocks)], **about)
