#!/usr/bin/env python3
"""Trains the quickstart's GPT in PyTorch from given weights on given batches, and prints its validation loss: Troupe's
must be within 2 % at equal steps.

    TROUPE_PEER_PYTHON tests/parity/quickstart_peer.py --weights model.safetensors --batches batches.npz --heads 8

weights: the initial parameters, with the names of cases.py. batches: an .npz of integers x and y [steps, batch,
tokens], valid_x and valid_y [batches, batch, tokens], and, when the learning rate is not constant, lr [steps].
--autocast: forward passes in that dtype as PyTorch has it, in f16 with its loss scaling. The last line is JSON:
{"losses": [one per step], "valid_loss": the mean over all validation tokens after the last step}.
"""

import argparse
import contextlib
import json
import sys
import time

import numpy as np
import peer
import torch
from safetensors.numpy import load_file


def validate(model, x, y) -> float:
    with torch.no_grad():
        losses = [peer.loss_of(model, {"x": a, "y": b}, torch.float32).item() for a, b in zip(x, y)]
    return float(np.mean(losses))


def autocast(name: str | None):
    """The context of a forward pass."""
    if name is None:
        return contextlib.nullcontext()
    return torch.autocast("cpu", dtype={"bf16": torch.bfloat16, "f16": torch.float16}[name])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--batches", required=True)
    parser.add_argument("--heads", type=int, default=8)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--betas", type=float, nargs=2, default=(0.9, 0.95))
    parser.add_argument("--weight-decay", type=float, default=0.1)
    parser.add_argument("--clip", type=float, default=1.0)
    parser.add_argument("--steps", type=int, help="at most these many of the batches")
    parser.add_argument("--autocast", choices=["bf16", "f16"])
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    weights, data = load_file(options.weights), np.load(options.batches)
    vocab, dim = weights["tok.weight"].shape
    layers = sum(name.endswith("attn.q.weight") for name in weights)
    model = peer.Gpt(vocab, layers, dim, options.heads, weights["pos.weight"].shape[0])
    peer.set_weights(model, {name: weights[name] for name in model.state_dict()})
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=options.lr, betas=tuple(options.betas), weight_decay=options.weight_decay
    )
    rates = data["lr"] if "lr" in data else None
    scaler = torch.amp.GradScaler("cpu", enabled=options.autocast == "f16")
    losses = []
    started = time.perf_counter()
    for step in range(min(len(data["x"]), options.steps or len(data["x"]))):
        if rates is not None:
            optimizer.param_groups[0]["lr"] = float(rates[step])
        optimizer.zero_grad(set_to_none=True)
        with autocast(options.autocast):
            loss = peer.loss_of(model, {"x": data["x"][step], "y": data["y"][step]}, torch.float32)
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        if options.clip:
            torch.nn.utils.clip_grad_norm_(model.parameters(), options.clip)
        scaler.step(optimizer)
        scaler.update()
        losses.append(loss.item())
        if step % 50 == 0:
            print(f"step {step}: loss {losses[-1]:.4f}, {time.perf_counter() - started:.0f} s", file=sys.stderr)
    print(json.dumps({"losses": losses, "valid_loss": validate(model, data["valid_x"], data["valid_y"])}))


if __name__ == "__main__":
    main()
