"""Masked words to train on: pairs of pieces of text of unequal lengths, with some words hidden."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from troupe.batch import Field
from troupe.data import Tokens
from troupe.data.source import FedData

BYTES = 256
MASK, START, END, PADDING = range(BYTES, BYTES + 4)
VOCAB = BYTES + 4
"""Bytes are the words; four more stand for a hidden word, the start, the end of a piece, and what fills a row up."""
SPECIAL = 3
"""Words of a row that are no text: the start and two ends."""
IGNORED = -100
"""The label where nothing is to be found."""
HIDDEN_PERCENT = 15


class MaskedText(FedData):
    """Rows "x" of [start, text, end, text, end, padding], "segments" 0 up to the first end and 1 after it, "mask" false
    for padding, and "y": the words of text that were chosen to be found, -100 elsewhere.

    Of the words of text 15 % are chosen; of these 80 % are hidden, 10 % become another byte and 10 % stay. All choices
    are drawn by (seed, step) alone. A row is filled by half to the whole of a window of `text`.
    """

    def __init__(self, text: Tokens, seed: int = 0):
        self._text, self._seed = text, seed
        self.context = text.seq + SPECIAL
        fields = {name: Field("i32", (self.context,)) for name in ("x", "segments", "y")}
        super().__init__(fields | {"mask": Field("bool", (self.context,))}, text.batch_rows)

    def batch_at(self, step: int) -> dict[str, np.ndarray]:
        return self._masked(self._text.batch_at(step)["x"], np.random.PCG64([self._seed, step]))

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        for step, batch in enumerate(self._text):
            yield self._masked(batch["x"], np.random.PCG64([self._seed, step, 1]))

    def _masked(self, text: np.ndarray, bits: np.random.PCG64) -> dict[str, np.ndarray]:
        rows, window = text.shape
        place = np.arange(self.context)
        length = window - (bits.random_raw(rows) % (window // 2 + 1)).astype(np.int64)[:, None]
        first = length // 2 + 1  # the place of the first end
        is_end = (place == first) | (place == length + 2)
        mask = place < length + SPECIAL
        # The text goes around the start and the first end.
        source = np.clip(place - 1 - (place > first), 0, window - 1)
        words = np.take_along_axis(text, source, 1)
        words = np.where(is_end, END, np.where(place == 0, START, np.where(mask, words, PADDING)))
        choice, fate, other = bits.random_raw(3 * words.size).reshape(3, *words.shape)
        chosen = (choice % 100 < HIDDEN_PERCENT) & (words < BYTES)
        changed = np.where(fate % 10 < 8, MASK, np.where(fate % 10 < 9, other % BYTES, words))
        found = {
            "x": np.where(chosen, changed, words),
            "segments": (place > first) & mask,
            "y": np.where(chosen, words, IGNORED),
        }
        return {name: values.astype(np.int32) for name, values in found.items()} | {"mask": mask}
