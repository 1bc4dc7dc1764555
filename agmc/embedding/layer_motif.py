"""LayerMotif: the graph of one layer and its channels, embedded in closed form."""

from __future__ import annotations

import torch
from torch import Tensor, nn

#: The three kinds of nodes: what is split, one node a channel, what is summed.
_KINDS = 3


class LayerMotif(nn.Module):
    """Level 1 of GNN-RL (arXiv 2102.03214): split -> n channel operations -> sum.

    A graph convolution (Kipf and Welling, ICLR 2017), tanh, the mean over the nodes, a
    linear layer, tanh. All nodes of a layer have the columns of the layer, and each the
    kind that it is of. The n channel operations are identical, so one of them is
    computed and counted n times, and the cost does not grow with n. With self-loops the
    degrees are 1, 2 and n + 1, which gives, with u = W (columns) and w the columns of W
    for the kinds,

        split   tanh(b + u + w_split)
        channel tanh(b + (u + w_channel) / 2 + (u + w_split) / sqrt(2))
        sum     tanh(b + (u + w_sum) / (n + 1) + n (u + w_channel) / sqrt(2 (n + 1)))

    Shapes:
        static [L, num_static], dynamic [L, P, num_dynamic], channels [L, P] ->
        [L, P, dim], for L layers under P plans.

    Args:
        num_static: columns of a layer that no plan changes.
        num_dynamic: columns that a plan changes.
        hidden: width of the convolution.
        dim: of the result.
    """

    def __init__(
        self, num_static: int, num_dynamic: int, hidden: int, dim: int
    ) -> None:
        super().__init__()
        self.static = nn.Linear(num_static, hidden, bias=False)
        self.dynamic = nn.Linear(num_dynamic, hidden, bias=False)
        self.kinds = nn.Linear(_KINDS, hidden)  # its bias is that of the convolution
        self.output = nn.Linear(hidden, dim)

    def forward(self, static: Tensor, dynamic: Tensor, channels: Tensor) -> Tensor:
        """The embeddings of all layers under all plans."""
        n = channels[..., None]
        u = self.static(static)[:, None] + self.dynamic(dynamic)
        split, channel, total = self.kinds.weight.T
        bias = self.kinds.bias
        of_split = torch.tanh(u + (bias + split))
        of_channel = torch.tanh(
            u * (0.5 + 0.5**0.5) + (bias + channel / 2 + split * 0.5**0.5)
        )
        own, from_channels = 1 / (n + 1), n * (2 * (n + 1)).rsqrt()
        of_sum = torch.tanh(
            u * (own + from_channels) + total * own + channel * from_channels + bias
        )
        mean = (of_split + n * of_channel + of_sum) / (n + 2)
        return torch.tanh(self.output(mean))
