"""Clicks that look like those of an advertising log: values with long tails, numbers, and pairs that matter."""

from __future__ import annotations

import numpy as np

from models.wide_deep.model import Configuration

PAIRS = ((0, 1), (1, 2), (0, 2), (2, 3))
"""The fields that are crossed."""

FIELDS = Configuration(
    rows=(1000, 500, 200, 50), numeric=4, crosses=len(PAIRS), cross_rows=4000, dim=16, hidden=(64, 32)
)


def hashed(values: np.ndarray, salt: int, rows: int) -> np.ndarray:
    """The row of a table for each of the int64 values: Knuth's multiplicative hash of value and salt."""
    mixed = (values.astype(np.uint64) + np.uint64(salt + 1)) * np.uint64(0x9E3779B97F4A7C15)
    return ((mixed >> np.uint64(33)) % np.uint64(rows)).astype(np.int32)


def batch_of(raw: np.ndarray, numbers: np.ndarray, clicked: np.ndarray, c: Configuration) -> dict[str, np.ndarray]:
    """What the model reads: hashed ids of fields and of crossed pairs, numbers, and 1.0 for a click."""
    pairs = [raw[:, i] * np.int64(1_000_003) + raw[:, j] for i, j in PAIRS]
    return {
        "ids": np.stack([hashed(raw[:, field], field, rows) for field, rows in enumerate(c.rows)], 1),
        "numbers": numbers.astype(np.float32),
        "crosses": np.stack([hashed(pair, 100 + i, c.cross_rows) for i, pair in enumerate(pairs)], 1),
        "clicked": clicked.astype(np.float32),
    }


def generate(count: int, seed: int, c: Configuration = FIELDS) -> dict[str, np.ndarray]:
    """`count` samples; the same seed gives the same. A click depends on each value, on one pair and on the numbers."""
    random = np.random.default_rng(seed)
    # Ranks of a long tail: value v is about 1 / (v + 1) as likely as the first.
    raw = np.stack([(rows ** random.random(count)).astype(np.int64) - 1 for rows in c.rows], 1)
    numbers = random.standard_normal((count, c.numeric))
    taste = np.random.default_rng(1234)  # of all seeds alike
    each = sum(taste.normal(0, 0.7, rows)[raw[:, field]] for field, rows in enumerate(c.rows))
    pair = taste.normal(0, 1.5, (c.rows[0], c.rows[1]))[raw[:, 0], raw[:, 1]]
    logit = each + pair + numbers @ taste.normal(0, 0.5, c.numeric) - 1.0
    return batch_of(raw, numbers, random.random(count) < 1 / (1 + np.exp(-logit)), c)
