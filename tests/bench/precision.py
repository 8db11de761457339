"""Tokens/s of the GPT-mini in bfloat16 or float16 against float32, in alternation in one run, and their ratio.

    .venv/bin/python tests/bench/precision.py [bf16|f16]

The CPU's instructions for bfloat16 decide which way it goes, so they are printed too. The last line is JSON.
"""

import argparse
import json
import sys

from run import HERE, Side, alternate, spread


def instructions() -> str:
    """What this CPU has for products of low precision."""
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        flags = set(next((line for line in file if line.startswith("flags")), "").split())
    found = [name for name in ("amx_bf16", "avx512_bf16", "avx512_fp16", "f16c", "avx512f", "avx2") if name in flags]
    return ", ".join(found) or "none known"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("precision", nargs="?", choices=["bf16", "f16"], default="bf16")
    parser.add_argument("--mesh", default="dp=2")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--limit", type=float, default=300, help="seconds that a side may take for one answer")
    options = parser.parse_args()
    command = [sys.executable, str(HERE / "gpt_mini.py"), f"--mesh={options.mesh}"]
    low, full = (Side([*command, f"--precision={name}"], options.limit) for name in (options.precision, "f32"))
    pairs = alternate(low, full, options.rounds, (options.precision, "f32"))
    low.close()
    full.close()
    ratio, ratios, words = spread(pairs)
    print(f"instructions: {instructions()}")
    print(f"{options.precision} / f32: {words}")
    print(json.dumps({"ratio": ratio, "ratios": ratios, "tokens_per_s": [a for a, _ in pairs],
                      "float32_tokens_per_s": [b for _, b in pairs], "instructions": instructions()}))


if __name__ == "__main__":
    main()
