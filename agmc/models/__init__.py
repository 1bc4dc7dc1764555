"""Networks that torchvision lacks, and every network by its name."""

from agmc.models.cifar_resnet import CifarResNet
from agmc.models.registry import build, names
from agmc.models.weights import (
    classes_of,
    fresh_in,
    load_model,
    load_weights,
    save_weights,
)

__all__ = [
    "CifarResNet",
    "build",
    "classes_of",
    "fresh_in",
    "load_model",
    "load_weights",
    "names",
    "save_weights",
]
