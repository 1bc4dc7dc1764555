"""Sequential: AGMC's decoder, one state a decision, conditioned on the actions."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from agmc.embedding.autoencoder import GraphAutoencoder
from agmc.embedding.embedding import Embedding, EmbeddingContext
from agmc.embedding.learned import LearnedEmbedding, autoencoder
from agmc.embedding.network_vectors import NetworkVectors
from agmc.embedding.standardised import standardised
from agmc.embedding.state import StateEmbedding, read_state
from agmc.graph.model_graph import ModelGraph


class SequentialEncoder(nn.Module):
    """Unrolls one state per decision from the vector of the network.

    AGMC (Yu et al., arXiv 2011.12641) embeds the graph into g and lets a recurrent
    decoder play the environment's transition:

        s_0, c_0 = tanh(W g + b),   s_{t+1}, c_{t+1} = LSTM(a_t, s_t, c_t)

    where a_t is the keep ratio that decision t was *executed* with, and the policy of
    decision t sees s_t. In the published code no gradient reaches encoder and decoder,
    the LSTM forgets its memory c in every step, and a_t is the proposed action; here
    states are unrolled from the actions whenever an agent asks for features, so that
    its losses reach all weights.

    Shapes:
        rows of a `StateEmbedding` [B, dim of the rows or more] -> [B, dim + 3 or more].

    Args:
        graph: the traced network, with at least one channel group.
        encoder: see `NetworkVectors`.
        dim: of the states, >= 1.
        freeze: leave the graph encoder as it is; the decoder is trained always.
        see_decision: True: the LSTM sees the encoder's vector of decision t+1 besides
            a_t, and s_0 that of decision 0; AGMC's has to learn the order by heart.
        seed: of the first weights.
    """

    def __init__(
        self,
        graph: ModelGraph,
        encoder: GraphAutoencoder,
        *,
        dim: int,
        freeze: bool,
        see_decision: bool,
        seed: int,
    ) -> None:
        super().__init__()
        if dim < 1:
            raise ValueError(f"dim (={dim}) must be >= 1")
        self._num_decisions = len(graph.groups)
        self._see_decision = see_decision
        self.vectors = NetworkVectors(graph, encoder, freeze=freeze)
        beside = self.vectors.dim if see_decision else 0
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            self.first = nn.Linear(self.vectors.dim + beside, 2 * dim)
            # Three times as fast on a CPU as a GRU of the same width.
            self.transition = nn.LSTM(1 + beside, dim, batch_first=True)

    def forward(self, observations: Tensor) -> Tensor:
        """The features of every observation: its state, then what is known."""
        state = read_state(observations, self._num_decisions)
        decisions, network = self.vectors()
        last = int(state.decision.max())
        number = len(observations)
        seen = state.kept[:, :last, None]
        if self._see_decision:
            decisions = standardised(decisions, decisions)
            network = torch.cat([network, decisions[0]])
            following = decisions[1 : last + 1].expand(number, -1, -1)
            seen = torch.cat([seen, following], dim=2)
        start = torch.tanh(self.first(network)).expand(number, 1, -1)
        states, memory = start.chunk(2, dim=2)
        if last:
            held = [part.transpose(0, 1).contiguous() for part in (states, memory)]
            after, _ = self.transition(seen, (held[0], held[1]))
            states = torch.cat([states, after], dim=1)
        own = states[torch.arange(number), state.decision]
        return torch.cat([own, state.known], dim=1)


def sequential(
    context: EmbeddingContext,
    *,
    dim: int = 32,
    freeze: bool = True,
    see_decision: bool = False,
    graph_encoder: Callable[[EmbeddingContext], Embedding] = autoencoder,
) -> StateEmbedding:
    """Builds the embedding `sequential`: the agent trains AGMC's decoder.

    Args:
        context: graph, decisions, seed, corpus and checkpoint.
        dim: of the states, >= 1.
        freeze: True: the graph encoder stays as it was fitted; False: the agent trains
            it on.
        see_decision: see `SequentialEncoder`.
        graph_encoder: builds the `LearnedEmbedding` whose encoder it is.

    Raises:
        ValueError: a number is out of range, or it builds another embedding.
    """
    context.require_channels("sequential")
    fitted = graph_encoder(context)
    if not isinstance(fitted, LearnedEmbedding) or fitted.follow_plan:
        raise ValueError(
            "graph_encoder must be a frozen auto-encoder of the whole network "
            "(graph_encoder.freeze=true, graph_encoder.follow_plan=false); "
            "freeze=false of the embedding itself trains it"
        )
    made = SequentialEncoder(
        context.graph,
        fitted.autoencoder,
        dim=dim,
        freeze=freeze,
        see_decision=see_decision,
        seed=context.seed,
    )
    return StateEmbedding(context.graph, made)
