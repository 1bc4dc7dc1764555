"""ONNX: the deployable graph, checked in ONNX Runtime against the network."""

from __future__ import annotations

import logging
import os
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor, nn

from agmc.export.deployed import deployed_network
from agmc.export.onnx_integers import OPSET, translations, with_integers
from agmc.graph.agreement import TOLERANCE, mean_difference, relative_difference
from agmc.graph.exported import exported_program, of_batch_size
from agmc.graph.network import GraphNetwork
from agmc.graph.rounded_program import PER_TENSOR
from agmc.training.modes import kept_modes

_log = logging.getLogger(__name__)
#: As `TOLERANCE`, of a network that rounds, for the mean over its outputs, in steps of
#: its coarsest activation: sums in another order fall to the other side of a rounding
#: here and there, which moves an activation by a step, and in a deep network several of
#: them add up. A single output may be off by more.
ROUNDED_TOLERANCE = 8
#: But never more: of a file that computes something else.
_MOST = 0.25


def save_onnx(
    module: nn.Module,
    path: str | os.PathLike[str],
    example_input: Tensor | Sequence[Tensor],
    *,
    int4: bool = False,
    batch_size: int | None = None,
) -> float:
    """Writes the network as ONNX, and checks it.

    A quantised network is written with `QuantizeLinear` and `DequantizeLinear` where it
    rounds, and with integers as weights and biases, so that a runtime computes on them.
    The file is written whole or not at all, and only if ONNX Runtime agrees.

    Args:
        module: in float32, on the CPU.
        path: of the file.
        example_input: a Tensor or a tuple of Tensors, batch first.
        int4: whether weights of at most 4 bits are stored with 4: a smaller file, that
            runtimes may compute with floats.
        batch_size: the only one that the file takes, >= 1; None leaves it free, or
            makes it 1 where the forward code fixes it.

    Returns:
        the largest difference of an output, relative to the largest output.

    Raises:
        ValueError: the network cannot be exported, or ONNX Runtime disagrees by more
            than `TOLERANCE`; where it rounds, on average by `ROUNDED_TOLERANCE` steps,
            or anywhere by a quarter of the largest output.
        OSError: the file cannot be written.
    """
    path = Path(path)
    single = isinstance(example_input, Tensor)
    inputs = (example_input,) if single else tuple(example_input)
    deployed = deployed_network(module)
    exported = exported_program(deployed or module, inputs, batch_size=batch_size)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".onnx-") as folder:
        partial = Path(folder) / "network.onnx"
        try:
            with quiet_exporter():
                torch.onnx.export(
                    exported,
                    (),
                    partial,
                    dynamo=True,
                    external_data=False,
                    verbose=False,
                    opset_version=None if deployed is None else OPSET,
                    custom_translation_table=translations(),
                )
            codes = {} if deployed is None else deployed.codes_of_weights
            if int4 and not any(found.bits <= 4 for found in codes.values()):
                _log.warning("int4: no weight has 4 bits or fewer; it changes nothing")
            if deployed is not None:
                model = onnx.load(partial)
                with_integers(model, codes, int4=int4)
                onnx.save(model, partial)
            difference, mean = _differences(module, partial, inputs)
        except Exception as error:  # exporter and runtime raise many kinds
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ValueError(
                f"the network cannot be written as ONNX: {reason}"
            ) from error
        for found, tolerance, which in zip(
            *((difference, mean), _tolerances(module), ("", "on average ")), strict=True
        ):
            if not found <= tolerance:
                raise ValueError(
                    f"ONNX Runtime differs from the network {which}by {found:.1e} of "
                    f"the largest output, more than {tolerance:.0e}; {path} was not "
                    "written"
                )
        os.replace(partial, path)
    return difference


def _tolerances(module: nn.Module) -> tuple[float, float]:
    """Largest and mean difference that are no mistake, of the largest output."""
    steps = []
    if isinstance(module, GraphNetwork):
        operations = module.program.operations
        steps = [op.args[4] - op.args[3] for op in operations if op.op == PER_TENSOR]
    if not steps:
        return TOLERANCE, TOLERANCE
    return _MOST, min(_MOST, ROUNDED_TOLERANCE / min(steps))


def compare_onnx(
    module: nn.Module, path: str | os.PathLike[str], inputs: Sequence[Tensor]
) -> float:
    """Largest difference of any output, relative to the largest one.

    In evaluation mode, for one input and for all of them and the first once more; where
    the batch size is fixed, for as many of the first. NaN where one side has NaN.
    """
    return _differences(module, path, inputs)[0]


def _differences(
    module: nn.Module, path: str | os.PathLike[str], inputs: Sequence[Tensor]
) -> tuple[float, float]:
    """That of `compare_onnx`, and the largest mean over the elements of an output."""
    session = onnx_session(path)
    fixed = fixed_batch_size(session)
    batches = [of_batch_size(inputs, fixed or 1)]
    if fixed is None:
        batches.append(tuple(torch.cat([x, x[:1]]) for x in inputs))
    worst, worst_mean = 0.0, 0.0
    for batch in batches:
        with torch.no_grad(), kept_modes(module):
            module.eval()
            expected = torch.utils._pytree.tree_leaves(module(*batch))
        feeds = {
            node.name: x.numpy()
            for node, x in zip(session.get_inputs(), batch, strict=True)
        }
        for theirs, ours in zip(session.run(None, feeds), expected, strict=True):
            found = torch.from_numpy(theirs), ours
            # Python's max would pass over a NaN.
            worst = float(np.maximum(worst, relative_difference(*found)))
            worst_mean = float(np.maximum(worst_mean, mean_difference(*found)))
    return worst, worst_mean


def fixed_batch_size(session: onnxruntime.InferenceSession) -> int | None:
    """The only batch size that a file takes; None where it is free."""
    sizes = [size for node in session.get_inputs() for size in node.shape[:1]]
    return next((size for size in sizes if isinstance(size, int)), None)


def onnx_session(
    model: bytes | str | os.PathLike[str],
    *,
    threads: int = 1,
    profile: Path | None = None,
) -> onnxruntime.InferenceSession:
    """ONNX Runtime on the CPU.

    Args:
        model: content or path of an ONNX file.
        threads: that share every operator, >= 1.
        profile: where to begin the name of a file with the times of every operator;
            None keeps none.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # Between two calls its threads would wait busily and slow others down.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    options.log_severity_level = 3  # errors
    if profile is not None:
        options.enable_profiling = True
        options.profile_file_prefix = os.fspath(profile)
    content = model if isinstance(model, bytes) else os.fspath(model)
    return onnxruntime.InferenceSession(
        content, options, providers=["CPUExecutionProvider"]
    )


@contextmanager
def quiet_exporter() -> Iterator[None]:
    """The exporter warns of its own affairs and logs every pass."""
    loggers = [logging.getLogger(name) for name in ("onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
