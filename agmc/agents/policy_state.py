"""Policy state: weights that leave one agent and enter another."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from agmc.finite import not_finite


def state_of(module: nn.Module) -> dict[str, Tensor]:
    """A copy of the weights of a module and of its persistent buffers."""
    return {
        name: value.detach().clone(memory_format=torch.contiguous_format)
        for name, value in module.state_dict().items()
    }


def load_state(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Puts weights in the place of those of a module.

    Raises:
        ValueError: they are others than the module has, of other shapes or not finite;
            the module is untouched.
    """
    check_state(module.state_dict(), state)
    module.load_state_dict(dict(state))


def check_state(own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> None:
    """Raises ValueError for tensors that could not take the place of one's own."""
    for name in sorted({*own, *state}):
        shapes = [
            list(tensors[name].shape) if name in tensors else "missing"
            for tensors in (state, own)
        ]
        if shapes[0] != shapes[1]:
            raise ValueError(
                f"{name} of the policy is {shapes[0]}, and {shapes[1]} is what fits "
                "here; take the embedding, the agent and as many budgets as it was "
                "trained with"
            )
    if broken := not_finite(state):
        raise ValueError(
            f"{broken} of the policy holds NaN or infinity; train it again with lower "
            "learning rates"
        )
