"""Modules and parameters, as in PyTorch."""

from troupe.nn import init
from troupe.nn.batch_norm import BatchNorm1d, BatchNorm2d
from troupe.nn.convolution import AdaptiveAvgPool2d, AvgPool2d, Conv2d, Flatten, MaxPool2d
from troupe.nn.experts import ExpertLinear, Experts, MoE, Router
from troupe.nn.layers import (
    BCEWithLogitsLoss,
    GELU,
    CrossEntropyLoss,
    Dropout,
    Embedding,
    EmbeddingBag,
    Identity,
    LayerNorm,
    Linear,
    ModuleList,
    MSELoss,
    ReLU,
    RMSNorm,
    Sequential,
    SiLU,
    Tanh,
)
from troupe.nn.module import Module
from troupe.nn.parameter import Parameter

__all__ = [
    "AdaptiveAvgPool2d",
    "AvgPool2d",
    "BCEWithLogitsLoss",
    "BatchNorm1d",
    "BatchNorm2d",
    "Conv2d",
    "Flatten",
    "MaxPool2d",
    "CrossEntropyLoss",
    "Dropout",
    "Embedding",
    "EmbeddingBag",
    "ExpertLinear",
    "Experts",
    "GELU",
    "Identity",
    "LayerNorm",
    "Linear",
    "MSELoss",
    "MoE",
    "Module",
    "ModuleList",
    "Parameter",
    "RMSNorm",
    "ReLU",
    "Router",
    "Sequential",
    "SiLU",
    "Tanh",
    "init",
]
