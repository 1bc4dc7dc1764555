"""Rounded: what sparsity and bits of a plan make of its bytes and bit operations."""

from __future__ import annotations

import numpy as np

from agmc.cost.storage import bitmap_bits, plain_bits, stored_bits
from agmc.graph.blocks import without_blocks
from agmc.graph.foldable import foldable_norms
from agmc.graph.model_graph import ModelGraph
from agmc.graph.program import argument, name_of
from agmc.graph.quantized_values import RESIDUAL_BITS, rounded_reads
from agmc.graph.weighted import OUTPUT_DIM, weight_of, weighted_layers
from agmc.graph.widths import Widths
from agmc.plan import FLOAT_BITS, LayerParts


class Rounded:
    """Bytes and bit operations of plans that do more than remove channels.

    Arguments named `counts` are kept channels, int [..., num_groups], `parts` say what
    the same plans say of layers, and `kept` which blocks stay, bool [..., num_blocks],
    None for all; results have the shape of the leading dimensions. What `parts` say of
    layers in dropped blocks counts for nothing.

    Args:
        widths: of the network.
        codebooks: whether weights with bits share numbers (see
            `agmc.compression.quantize.Quantization`), or are evenly spaced.
    """

    def __init__(self, widths: Widths, *, codebooks: bool = False) -> None:
        self._codebooks = codebooks
        self._widths = widths
        self._graph: ModelGraph = widths.graph
        program = self._graph.program
        layers = weighted_layers(program)
        self._names = list(layers)
        self._work = [widths.operations.index(op.name) for op in layers.values()]
        place = {name: i for i, name in enumerate(widths.parameters)}
        self._weights = [place[weight_of(op)] for op in layers.values()]
        sizes = [(weight_of(op), OUTPUT_DIM[op.kind]) for op in layers.values()]
        forms = [widths.size_form(size) for size in sizes]
        self._channels = np.array([constant for constant, _ in forms])
        self._channels_of = np.array([repeats for _, repeats in forms]).T
        # How often every parameter goes with a batch norm, less those of new biases.
        self._folded = np.zeros(len(place))
        for layer, norm in foldable_norms(program):
            for held in norm.args[1:5]:
                if name := name_of(held):
                    self._folded[place[name]] += 1
            if name_of(argument(layer, 2)) is None:
                self._folded[place[name_of(norm.args[3]) or ""]] -= 1
        self._reads: dict[bytes, tuple[np.ndarray, np.ndarray]] = {}
        self._regions = widths.presence.rows(op.name for op in layers.values())

    def bops(
        self, counts: np.ndarray, parts: LayerParts, kept: np.ndarray | None = None
    ) -> np.ndarray:
        """Multiply-adds x bits of the weight x bits of the input, over all operations.

        Returns:
            float64 [...].
        """
        macs = self._widths.macs(counts, kept)
        bits = np.full(macs.shape, float(FLOAT_BITS**2))
        bits[..., self._work] = parts.weight_bits * parts.act_bits
        return (macs * bits).sum(-1)

    def bytes_saved(
        self, counts: np.ndarray, parts: LayerParts, kept: np.ndarray | None = None
    ) -> np.ndarray:
        """How many bytes less the tensors take than without zeros and bits.

        Returns:
            float64 [...]; never rises when anything of a plan grows.
        """
        every = self._widths.numels(counts, kept)
        parts = parts if kept is None else self._present(parts, kept)
        numels, bits = every[..., self._weights], parts.weight_bits
        has_bits = bits < FLOAT_BITS
        if self._codebooks:  # no number without weight
            needed = np.ceil(np.log2(np.maximum(2, numels)))
            bits = np.where(has_bits, np.minimum(bits, needed), bits)
            extra = FLOAT_BITS * np.minimum(2.0**bits, numels)
        else:
            channels = self._channels + np.asarray(counts) @ self._channels_of
            extra = FLOAT_BITS * channels + bitmap_bits(channels, FLOAT_BITS, 0)
        stored = np.asarray(plain_bits(numels, bits), dtype=float)
        sparse = np.broadcast_to(parts.density < 1, stored.shape)
        if sparse.any():
            density = np.broadcast_to(parts.density, stored.shape)[sparse]
            bits = np.broadcast_to(bits, stored.shape)[sparse]
            stored[sparse] = stored_bits(numels[sparse], bits, 1 - density)
        gained = FLOAT_BITS * numels - stored - np.where(has_bits, extra, 0)
        saved = gained.sum(-1)
        folds = has_bits.any(-1) | (parts.act_bits < FLOAT_BITS).any(-1)
        saved += np.where(folds, FLOAT_BITS * (every @ self._folded), 0)
        values = self._rounded_values(parts.act_bits, kept)
        return (saved - 2 * FLOAT_BITS * values) / 8

    def numbers(
        self, parts: LayerParts, kept: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """How many weights are rounded and how many activations, float64 [...] both."""
        parts = parts if kept is None else self._present(parts, kept)
        weights = (parts.weight_bits < FLOAT_BITS).sum(-1).astype(float)
        return weights, self._rounded_values(parts.act_bits, kept)

    def _present(self, parts: LayerParts, kept: np.ndarray) -> LayerParts:
        """The same, with nothing said of layers in dropped blocks."""
        there = self._widths.presence.regions(kept)[..., self._regions] > 0
        usual = LayerParts(*map(np.asarray, (1.0, FLOAT_BITS, FLOAT_BITS)))
        return LayerParts(
            *(np.where(there, p, n) for p, n in zip(parts, usual, strict=True))
        )

    def _rounded_values(
        self, act_bits: np.ndarray, kept: np.ndarray | None
    ) -> np.ndarray:
        """How many activations are rounded, once more for readers of fewer bits."""
        blocks = np.ones(len(self._graph.blocks), dtype=bool) if kept is None else kept
        blocks = np.broadcast_to(blocks, (*act_bits.shape[:-1], np.shape(blocks)[-1]))
        flat = act_bits.reshape(-1, act_bits.shape[-1])
        # The bits of what no layer reads stand behind those of the layers.
        flat = np.pad(flat, ((0, 0), (0, 1)), constant_values=RESIDUAL_BITS)
        asked = flat[:, :-1] < FLOAT_BITS
        num_layers = asked.shape[1]
        asked = np.hstack([asked, blocks.reshape(len(flat), -1)])
        found = np.zeros(len(flat))
        for pattern in np.unique(asked, axis=0):
            rows = (asked == pattern).all(1)
            layers, ends = self._reads_of(pattern[:num_layers], pattern[num_layers:])
            if len(ends):
                bits = flat[rows][:, layers]
                most = np.maximum.reduceat(bits, ends, axis=1)
                repeats = np.diff(np.append(ends, len(layers)))
                again = bits < np.repeat(most, repeats, axis=1)
                found[rows] = len(ends) + again.sum(1)
        return found.reshape(act_bits.shape[:-1])

    def _reads_of(
        self, asked: np.ndarray, kept: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Of all that is read rounded: whose bits count, and where a source begins.

        Args:
            asked: which layers have bits for their input, bool [num_layers].
            kept: which blocks stay, bool [num_blocks].
        """
        key = asked.tobytes() + kept.tobytes()
        if key not in self._reads:
            chosen = [n for n, one in zip(self._names, asked, strict=True) if one]
            blocks = zip(self._graph.blocks, kept, strict=True)
            dropped = [block for block, stays in blocks if not stays]
            program = without_blocks(self._graph.program, dropped)
            reads = rounded_reads(program, chosen)
            reads.sort(key=lambda read: read.source)
            layers = [self._names.index(r.layer) if r.layer else -1 for r in reads]
            sources = [read.source for read in reads]
            ends = [i for i, s in enumerate(sources) if i == 0 or sources[i - 1] != s]
            self._reads[key] = np.array(layers, int), np.array(ends, int)
        return self._reads[key]
