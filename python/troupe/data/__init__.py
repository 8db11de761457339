"""Training data: arrays in memory or in files, files of tokens, or any iterable of dicts of arrays."""

from troupe.data.arrays import Arrays, arrays
from troupe.data.source import Data
from troupe.data.tokens import Tokens, tokens

__all__ = ["Arrays", "Data", "Tokens", "arrays", "tokens"]
