"""Data sets, each as three named splits in memory: train, search and test."""

from agmc.data.cifar import load_cifar10, load_cifar100
from agmc.data.digits import load_digits
from agmc.data.imagefolder import load_imagefolder
from agmc.data.mnist import load_mnist
from agmc.data.splits import Split, Splits, share_of_train

__all__ = [
    "Split",
    "Splits",
    "load_cifar10",
    "load_cifar100",
    "load_digits",
    "load_imagefolder",
    "load_mnist",
    "share_of_train",
]
