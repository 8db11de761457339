#!/usr/bin/env python3
"""Computes the logits of a Mixtral in PyTorch, in float64, from a checkpoint in Hugging Face's form.

    TROUPE_PEER_PYTHON tests/parity/mixtral_peer.py --weights model.safetensors --ids ids.npy --logits y.npy ...

ids: integers [batch, tokens]; logits: where the result goes, [batch, tokens, vocab]. All sizes that the tensors do not
tell are options.
"""

import argparse

import cases
import numpy as np
import peer
import torch
from safetensors.numpy import load_file
from torch import nn
from torch.nn import functional as F


class Expert(nn.Module):
    def __init__(self, dim, hidden):
        super().__init__()
        self.w1, self.w3 = (nn.Linear(dim, hidden, bias=False) for _ in range(2))
        self.w2 = nn.Linear(hidden, dim, bias=False)

    def forward(self, x):
        return self.w2(F.silu(self.w1(x)) * self.w3(x))


class SparseMoe(nn.Module):
    def __init__(self, case):
        super().__init__()
        self.chosen = case.chosen
        self.gate = nn.Linear(case.dim, case.experts, bias=False)
        self.experts = nn.ModuleList([Expert(case.dim, case.hidden) for _ in range(case.experts)])

    def forward(self, x):
        logits, choices = self.gate(x).topk(self.chosen, -1)
        weights = logits.softmax(-1)
        y = torch.zeros_like(x)
        for number, expert in enumerate(self.experts):
            *token, choice = torch.where(choices == number)
            y.index_put_(token, weights[(*token, choice)][:, None] * expert(x[tuple(token)]), accumulate=True)
        return y


class Block(peer.LlamaBlock):
    def __init__(self, case):
        super().__init__(case)
        del self.moe
        self.block_sparse_moe = SparseMoe(case)

    def forward(self, x):
        x = x + self.self_attn(self.input_layernorm(x))
        return x + self.block_sparse_moe(self.post_attention_layernorm(x))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("weights", "ids", "logits"):
        parser.add_argument(f"--{name}", required=True)
    for name in ("heads", "kv_heads", "chosen"):
        parser.add_argument(f"--{name}", type=int, required=True)
    for name in ("theta", "eps"):
        parser.add_argument(f"--{name}", type=float, required=True)
    options = parser.parse_args()

    weights, ids = load_file(options.weights), np.load(options.ids)
    vocab, dim = weights["lm_head.weight"].shape
    moe = "model.layers.0.block_sparse_moe"
    case = cases.Moe(
        layers=sum(name.endswith("block_sparse_moe.gate.weight") for name in weights),
        dim=dim,
        heads=options.heads,
        kv_heads=options.kv_heads,
        hidden=weights[f"{moe}.experts.0.w1.weight"].shape[0],
        batch=len(ids),
        tokens=ids.shape[1],
        vocab=vocab,
        theta=options.theta,
        eps=options.eps,
        experts=weights[f"{moe}.gate.weight"].shape[0],
        chosen=options.chosen,
    )
    model = peer.Llama(case)
    model.model.layers = nn.Sequential(*(Block(case) for _ in range(case.layers)))
    peer.set_weights(model, weights)
    with torch.no_grad():
        np.save(options.logits, model.double()(torch.from_numpy(ids)).numpy())


if __name__ == "__main__":
    main()
