"""Operators: which functions the operations of a network may call, by full name."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch

#: Picking one of several results, and multiples of the size of the batch.
_PYTHON_OPERATORS: dict[str, Callable[..., Any]] = {
    "_operator.getitem": operator.getitem,
    "_operator.mul": operator.mul,
}

#: Operators of networks: what they read is checked against what is there, and nothing
#: outside of their results is written. Others (`max_pool2d_with_indices_backward`, say,
#: trusts the places that it is told) might touch memory that is not theirs.
_ADMITTED = frozenset(
    {
        # Element by element.
        *("__and__", "__lshift__", "__or__", "__rshift__", "__xor__", "abs"),
        *("absolute", "acos", "acosh", "add", "addcdiv", "addcmul", "arccos"),
        *("arccosh", "arcsin", "arcsinh", "arctan", "arctan2", "arctanh", "asin"),
        *("asinh", "atan", "atan2", "atanh", "bitwise_and", "bitwise_left_shift"),
        *("bitwise_not", "bitwise_or", "bitwise_right_shift", "bitwise_xor", "ceil"),
        *("celu", "clamp", "clamp_max", "clamp_min", "clip", "copysign", "cos", "cosh"),
        *("deg2rad", "digamma", "div", "divide", "elu", "eq", "erf", "erfc", "erfinv"),
        *("exp", "exp2", "expm1", "fix", "float_power", "floor", "floor_divide"),
        *("fmax", "fmin", "fmod", "frac", "ge", "gelu", "glu", "greater"),
        *("greater_equal", "gt", "hardshrink", "hardsigmoid", "hardswish", "hardtanh"),
        *("heaviside", "hypot", "i0", "igamma", "igammac", "isclose", "isfinite"),
        *("isin", "isinf", "isnan", "isneginf", "isposinf", "ldexp", "le"),
        *("leaky_relu", "lerp", "less", "less_equal", "lgamma", "log", "log10"),
        *("log1p", "log2", "log_sigmoid", "logaddexp", "logaddexp2", "logical_and"),
        *("logical_not", "logical_or", "logical_xor", "logit", "lt", "masked_fill"),
        *("maximum", "minimum", "mish", "mul", "multiply", "nan_to_num", "ne", "neg"),
        *("negative", "not_equal", "polygamma", "positive", "pow", "prelu", "rad2deg"),
        *("reciprocal", "relu", "relu6", "remainder", "round", "rrelu", "rsqrt"),
        *("rsub", "selu", "sgn", "sigmoid", "sign", "signbit", "silu", "sin", "sinc"),
        *("sinh", "softplus", "softshrink", "special_airy_ai", "special_bessel_j0"),
        *("special_bessel_j1", "special_digamma", "special_entr", "special_erf"),
        *("special_erfc", "special_erfcx", "special_erfinv", "special_exp2"),
        *("special_expit", "special_expm1", "special_gammainc", "special_gammaincc"),
        *("special_gammaln", "special_i0", "special_i0e", "special_i1", "special_i1e"),
        *("special_log1p", "special_log_ndtr", "special_log_softmax", "special_logit"),
        *("special_logsumexp", "special_multigammaln", "special_ndtr", "special_ndtri"),
        *("special_psi", "special_round", "special_sinc", "special_softmax"),
        *("special_xlog1py", "special_xlogy", "special_zeta", "sqrt", "square", "sub"),
        *("subtract", "tan", "tanh", "threshold", "true_divide", "trunc", "where"),
        "xlogy",
        # Layers, products and pooling.
        *("_adaptive_avg_pool2d", "_adaptive_avg_pool3d", "_convolution"),
        *("_native_batch_norm_legit_no_training", "_native_multi_head_attention"),
        *("_upsample_bicubic2d_aa", "_upsample_bilinear2d_aa"),
        *("_upsample_nearest_exact1d", "_upsample_nearest_exact2d"),
        *("_upsample_nearest_exact3d", "_weight_norm", "adaptive_avg_pool1d"),
        *("adaptive_avg_pool2d", "adaptive_avg_pool3d", "adaptive_max_pool1d"),
        *("adaptive_max_pool2d", "adaptive_max_pool3d", "addbmm", "addmm", "addmv"),
        *("affine_grid_generator", "avg_pool1d", "avg_pool2d", "avg_pool3d"),
        *("baddbmm", "batch_norm", "bilinear", "bmm", "cdist", "chain_matmul"),
        *("channel_shuffle", "conv1d", "conv2d", "conv3d", "conv_tbc"),
        *("conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "convolution"),
        *("cosine_similarity", "cross", "dot", "einsum", "embedding", "grid_sampler"),
        *("grid_sampler_2d", "grid_sampler_3d", "group_norm", "gru", "gru_cell"),
        *("inner", "instance_norm", "kron", "layer_norm", "linalg_cholesky"),
        *("linalg_det", "linalg_eigh", "linalg_householder_product", "linalg_inv"),
        *("linalg_matmul", "linalg_matrix_exp", "linalg_multi_dot", "linalg_qr"),
        *("linalg_solve", "linalg_svd", "linalg_vecdot", "linear", "lstm"),
        *("lstm_cell", "matmul", "max_pool1d", "max_pool1d_with_indices"),
        *("max_pool2d", "max_pool2d_with_indices", "max_pool3d"),
        *("max_pool3d_with_indices", "max_unpool2d", "max_unpool3d", "mm", "mv"),
        *("native_group_norm", "native_layer_norm", "outer", "pairwise_distance"),
        *("rms_norm", "rnn_relu", "rnn_relu_cell", "rnn_tanh", "rnn_tanh_cell"),
        *("scaled_dot_product_attention", "tensordot", "upsample_bicubic2d"),
        *("upsample_bilinear2d", "upsample_linear1d", "upsample_nearest1d"),
        *("upsample_nearest2d", "upsample_nearest3d", "upsample_trilinear3d", "vdot"),
        # Sums and other results of many numbers.
        *("_log_softmax", "_softmax", "all"),
        *("amax", "amin", "aminmax", "any", "argmax", "argmin", "argsort"),
        *("bucketize", "count_nonzero", "cummax", "cummin", "cumprod", "cumsum"),
        *("diff", "dist", "fft_fft", "fft_fft2", "fft_fftn", "fft_fftshift"),
        *("fft_hfft", "fft_ifft", "fft_ifft2", "fft_ifftn", "fft_ifftshift"),
        *("fft_ihfft", "fft_irfft", "fft_irfft2", "fft_irfftn", "fft_rfft"),
        *("fft_rfft2", "fft_rfftn", "frobenius_norm", "istft", "kthvalue"),
        *("linalg_matrix_norm", "linalg_norm", "linalg_vector_norm", "log_softmax"),
        *("logcumsumexp", "logsumexp", "max", "mean", "median", "min", "mode"),
        *("msort", "nanmean", "nanmedian", "nanquantile", "nansum", "norm"),
        *("nuclear_norm", "prod", "quantile", "renorm", "searchsorted", "softmax"),
        *("sort", "std", "std_mean", "stft", "sum", "sum_to_size", "topk", "trace"),
        *("var", "var_mean"),
        # Shapes and places.
        *("_to_copy", "_unsafe_view", "adjoint", "alias", "angle", "as_tensor"),
        *("atleast_1d", "atleast_2d", "atleast_3d", "block_diag", "broadcast_tensors"),
        *("broadcast_to", "cartesian_prod", "cat", "chunk", "clone", "col2im"),
        *("column_stack", "combinations", "complex", "concat", "concatenate", "conj"),
        *("constant_pad_nd", "contiguous", "copy", "detach", "diag", "diag_embed"),
        *("diagflat", "diagonal", "diagonal_scatter", "dsplit", "dstack", "expand"),
        *("expand_as", "fill", "flatten", "flip", "fliplr", "flipud", "gather"),
        *("hsplit", "hstack", "im2col", "imag", "index", "index_add", "index_fill"),
        *("index_put", "index_select", "lift_fresh_copy", "mH", "mT"),
        *("masked_scatter", "masked_select", "matrix_H", "meshgrid", "moveaxis"),
        *("movedim", "narrow", "nonzero", "numpy_T", "one_hot", "pad", "permute"),
        *("pixel_shuffle", "pixel_unshuffle", "polar", "put", "ravel", "real"),
        *("reflection_pad1d", "reflection_pad2d", "reflection_pad3d", "repeat"),
        *("repeat_interleave", "replication_pad1d", "replication_pad2d"),
        *("replication_pad3d", "reshape", "reshape_as", "resolve_conj", "resolve_neg"),
        *("roll", "rot90", "row_stack", "scatter", "scatter_add", "scatter_reduce"),
        *("select", "select_scatter", "slice", "slice_scatter", "split"),
        *("split_with_sizes", "squeeze", "stack", "swapaxes", "swapdims", "sym_numel"),
        *("sym_size", "t", "take", "take_along_dim", "tensor_split", "tile", "to"),
        *("transpose", "tril", "triu", "type_as", "unbind", "unflatten", "unfold"),
        *("unsafe_chunk", "unsafe_split", "unsafe_split_with_sizes", "unsqueeze"),
        *("view", "view_as", "view_as_complex", "view_as_real", "vsplit", "vstack"),
        # Rounding, noise and new tensors.
        "_fake_quantize_learnable_per_channel_affine",
        *("_fake_quantize_learnable_per_tensor_affine", "alpha_dropout", "arange"),
        *("bernoulli", "blackman_window", "dropout", "empty", "empty_like", "eye"),
        *("fake_quantize_per_channel_affine", "fake_quantize_per_tensor_affine"),
        *("feature_alpha_dropout", "feature_dropout", "full", "full_like"),
        *("hamming_window", "hann_window", "kaiser_window", "linspace", "logspace"),
        *("native_dropout", "new_empty", "new_full", "new_ones", "new_zeros", "ones"),
        *("ones_like", "rand", "rand_like", "randint", "randint_like", "randn"),
        *("randn_like", "randperm", "scalar_tensor", "tril_indices", "triu_indices"),
        *("zero", "zeros", "zeros_like"),
    }
)

#: Forms that trust sizes in one of their tensors, or take numbers for types.
_NOT_ADMITTED = frozenset({"data", "prim_Device", "prim_dtype"})
#: All others are on tensors: on numbers alone, division by 0 stops the process.
_SIZES = frozenset({"sym_numel", "sym_size"})

#: Return an argument itself, or a view of it, though their schema hides it.
HIDDEN_ALIASES = frozenset(
    {
        *("getitem", "dropout", "feature_dropout", "alpha_dropout", "type_as"),
        *("feature_alpha_dropout", "einsum", "atleast_1d", "atleast_2d", "atleast_3d"),
        *("broadcast_tensors", "meshgrid", "cartesian_prod"),
    }
)


def operator_of(op: str) -> Callable[..., Any]:
    """The function behind an operator's full name.

    Only those run that networks are made of, and none that writes into its arguments:
    a program from an unknown source may compute nonsense, want more memory than there
    is, or end the process with arguments that no network has (torch's `lstm` reads
    weights that it was not given).

    Raises:
        ValueError: the operator does not exist or may not run.
    """
    if op in _PYTHON_OPERATORS:
        return _PYTHON_OPERATORS[op]
    function = overload_of(op)
    if function is None:
        raise ValueError(f"operator {op!r} is unknown to this version of torch")
    name, overload = op.split(".")[1:]
    if (
        name not in _ADMITTED
        or overload in _NOT_ADMITTED
        or function._schema.is_mutable
        or not (name in _SIZES or _makes_tensors(function))
    ):
        raise ValueError(f"operator {op!r} may not run in a loaded network")
    return function


def _makes_tensors(function: torch._ops.OpOverload) -> bool:
    return any("Tensor" in str(result.type) for result in function._schema.returns)


def overload_of(op: str) -> torch._ops.OpOverload | None:
    """The ATen operator of a full name, whether it may run or not; None if unknown."""
    namespace, _, rest = op.partition(".")
    packet_name, _, overload = rest.partition(".")
    packet = getattr(torch.ops.aten, packet_name, None) if namespace == "aten" else None
    function = getattr(packet, overload, None) if packet is not None else None
    return function if isinstance(function, torch._ops.OpOverload) else None
