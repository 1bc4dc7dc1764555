"""Team: processes that train one network together, as `torchrun` starts them."""

from __future__ import annotations

import datetime
import functools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import torch
import torch.distributed as distributed
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

#: The first process may search for hours before it needs the others.
_PATIENCE = datetime.timedelta(days=7)
T = TypeVar("T")


@dataclass(frozen=True)
class Team:
    """This process among those that share every batch of a training.

    Gradients and the statistics of batch norm are those of the whole batch, so that a
    training takes the same course whatever the size of the team, up to rounding;
    dropout alone draws otherwise.

    Attributes:
        rank: of this process, counted from 0.
        size: processes, >= 1; 1 is a process by itself.
    """

    rank: int = 0
    size: int = 1

    def part(self, batch: Tensor) -> Tensor:
        """The images or labels `[N, ...]` of a batch that are this process's.

        Raises:
            ValueError: there are fewer than processes.
        """
        if len(batch) < self.size:
            raise ValueError(
                f"a batch of {len(batch)} images does not go round {self.size} "
                "processes; start fewer, or raise batch_size"
            )
        return batch.tensor_split(self.size)[self.rank]

    def total(self, value: Tensor) -> Tensor:
        """The sum over the processes."""
        if self.size > 1:
            distributed.all_reduce(value)
        return value

    def told(self, make: Callable[[], T]) -> T:
        """What the first process makes, in all of them; the others wait for it."""
        if self.size == 1:
            return make()
        made = [make() if self.rank == 0 else None]
        distributed.broadcast_object_list(made)
        return cast(T, made[0])

    @contextmanager
    def joined(self, module: nn.Module) -> Iterator[nn.Module]:
        """The network to be trained: its gradients are the mean over the processes.

        All begin with the weights of the first process.
        """
        if self.size == 1:
            yield module
            return
        norms = [part for part in module.modules() if isinstance(part, _BatchNorm)]
        for norm in norms:
            # torch's SyncBatchNorm is for cuda only.
            norm.forward = functools.partial(_whole_batch_norm, norm)  # type: ignore[method-assign]
        try:
            yield DistributedDataParallel(module)
        finally:
            for norm in norms:
                del norm.forward


@contextmanager
def team() -> Iterator[Team]:
    """The processes that `torchrun` started, this one among them; else this one alone.

    They talk through gloo, and through nccl as well where there is cuda.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Team()
        return
    distributed.init_process_group(timeout=_PATIENCE)
    try:
        yield Team(distributed.get_rank(), distributed.get_world_size())
    finally:
        distributed.destroy_process_group()


class _Sum(torch.autograd.Function):
    """The sum over the processes, whose gradients are summed as well."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        total = value.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _Sum.forward(ctx, gradient)


def _whole_batch_norm(norm: _BatchNorm, x: Tensor) -> Tensor:
    """Batch norm whose statistics are those of all processes."""
    if not norm.training:
        return type(norm).forward(norm, x)
    dims = [0, *range(2, x.dim())]
    shape = [1, -1, *[1] * (x.dim() - 2)]
    wide = x.float()
    local = torch.cat([wide.sum(dims), wide.new_tensor([x.numel() / x.shape[1]])])
    sums = _Sum.apply(local)
    count = sums[-1].detach()
    mean = sums[:-1] / count
    centred = wide - mean.view(shape)
    variance = _Sum.apply(centred.square().sum(dims)) / count
    if norm.running_mean is not None and norm.running_var is not None:
        with torch.no_grad():
            assert norm.num_batches_tracked is not None
            norm.num_batches_tracked.add_(1)
            share = norm.momentum
            if share is None:
                share = 1.0 / float(norm.num_batches_tracked)
            norm.running_mean.lerp_(mean, share)
            norm.running_var.lerp_(variance * count / (count - 1), share)
    y = centred * torch.rsqrt(variance + norm.eps).view(shape)
    if norm.weight is not None:
        y = y * norm.weight.view(shape) + norm.bias.view(shape)
    return y.to(x.dtype)
