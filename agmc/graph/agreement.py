"""Agreement: how far two forms of one network are from computing the same."""

from __future__ import annotations

from torch import Tensor

#: Largest allowed difference of outputs in float32, relative to the largest one. Two
#: correct forms round otherwise: a sum of n products is off by about sqrt(n) u of the
#: numbers in it, u = 6e-8 (Higham and Mary, 2019, SIAM J. Sci. Comput. 41, A2815), and
#: layers add up; 100 layers of 256 products come to 1e-4. In proportion to the output:
#: an absolute bound refuses correct networks of large logits. The exporter's own
#: verification, `torch.onnx.verification`, allows ten times as much.
TOLERANCE = 1e-4
#: Outputs below are compared with this instead.
_LEAST_OUTPUT = 1e-6


def relative_difference(theirs: Tensor, ours: Tensor) -> float:
    """The largest difference of an output, relative to the largest of `ours`.

    Args:
        theirs: outputs of one form, of any shape.
        ours: outputs of the other, of the same shape.

    Returns:
        A number >= 0; NaN or infinity where one side has them.
    """
    return float(_differences(theirs, ours).max()) if ours.numel() else 0.0


def mean_difference(theirs: Tensor, ours: Tensor) -> float:
    """As `relative_difference`, the mean over all outputs."""
    return float(_differences(theirs, ours).mean()) if ours.numel() else 0.0


def _differences(theirs: Tensor, ours: Tensor) -> Tensor:
    expected = ours.double()
    largest = max(float(expected.abs().max()), _LEAST_OUTPUT)
    return (theirs.double() - expected).abs() / largest
