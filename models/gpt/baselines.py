"""What counting gives: bigram and trigram tables fitted on the same bytes, as a yardstick for the model's loss."""

from __future__ import annotations

import numpy as np

VOCAB = 256
BACKOFF = 2.0
"""So many counts the shorter table's opinion is worth in the longer one's."""


class Tables:
    """Counts of bytes after one byte and after two; each table falls back on the shorter one."""

    def __init__(self, tokens: np.ndarray):
        t = tokens.astype(np.int64)
        counts = np.bincount(t, minlength=VOCAB) + 1.0
        unigram = counts / counts.sum()
        pairs = np.bincount(t[:-1] * VOCAB + t[1:], minlength=VOCAB**2).reshape(VOCAB, VOCAB)
        self._bigram = (pairs + BACKOFF * unigram) / (pairs.sum(1, keepdims=True) + BACKOFF)
        triples = (t[:-2] * VOCAB + t[1:-1]) * VOCAB + t[2:]
        self._triples = np.bincount(triples, minlength=VOCAB**3).astype(np.float32)
        self._contexts = self._triples.reshape(VOCAB**2, VOCAB).sum(1)

    def losses(self, tokens: np.ndarray, starts: np.ndarray, seq: int) -> tuple[float, float]:
        """The mean loss per byte of the bigram and of the trigram table over windows of `seq` predictions."""
        at = (starts[:, None] + np.arange(2, seq + 2)[None, :]).ravel()
        first, second, target = (tokens[at - back].astype(np.int64) for back in (2, 1, 0))
        bigram = self._bigram[second, target]
        context = first * VOCAB + second
        trigram = (self._triples[context * VOCAB + target] + BACKOFF * bigram) / (
            self._contexts[context] + BACKOFF
        )
        return float(-np.log(bigram).mean()), float(-np.log(trigram).mean())
