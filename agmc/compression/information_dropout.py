"""Variational pruning by information dropout: what can be noisy can go."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from agmc.graph.model_graph import ChannelGroup, ModelGraph
from agmc.graph.weighted import OUTPUT_DIM, weight_of, weighted_layers
from agmc.plan import Plan

#: (images, logits, labels) -> mean loss, as `agmc.training.fit` takes it.
Objective = Callable[[Tensor, Tensor, Tensor], Tensor]
#: From further down it would take long to come back.
_LEAST_ALPHA = 1e-3


class InformationDropout:
    r"""Noise on the weights of a network, and how much of it each can bear.

    In training mode a weight w is :math:`w\,\varepsilon` with the log-normal noise
    :math:`\log\varepsilon \sim N(-\alpha^2 / 2, \alpha^2)`, whose mean is 1, drawn anew
    for every batch. Under the log-uniform prior, as behind a ReLU,

    .. math::
        \mathrm{KL} = -H\big(N(\log |w| - \alpha^2 / 2, \alpha^2)\big) + \mathrm{const}
        = -\log \alpha + \mathrm{const}

    (Achille and Soatto 2018, arXiv 1611.01353, eq. 6 to 8; the prior knows no scale, so
    that the mean of the noise changes nothing), and what is minimised is

    .. math::
        \mathrm{CE} + \frac{\beta}{N} \sum_i \log \frac{\alpha_{\max}}{\alpha_i}

    with N training images, after Molchanov et al. 2017, arXiv 1701.05369. With the
    curvature h of the cross-entropy it is least at
    :math:`\alpha_i^2 = \beta / (N h w_i^2)`: what matters little becomes noisy, up to
    :math:`\alpha_{\max}`, and is dropped there.

    Per element, every weight of a layer has noise of its own. Per channel, all weights
    that read a channel of a group share theirs, so that it is the channel behind batch
    norm and ReLU that is noisy: batch norm would undo noise on the weights that make
    it.

    `fit` trains the alphas along with the network; they are vectors, which it does not
    decay. Noise is there from construction to `remove`; in between the state dict has
    other names.

    Args:
        network: to be trained; holds the parameters of the graph by their names.
        graph: of the network.
        num_images: N, of the training split, >= 1.
        beta: what a nat of information costs, > 0. 1 is the variational bound, and
            right for channels; of elements, where there are far more than images, it
            drops nearly all: there, begin with 0.01.
        per: `element` or `channel`.
        max_alpha: largest alpha, > 0.001. The paper's 0.7 is noise of 0.63 times the
            square of the signal, 1.75 Molchanov's 20 times.
        initial_alpha: in [0.001, max_alpha].
        speed: of the noise where nothing needs the weight, > 0: a step of SGD adds
            `speed` times its learning rate to the logarithm of alpha. The default takes
            about 200 steps of a fine-tuning; faster noise sees less of what matters.
        threshold: share of `max_alpha` from which on something is dropped, in (0, 1).

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(
        self,
        network: nn.Module,
        graph: ModelGraph,
        *,
        num_images: int,
        beta: float,
        per: str = "element",
        max_alpha: float = 0.7,
        initial_alpha: float = 0.1,
        speed: float = 0.05,
        threshold: float = 0.9,
    ) -> None:
        if per not in ("element", "channel"):
            raise ValueError(f"per (={per!r}) must be element or channel")
        if num_images < 1:
            raise ValueError(f"num_images (={num_images}) must be >= 1")
        for name, value in (("beta", beta), ("max_alpha", max_alpha), ("speed", speed)):
            if not 0 < value < math.inf:
                raise ValueError(f"{name} (={value}) must be > 0")
        if not _LEAST_ALPHA <= initial_alpha <= max_alpha:
            raise ValueError(
                f"initial_alpha (={initial_alpha}) must be in [{_LEAST_ALPHA}, "
                f"max_alpha (={max_alpha})]"
            )
        if not 0 < threshold < 1:
            raise ValueError(f"threshold (={threshold}) must be in (0, 1)")
        self._nat = beta / num_images
        self._least = threshold * max_alpha
        self._of_channels = per == "channel"
        self._alphas: dict[str, _Alphas] = {}
        self._noisy: list[tuple[nn.Module, str]] = []
        self._orders: dict[nn.Module, list[str]] = {}
        self._zeros: dict[str, tuple[nn.Parameter, Tensor]] = {}

        # A step of a parameter moves the logarithm `unit` times as far, and so does the
        # gradient: that of the KL term moves it by `speed`, whatever a nat costs.
        unit = math.sqrt(speed / self._nat)

        def alphas(name: str, shape: Iterable[int], like: Tensor) -> _Alphas:
            made = _Alphas(tuple(shape), max_alpha, initial_alpha, unit)
            return self._alphas.setdefault(name, made.to(like.device))

        for layer, operation in weighted_layers(graph.program).items():
            name = weight_of(operation)
            weight = network.get_parameter(name)
            noise: nn.Module | None
            if self._of_channels:
                dim = 1 - OUTPUT_DIM[operation.kind]
                noise = _channel_noise(graph.groups, name, dim, weight, alphas)
            else:
                noise = _ElementNoise(alphas(layer, weight.shape, weight))
            if noise is not None:
                path, _, key = name.rpartition(".")
                module = network.get_submodule(path)
                self._orders.setdefault(module, [*module._parameters])
                parametrize.register_parametrization(module, key, noise.eval())
                self._noisy.append((module, key))
            if (weight == 0).any():
                self._zeros[layer] = weight, weight.detach() == 0

    def objective(self, loss: Objective) -> Objective:
        """The loss, (images, logits, labels) -> mean, and the KL term: for `fit`."""

        def objective(images: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
            kl = torch.stack([alphas.kl() for alphas in self._alphas.values()]).sum()
            return loss(images, logits, labels) + self._nat * kl

        return objective

    def hold(self, step: int = 0, num_steps: int = 0) -> None:
        """Sets to zero again what was zero at first; called after a step of `fit`."""
        with torch.no_grad():
            for weight, mask in self._zeros.values():
                weight.masked_fill_(mask, 0)

    def alphas(self) -> dict[str, Tensor]:
        """Layer -> alphas [shape of its weight]; or channel group -> alphas [size]."""
        return {name: alphas.values() for name, alphas in self._alphas.items()}

    def masks(self) -> dict[str, Tensor]:
        """What is dropped: bool, of the names and shapes of `alphas`.

        Of elements, also what was zero at first. The least noisy of each always stays.
        Those of layers go to `agmc.compression.sparsify.zero`.
        """
        masks = {}
        for name, alphas in self.alphas().items():
            if name in self._zeros and not self._of_channels:
                alphas = alphas.masked_fill(self._zeros[name][1], math.inf)
            masks[name] = alphas >= self._least
            masks[name].view(-1)[alphas.argmin()] = False
        return masks

    def plan(self) -> Plan:
        """The plan that drops it: `sparsity` of layers, or `keep_ratio` of groups."""
        masks = self.masks().items()
        shares = {name: int(mask.sum()) / mask.numel() for name, mask in masks}
        if self._of_channels:
            return Plan({name: 1 - share for name, share in shares.items()})
        return Plan({}, sparsity=shares)

    def importance(
        self,
        group: ChannelGroup,
        tensors: Mapping[str, Tensor],
        gradients: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """The least noisy channels first: takes the place of an `Importance`.

        Float32 [group.size], on the CPU; 0 for groups without noise.
        """
        if not self._of_channels or group.name not in self._alphas:
            return torch.zeros(group.size)
        return -self.alphas()[group.name].cpu()

    def remove(self) -> None:
        """Takes the noise away and leaves the weights as they are without it."""
        for module, key in self._noisy:
            parametrize.remove_parametrizations(module, key, leave_parametrized=False)
        for module, order in self._orders.items():  # weights have come last
            for name in order:
                module.register_parameter(name, module._parameters.pop(name))
        self._noisy.clear()
        self._orders.clear()


class _Alphas(nn.Module):
    """How noisy each of some weights or channels is; called, it draws their noise."""

    def __init__(
        self, shape: tuple[int, ...], most: float, initial: float, unit: float
    ) -> None:
        super().__init__()
        self.shape = shape
        self.ends = math.log(_LEAST_ALPHA), math.log(most)
        self.unit = unit
        start = math.log(initial) / unit
        self.scaled = nn.Parameter(torch.full((math.prod(shape),), start))

    def forward(self) -> Tensor:
        """Noise of mean 1, of the shape."""
        with torch.no_grad():  # where the last step has led out of the range
            self.scaled.clamp_(*(end / self.unit for end in self.ends))
        alpha = (self.scaled * self.unit).exp().view(self.shape)
        return (alpha * torch.randn_like(alpha) - alpha.square() / 2).exp()

    def kl(self) -> Tensor:
        """In nats, summed; 0 where all are at their maximum."""
        return (self.ends[1] - self.scaled * self.unit).sum()

    def values(self) -> Tensor:
        """The alphas, of the shape."""
        logarithm = (self.scaled.detach() * self.unit).clamp(*self.ends)
        return logarithm.exp().view(self.shape)


class _ElementNoise(nn.Module):
    def __init__(self, alphas: _Alphas) -> None:
        super().__init__()
        self.alphas = alphas

    def forward(self, weight: Tensor) -> Tensor:
        return weight * self.alphas() if self.training else weight


class _ChannelNoise(nn.Module):
    """Noise along one dimension of a weight.

    Args:
        alphas: of the groups whose channels the weight reads.
        positions: int64, broadcast against the weight: which of their channels, counted
            through, the weight reads there; one more for none.
    """

    positions: Tensor

    def __init__(self, alphas: Iterable[_Alphas], positions: Tensor) -> None:
        super().__init__()
        self.alphas = nn.ModuleList(alphas)
        self.register_buffer("positions", positions, persistent=False)

    def forward(self, weight: Tensor) -> Tensor:
        if not self.training:
            return weight
        noise = torch.cat([alphas() for alphas in self.alphas])
        return weight * F.pad(noise, (0, 1), value=1.0)[self.positions]


def _channel_noise(
    groups: Iterable[ChannelGroup],
    name: str,
    dim: int,
    weight: Tensor,
    alphas: Callable[[str, Iterable[int], Tensor], Any],
) -> _ChannelNoise | None:
    """Of the weight that reads channels along a dimension; None if it reads none."""
    found = []
    positions = torch.full((weight.shape[dim],), -1)
    count = 0
    for group in groups:
        read = [c for c in group.slices if (c.parameter, c.dim) == (name, dim)]
        for cut in read:
            index = torch.from_numpy(cut.index)
            rows = torch.arange(count, count + group.size)
            positions[index] = rows[:, None].expand_as(index)
        if read:
            found.append(alphas(group.name, [group.size], weight))
            count += group.size
    if not found:
        return None
    positions[positions < 0] = count
    shape = [-1 if d == dim else 1 for d in range(weight.ndim)]
    return _ChannelNoise(found, positions.view(shape).to(weight.device))
