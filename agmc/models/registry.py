"""Every network by its name: agmc's own, torchvision's classifiers, anyone's."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any

from torch import nn

from agmc import torchvision_ops  # noqa: F401  (must run before torchvision)
from agmc.models import (
    checks,
    cifar_densenet,
    cifar_mobilenet,
    cifar_plain,
    cifar_resnet,
    cifar_shufflenet,
    cifar_vgg,
    mnist_conv,
)

_OWN: dict[str, Callable[..., nn.Module]] = {
    "resnet8": cifar_resnet.resnet8,
    "resnet14": cifar_resnet.resnet14,
    "resnet20": cifar_resnet.resnet20,
    "resnet32": cifar_resnet.resnet32,
    "resnet44": cifar_resnet.resnet44,
    "resnet56": cifar_resnet.resnet56,
    "resnet110": cifar_resnet.resnet110,
    "plain20": cifar_plain.plain20,
    "plain32": cifar_plain.plain32,
    "vgg11_bn_cifar": cifar_vgg.vgg11_bn_cifar,
    "vgg16_bn_cifar": cifar_vgg.vgg16_bn_cifar,
    "vgg19_bn_cifar": cifar_vgg.vgg19_bn_cifar,
    "mobilenet_v2_cifar": cifar_mobilenet.mobilenet_v2_cifar,
    "shufflenet_v2_cifar": cifar_shufflenet.shufflenet_v2_cifar,
    "densenet22_cifar": cifar_densenet.densenet22_cifar,
    "densenet40_cifar": cifar_densenet.densenet40_cifar,
    "conv_mnist": mnist_conv.conv_mnist,
}
# Their auxiliary heads serve training from scratch only, and make the output a tuple.
_TORCHVISION_ARGUMENTS: dict[str, dict[str, Any]] = {
    "googlenet": {"aux_logits": False, "init_weights": True},
    "inception_v3": {"aux_logits": False, "init_weights": True},
}


def names() -> list[str]:
    """The names of agmc's own networks."""
    return list(_OWN)


def build(
    name: str, *, num_classes: int, in_channels: int = 3, **arguments: Any
) -> nn.Module:
    """A freshly initialised classifier.

    Args:
        name: one of `names()`; a torchvision classifier as `torchvision.NAME` or plain
            `NAME`; or any callable as `package.module:callable`, which is called with
            `num_classes`.
        num_classes: >= 1.
        in_channels: of the images; torchvision's networks take 3. A callable gets it
            only when it is not 3.
        **arguments: handed on to the constructor.

    Returns:
        a module from images [N, in_channels, H, W] to logits [N, num_classes].

    Raises:
        ValueError: there is no such network, or it cannot be built like that.
    """
    checks.positive(num_classes=num_classes)
    if name in _OWN:
        shape = {"num_classes": num_classes, "in_channels": in_channels}
        return _called(name, _OWN[name], **shape, **arguments)
    if ":" in name:
        if in_channels != 3:
            arguments["in_channels"] = in_channels
        return _imported(name, num_classes=num_classes, **arguments)
    return _torchvision(name, num_classes, in_channels, arguments)


def _torchvision(
    name: str, num_classes: int, in_channels: int, arguments: dict[str, Any]
) -> nn.Module:
    import torchvision

    plain = name.removeprefix("torchvision.")
    if plain not in torchvision.models.list_models(module=torchvision.models):
        raise ValueError(
            f"unknown model {name!r}; choose one of {', '.join(_OWN)}, a torchvision "
            "classifier such as torchvision.resnet18, or your own as "
            "package.module:callable"
        )
    if in_channels != 3:
        raise ValueError(
            f"model {name!r} takes 3 channels, the images have {in_channels}; choose "
            f"one of {', '.join(_OWN)} or your own as package.module:callable"
        )
    arguments = {**_TORCHVISION_ARGUMENTS.get(plain, {}), **arguments}
    build = functools.partial(torchvision.models.get_model, plain, weights=None)
    return _called(name, build, num_classes=num_classes, **arguments)


def _imported(name: str, **arguments: Any) -> nn.Module:
    module_name, _, attribute = name.partition(":")
    try:
        function = importlib.import_module(module_name)
        for part in attribute.split("."):
            function = getattr(function, part)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(
            f"model {name!r} cannot be imported ({error}); expected "
            "package.module:callable with the package on PYTHONPATH"
        ) from error
    model = _called(name, function, **arguments)  # type: ignore[arg-type]
    if not isinstance(model, nn.Module):
        raise ValueError(
            f"model {name!r} returned a {type(model).__name__}, not a torch.nn.Module"
        )
    return model


def _called(
    name: str, function: Callable[..., nn.Module], **arguments: Any
) -> nn.Module:
    try:
        return function(**arguments)
    except TypeError as error:
        raise ValueError(
            f"model {name!r} cannot be called with {', '.join(arguments)} ({error})"
        ) from error
