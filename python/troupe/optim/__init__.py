"""Optimizers and learning-rate schedules, as in PyTorch."""

from troupe.optim import schedule
from troupe.optim.optimizer import SGD, AdamW, Optimizer

__all__ = ["AdamW", "Optimizer", "SGD", "schedule"]
