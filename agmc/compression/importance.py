"""How much a channel matters: scores of tensors, made comparable and summed up.

Every function here is a plain choice: a `Score` looks at one tensor, a `Normalise`
makes the scores of different tensors comparable, a `Reduce` sums up what the tensors
say. An `Importance` puts the three together; `l1`, `l2`, ... are ready-made ones.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from agmc.graph.example import evaluation_mode
from agmc.graph.model_graph import ChannelGroup


@dataclass(frozen=True)
class Part:
    """One tensor in which channels lie.

    Attributes:
        name: qualified name of the parameter.
        value: float32, detached.
        dim: along which the channels lie.
        gradient: its size in the loss, like `value`; None if none was handed in.
    """

    name: str
    value: Tensor
    dim: int
    gradient: Tensor | None = None

    def rows(self) -> Tensor:
        """The value with the channels first, [size along dim, all else]."""
        return self.value.movedim(self.dim, 0).reshape(self.value.shape[self.dim], -1)


#: One score >= 0 for every position along the part's dim; None: it says nothing.
Score = Callable[[Part], Tensor | None]
#: [channels] -> [channels]: makes scores of different tensors comparable.
Normalise = Callable[[Tensor], Tensor]
#: [tensors, channels] -> [channels].
Reduce = Callable[[Tensor], Tensor]


def l1_norm(part: Part) -> Tensor | None:
    """Sum of absolute weights of a channel (Li et al. 2017, arXiv 1608.08710)."""
    return part.rows().abs().sum(1) if part.value.ndim > 1 else None


def l2_norm(part: Part) -> Tensor | None:
    """Euclidean norm of a channel's weights."""
    return part.rows().norm(dim=1) if part.value.ndim > 1 else None


def scale(part: Part) -> Tensor | None:
    """|gamma| of batch norm and its like (Liu et al. 2017, arXiv 1708.06519)."""
    vector = part.value.ndim == 1 and part.name.endswith("weight")
    return part.value.abs() if vector else None


def first_order_taylor(part: Part) -> Tensor | None:
    """Sum of (gradient x weight)^2 (Molchanov et al. 2019, arXiv 1906.10771, eq. 7).

    Raises:
        ValueError: no gradients were handed in.
    """
    if part.value.ndim < 2:
        return None
    if part.gradient is None:
        raise ValueError(
            f"the Taylor importance of {part.name} needs gradients: hand those of "
            "`gradients(model, batches)` to the Pruner"
        )
    product = part.gradient.to(part.value) * part.value
    return product.square().movedim(part.dim, 0).flatten(1).sum(1)


def distance_to_others(part: Part) -> Tensor | None:
    """Sum of the distances to all other channels (FPGM, arXiv 1811.00250).

    Channels near the geometric median of the layer can be replaced by the others.
    """
    if part.value.ndim < 2:
        return None
    rows = part.rows()
    return torch.cdist(rows, rows).sum(1)


def layer_adaptive(part: Part) -> Tensor | None:
    """`share_of_no_smaller` of the squared norms: LAMP for whole channels."""
    if part.value.ndim < 2:
        return None
    return share_of_no_smaller(part.rows().square().sum(1))


def share_of_no_smaller(squares: Tensor) -> Tensor:
    """u_j / sum of all u_k that are not smaller (LAMP, Lee et al., arXiv 2010.07611).

    Args:
        squares: of the weights of one layer, [N]; of equals, a later one counts as the
            larger.

    Returns:
        [N], in the order of the squares and at most 1, which the largest has.
    """
    order = squares.argsort(stable=True)
    from_here_up = squares[order].flip(0).cumsum(0).flip(0)
    scores = torch.empty_like(squares)
    scores[order] = squares[order] / from_here_up.clamp_min(1e-30)
    return scores


def random_score(part: Part) -> Tensor | None:
    """Uniform in [0, 1), the same at every call for a parameter of the same name."""
    if part.value.ndim < 2:
        return None
    generator = torch.Generator().manual_seed(zlib.crc32(part.name.encode()))
    return torch.rand(part.value.shape[part.dim], generator=generator)


def by_mean(scores: Tensor) -> Tensor:
    """Divided by the mean: a layer counts by how its channels differ."""
    return scores / scores.mean().clamp_min(1e-12)


def by_maximum(scores: Tensor) -> Tensor:
    """Divided by the maximum."""
    return scores / scores.max().clamp_min(1e-12)


def as_they_are(scores: Tensor) -> Tensor:
    """Not normalised."""
    return scores


def mean(scores: Tensor) -> Tensor:
    """The mean over the tensors."""
    return scores.mean(0)


def maximum(scores: Tensor) -> Tensor:
    """The maximum over the tensors."""
    return scores.amax(0)


def first(scores: Tensor) -> Tensor:
    """What the first tensor says: mostly the layer that makes the channels."""
    return scores[0]


@dataclass(frozen=True)
class Importance:
    """Scores of the channels of a group over all tensors that make or read them.

    Attributes:
        score: of the channels in one tensor.
        normalise: makes the scores of the tensors comparable.
        reduce: of the tensors.
        needs_gradients: whether the score reads gradients of the loss.
    """

    score: Score
    normalise: Normalise = by_mean
    reduce: Reduce = mean
    needs_gradients: bool = False

    def __call__(
        self,
        group: ChannelGroup,
        tensors: Mapping[str, Tensor],
        gradients: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """Float32 [group.size], on the CPU; those with the highest stay.

        Where no tensor says anything (no batch norm for `scale`), the L1 norm decides;
        where there are vectors only, all are 0.

        Args:
            group: the channels.
            tensors: qualified name -> tensor; holds every parameter of the group.
            gradients: qualified name -> tensor, for scores that need them.
        """
        return self._scores(self.score, group, tensors, gradients or {})

    def _scores(
        self,
        score: Score,
        group: ChannelGroup,
        tensors: Mapping[str, Tensor],
        gradients: Mapping[str, Tensor],
    ) -> Tensor:
        found = []
        for cut in group.slices:
            value = tensors[cut.parameter].detach()
            if not value.is_floating_point():
                continue
            part = Part(
                cut.parameter, value.float(), cut.dim, gradients.get(cut.parameter)
            )
            scores = score(part)
            if scores is not None:
                index = torch.from_numpy(cut.index)
                found.append(self.normalise(scores.cpu()[index].sum(1)))
        if found:
            return self.reduce(torch.stack(found))
        if score is l1_norm:
            return torch.zeros(group.size)
        return self._scores(l1_norm, group, tensors, gradients)


l1 = Importance(l1_norm)
l2 = Importance(l2_norm)
batch_norm_scale = Importance(scale)
taylor = Importance(first_order_taylor, needs_gradients=True)
geometric_median = Importance(distance_to_others)
lamp = Importance(layer_adaptive, normalise=as_they_are)
random = Importance(random_score)


def gradients(
    model: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    *,
    loss: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy,
) -> dict[str, Tensor]:
    """Root mean square of the gradients of small batches, in evaluation mode.

    Their mean is near 0 in a trained network. The model is left as it was.

    Args:
        model: the network, on the device of the batches.
        batches: of (inputs, labels); training data, never what is searched on.
        loss: (outputs, labels) -> scalar.

    Returns:
        qualified name -> tensor >= 0, on the CPU; zeros where the loss does not reach.
    """
    named = dict(model.named_parameters())
    total = {name: torch.zeros(p.shape) for name, p in named.items()}
    trained = {name: p for name, p in named.items() if p.requires_grad}
    count = 0
    with evaluation_mode(model):
        for inputs, labels in batches:
            with torch.enable_grad():
                found = torch.autograd.grad(
                    loss(model(inputs), labels), [*trained.values()], allow_unused=True
                )
            for name, gradient in zip(trained, found, strict=True):
                if gradient is not None:
                    total[name] += gradient.float().cpu().square()
            count += 1
    return {name: (value / max(count, 1)).sqrt() for name, value in total.items()}
