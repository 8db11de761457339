"""Optimizers and learning-rate schedules, as in PyTorch."""

from troupe.optim import schedule
from troupe.optim.adam import Adam, AdamW
from troupe.optim.lamb import LAMB
from troupe.optim.optimizer import Optimizer
from troupe.optim.sgd import SGD

__all__ = ["Adam", "AdamW", "LAMB", "Optimizer", "SGD", "schedule"]
