"""Optimizers and learning-rate schedules, as in PyTorch."""

from troupe.optim import schedule
from troupe.optim.adafactor import Adafactor
from troupe.optim.adam import Adam, AdamW
from troupe.optim.combined import Combined
from troupe.optim.lamb import LAMB
from troupe.optim.muon import Muon
from troupe.optim.optimizer import Optimizer
from troupe.optim.sgd import SGD

__all__ = ["Adafactor", "Adam", "AdamW", "Combined", "LAMB", "Muon", "Optimizer", "SGD", "schedule"]
