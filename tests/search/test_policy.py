"""Policies as files: what they hold, where they fit, what a search does with one."""

from __future__ import annotations

import functools
import json

import pytest
import safetensors
import torch
from safetensors.torch import save_file
from search_nets import tiny_net, tiny_splits
from torch import nn

from agmc.agents import DDPG, PPO, Agent, Critic, Random
from agmc.embedding.learned import autoencoder
from agmc.embedding.multistage import multistage
from agmc.embedding.rules import RulesEmbedding, rules
from agmc.search.find_plan import find_plan
from agmc.search.policy import Policy
from agmc.training import Execution

EXECUTION = Execution(device="cpu", precision="float32")
QUICK = {
    "ddpg": functools.partial(DDPG, hidden_dim=8),
    "ppo": functools.partial(PPO, hidden_dim=8, episodes_per_update=2),
}
SMALL = functools.partial(multistage, dim=3, hidden=4, layers=1)


def deep_net(width: int = 8) -> nn.Module:
    """Another network than `tiny_net`: three convolutions."""
    torch.manual_seed(1)
    return nn.Sequential(
        *(nn.Conv2d(1, width, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(width, 6, 3), nn.ReLU()),
        *(nn.Conv2d(6, 10, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        nn.Linear(10, 3),
    ).eval()


def find(*, net=None, budget="macs:0.5", agent="ddpg", **knobs):
    """A quick search by one of `QUICK`, or what builds an agent; also gives that."""
    chosen = QUICK.get(agent, agent)
    made: list[Agent] = []

    def build(context):
        made.append(chosen(context))
        return made[-1]

    found = find_plan(
        net or tiny_net(),
        tiny_splits(),
        budget,
        execution=EXECUTION,
        agent=build,
        **{"embedding": rules, "episodes": 4, "round_to": 1, **knobs},
    )
    return found, made[-1]  # the first was only tried out


@pytest.mark.parametrize("embedding", [rules, SMALL])
@pytest.mark.parametrize("agent", QUICK)
def test_a_policy_goes_to_another_network_and_plays_there(agent, embedding, tmp_path):
    path = tmp_path / "new" / "policy.safetensors"
    _, teacher = find(agent=agent, embedding=embedding, policy=Policy(save=str(path)))
    zero_shot, learner = find(
        net=deep_net(),
        agent=agent,
        embedding=embedding,
        policy=Policy(load=str(path), episodes=0),
    )
    assert len(zero_shot.episodes) == 1
    taught, learned = teacher.policy_state(), learner.policy_state()
    assert {n: v.shape for n, v in taught.items()} == {
        n: v.shape for n, v in learned.items()
    }
    if learner.on_policy:  # has nothing to learn from what it did not draw
        assert all(torch.equal(taught[name], learned[name]) for name in taught)
    again, _ = find(
        net=deep_net(),
        agent=agent,
        embedding=embedding,
        seed=5,
        policy=Policy(load=str(path), episodes=3),
    )
    assert len(again.episodes) == 4
    # The greedy policy knows of no seed.
    assert again.episodes[0].plan == zero_shot.episodes[0].plan


def test_the_first_episode_is_the_greedy_policy(tmp_path):
    path = tmp_path / "policy.safetensors"
    find(policy=Policy(save=str(path)))
    proposed = []

    class Listening(DDPG):
        def act(self, observation, explore=True):
            proposed.append((explore, super().act(observation, explore)))
            return proposed[-1][1]

    Listening.__name__ = "DDPG"
    listening = functools.partial(Listening, hidden_dim=8)
    find(agent=listening, episodes=3, policy=Policy(load=str(path)))
    assert [explore for explore, _ in proposed] == [False] * 2 + [True] * 4


def test_a_range_of_budgets_has_a_greedy_episode_each(tmp_path):
    path = tmp_path / "policy.safetensors"
    find(budget="macs:0.4..0.6/2", policy=Policy(save=str(path)))
    found, _ = find(
        budget="macs:0.4..0.6/2", seed=7, policy=Policy(load=str(path), episodes=0)
    )
    assert len(found.episodes) == len(found.front) == 2


def test_the_header_says_what_it_is_of(tmp_path):
    path = tmp_path / "policy.safetensors"
    _, agent = find(embedding=SMALL, policy=Policy(save=str(path)))
    with safetensors.safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["policy"])
        shapes = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
    assert header["format"] == "agmc policy 2" and header["agent"] == "DDPG"
    assert header["embedding"] == "StateEmbedding with MultistageEncoder"
    state = agent.policy_state()
    assert shapes == {name: list(value.shape) for name, value in state.items()}
    assert not any("network" in name for name in shapes)  # nothing of one network


@pytest.mark.parametrize("agent", QUICK)
def test_an_interrupted_search_ends_in_the_same_policy(agent, tmp_path):
    whole = tmp_path / "whole.safetensors"
    find(agent=agent, directory=tmp_path / "whole", policy=Policy(save=str(whole)))
    log = (tmp_path / "whole" / "episodes.jsonl").read_text()
    lines = log.splitlines(keepends=True)
    # Cut between two episodes, within a line, and after the last but before the policy.
    for name, left in (
        ("between", "".join(lines[:2])),
        ("within", "".join(lines[:2]) + lines[2][:20]),
        ("before", log),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "episodes.jsonl").write_text(left)
        parts = tmp_path / f"{name}.safetensors"
        find(agent=agent, directory=tmp_path / name, policy=Policy(save=str(parts)))
        assert parts.read_bytes() == whole.read_bytes(), name


def test_a_finished_search_is_not_played_again(tmp_path):
    policy = Policy(save=str(tmp_path / "policy.safetensors"))
    find(directory=tmp_path, policy=policy)
    _, agent = find(directory=tmp_path, policy=policy)
    assert not len(agent.replay)


def test_features_of_the_plan_are_another_search_and_another_policy(tmp_path):
    path = tmp_path / "policy.safetensors"
    still, following = (
        functools.partial(
            autoencoder,
            fit="anew",
            dim=4,
            hidden=8,
            layers=1,
            variants=0,
            steps=1,
            freeze=False,
            follow_plan=follow_plan,
        )
        for follow_plan in (False, True)
    )
    find(embedding=still, directory=tmp_path, policy=Policy(save=str(path)))
    with pytest.raises(ValueError, match="another"):
        find(embedding=following, directory=tmp_path)
    with pytest.raises(ValueError, match="take the same knobs"):
        find(embedding=following, policy=Policy(load=str(path)))


def test_another_policy_is_another_search(tmp_path):
    path = tmp_path / "policy.safetensors"
    find(policy=Policy(save=str(path)))
    find(directory=tmp_path / "a", policy=Policy(load=str(path)))
    with pytest.raises(ValueError, match="another"):
        find(directory=tmp_path / "a")


@pytest.mark.parametrize(
    ("knobs", "words"),
    [
        ({"agent": "ppo"}, "policy of the agent DDPG, and this search has PPO"),
        ({"embedding": SMALL}, "policy of the embedding RulesEmbedding, and this"),
        ({"budget": "macs:0.4..0.6/2"}, "does not fit: .* as many budgets"),
    ],
)
def test_a_policy_that_does_not_fit_is_refused_in_one_line(knobs, words, tmp_path):
    path = tmp_path / "policy.safetensors"
    find(policy=Policy(save=str(path)))
    with pytest.raises(ValueError, match=words) as refused:
        find(**knobs, policy=Policy(load=str(path)))
    assert "\n" not in str(refused.value)


def test_a_policy_over_rows_of_another_fit_is_refused(tmp_path):
    class Fitted(RulesEmbedding):
        fitted = "a"

    path = tmp_path / "policy.safetensors"
    find(embedding=lambda c: Fitted(c.graph), policy=Policy(save=str(path)))
    find(embedding=lambda c: Fitted(c.graph), policy=Policy(load=str(path)))
    Fitted.fitted = "b"
    with pytest.raises(ValueError, match="take the same knobs"):
        find(embedding=lambda c: Fitted(c.graph), policy=Policy(load=str(path)))


def test_an_agent_that_keeps_nothing_is_refused_before_the_search(tmp_path):
    with pytest.raises(ValueError, match="no policy that could be kept"):
        policy = Policy(save=str(tmp_path / "policy.safetensors"))
        find(agent=Random, directory=tmp_path, policy=policy)
    assert not (tmp_path / "episodes.jsonl").exists()


def test_files_that_are_no_policies_are_refused(tmp_path):
    with pytest.raises(ValueError, match="is no file, and no policy; write one"):
        Policy(load=str(tmp_path / "none"))
    text = tmp_path / "text"
    text.write_text("dear reader")
    with pytest.raises(ValueError, match="damaged, or no policy"):
        Policy(load=str(text))
    weights = tmp_path / "weights.safetensors"
    save_file({"a": torch.ones(1)}, weights)
    with pytest.raises(ValueError, match="is no policy"):
        Policy(load=str(weights))
    for hostile in ("[" * 100_000, "{", "[1]"):
        save_file({"a": torch.ones(1)}, weights, metadata={"policy": hostile})
        with pytest.raises(ValueError, match="no policy"):
            Policy(load=str(weights))


def test_numbers_out_of_range_are_refused(tmp_path):
    with pytest.raises(ValueError, match="add policy.load=FILE"):
        Policy(episodes=3)
    with pytest.raises(ValueError, match="name a file"):
        Policy(save=str(tmp_path))
    path = tmp_path / "policy.safetensors"
    find(policy=Policy(save=str(path)))
    with pytest.raises(ValueError, match="must be >= 0"):
        Policy(load=str(path), episodes=-1)


def few_parameters(outcome):
    return -outcome.share("params")


def test_what_the_critic_found_goes_to_another_network(tmp_path):
    path = tmp_path / "policy.safetensors"
    knobs = {"agent": functools.partial(Critic, first_plans=4)}
    knobs["reward"] = few_parameters
    save = Policy(save=str(path))
    _, teacher = find(**knobs, net=deep_net(16), episodes=20, policy=save)
    assert teacher.policy_state()["steps"].any()
    load = Policy(load=str(path), episodes=0)
    taught, _ = find(**knobs, net=deep_net(32), policy=load)
    untaught, _ = find(**knobs, net=deep_net(32), episodes=1)
    assert len(taught.episodes) == 1
    assert taught.cost.params < untaught.cost.params


def test_a_policy_is_not_saved_over_the_one_it_began_with(tmp_path):
    file = tmp_path / "policy.safetensors"
    find(policy=Policy(save=str(file)))
    with pytest.raises(ValueError, match="are one file"):
        Policy(load=str(file), save=str(tmp_path / "." / "policy.safetensors"))
