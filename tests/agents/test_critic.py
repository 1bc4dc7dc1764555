from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from agent_plans import LEVELS, chain_cost, clamp, context, play

from agmc.agents import Choices, Critic, Episode, Goal, Random
from agmc.agents.goal_turns import goal_of_episode

WORTH = np.array([0.2, 1.5, 0.1, 1.0, 0.4, 0.8])


def reward(plan: np.ndarray) -> float:
    """What is kept is worth something; the last bit of it less."""
    return float(WORTH @ np.log(plan))


def best(played: Sequence[tuple[Sequence[float], float]]) -> float:
    return max(value for _, value in played)


def optimum() -> float:
    """Of all plans, by trying them."""
    grids = np.meshgrid(*[LEVELS] * 6, indexing="ij")
    plans = np.stack([grid.ravel() for grid in grids], axis=1)
    plans = plans[chain_cost(plans) <= 1]
    return float((np.log(plans) @ WORTH).max())


def test_it_finds_the_optimum_with_few_evaluations() -> None:
    optimal = optimum()
    for seed in range(2):
        played = play(Critic(context(6, seed=seed)), reward, 40, num_decisions=6)
        by_chance = play(Random(context(6, seed=seed)), reward, 40, num_decisions=6)
        assert best(played) > best(by_chance)
        assert best(played) == pytest.approx(optimal, rel=0.02)


def test_it_begins_with_uniform_and_never_repeats_a_plan_without_need() -> None:
    for look in (None, lambda: torch.arange(4.0)[:, None]):
        agent = Critic(replace(context(), look=look))
        plans = [plan for plan, _ in play(agent, reward_of_four, 40)]
        assert plans[0] == context().uniform_keep_ratios
        assert len(set(plans[8:])) == len(plans[8:])


def reward_of_four(plan: np.ndarray) -> float:
    return -float(((plan - [0.9, 0.2, 0.3, 0.8]) ** 2).sum())


def test_it_begins_by_keeping_more_of_what_is_expected_to_matter() -> None:
    expected = (1.5, -0.5, -0.5, -0.5)
    first = [
        play(Critic(replace(context(), sensitivities=said), tilt=tilt), len, 1)[0][0]
        for said, tilt in ((None, 0.5), (expected, 0.0), (expected, 0.5))
    ]
    assert first[0] == first[1] == context().uniform_keep_ratios
    assert first[2][0] > first[0][0] and max(first[2][1:]) <= first[0][1]
    assert chain_cost(np.array(first[2])) <= 1
    with pytest.raises(ValueError, match=r"tilt \(=-1\) must be at least 0"):
        Critic(context(), tilt=-1)


def test_kinds_of_decisions_are_told_apart_in_few_evaluations() -> None:
    worth = np.array([0.1, 1.0] * 10)

    def found(looks: torch.Tensor, together: float, seed: int) -> float:
        given = replace(context(20, seed=seed), look=lambda: looks)
        agent = Critic(
            replace(given, observation_dim=looks.shape[1]), together=together
        )
        values = []
        for index in range(25):
            agent.begin_episode(index)
            plan = clamp([agent.act(row) for row in looks])
            values.append(float(worth @ np.log(plan)))
            agent.observe(Episode(looks, torch.tensor(plan), values[-1]))
        return max(values)

    kinds, nothing = torch.eye(2).repeat(10, 1), torch.eye(20)
    rows = [
        [found(*case, seed) for seed in range(3)]
        for case in ((kinds, 0.75), (kinds, 0.0), (nothing, 0.75))
    ]
    together, alone, blind = np.mean(rows, axis=1)
    assert together > alone > blind


def test_every_tenth_plan_is_drawn_like_the_first_ones() -> None:
    def plans(look_around: int) -> list[Sequence[float]]:
        agent = Critic(context(), look_around=look_around)
        return [plan for plan, _ in play(agent, reward_of_four, 40)]

    settled, looking = plans(0), plans(10)
    assert settled[:10] == looking[:10] and settled[10] != looking[10]
    uniform, worth = np.log(context().uniform_keep_ratios), np.array(looking)
    values = np.array([reward_of_four(plan) for plan in worth])
    assert values[[20, 30]].max() < np.median(values[11:20])
    assert np.abs(np.log(worth[[20, 30]]) - uniform).max() < 1.2  # 3 spreads


def test_the_seed_decides() -> None:
    plans = [
        [plan for plan, _ in play(Critic(context(seed=s)), reward_of_four, 15)]
        for s in (1, 1, 2)
    ]
    assert plans[0] == plans[1] != plans[2]


def test_without_a_budget_to_use_up_it_follows_the_reward() -> None:
    free = replace(
        context(), choices=Choices((LEVELS,) * 4, lambda r: 0.3 * chain_cost(r), tuple)
    )
    agent = Critic(free)
    found = []
    for index in range(50):
        agent.begin_episode(index)
        asked = [agent.act(torch.zeros(1)) for _ in range(4)]
        plan = [min(LEVELS, key=lambda level: abs(level - a)) for a in asked]
        found.append(reward_of_four(np.array(plan)))
        agent.observe(Episode(torch.zeros(4, 1), torch.tensor(plan), found[-1]))
    assert max(found) > -0.05


def test_plans_under_way_are_not_proposed_again() -> None:
    agent, waiting, plans = Critic(context()), [], []
    for index in range(24):
        agent.begin_episode(index)
        plan = clamp([agent.act(torch.zeros(1)) for _ in range(4)])
        waiting.append(plan)
        plans.append(plan)
        if len(waiting) == 3:  # three evaluations at a time
            for done in waiting:
                value = reward_of_four(np.array(done))
                agent.observe(Episode(torch.zeros(4, 1), torch.tensor(done), value))
            waiting.clear()
    assert len(set(plans[9:])) == len(plans[9:])


def test_it_knows_the_best_and_the_latest_plans() -> None:
    agent = Critic(context(), memory=16)
    for number in range(40):
        agent._plans.append(np.full(4, 0.5))
        agent._rewards.append(float(-number))
    assert agent._known(0).tolist() == [*range(12), *range(36, 40)]


def test_of_several_budgets_it_knows_plans_of_the_nearest() -> None:
    goals = (Goal((0.5,) * 4, context().choices),) * 4
    agent = Critic(replace(context(), goals=goals), near=16, memory=30)
    agent._rewards = [0.0] * 40
    agent._under = [*range(4)] * 11  # four of them are pending
    for goal, nearest in ((0, {0, 1}), (1, {0, 1, 2}), (3, {2, 3})):
        known = agent._known(goal)
        expected = [number for number in range(40) if number % 4 in nearest]
        assert known.tolist() == expected[-30:]


@pytest.mark.parametrize(
    "knob",
    [{"first_plans": 1}, {"proposals": 8}, {"rounds": -1}]
    + [{"memory": 2}, {"near": 2}, {"refit": 0}, {"spread": 0.0}, {"together": 1.5}],
)
def test_numbers_out_of_range_are_refused(knob: dict[str, float]) -> None:
    (name,) = knob
    with pytest.raises(ValueError, match=name):
        Critic(context(), **knob)


def test_it_needs_choices() -> None:
    with pytest.raises(ValueError, match=r"context\.choices"):
        Critic(replace(context(), choices=None))


def test_several_budgets_learn_from_their_neighbours() -> None:
    def under(limit: float) -> Goal:
        def cost(ratios: np.ndarray) -> np.ndarray:
            return chain_cost(ratios) * 0.5 / limit

        def held(ratios: Sequence[float]) -> tuple[float, ...]:
            plan = [min(LEVELS, key=lambda level: abs(level - r)) for r in ratios]
            for i in range(len(plan)):
                while cost(np.array(plan)) > 1 and plan[i] > LEVELS[0]:
                    plan[i] = LEVELS[LEVELS.index(plan[i]) - 1]
            return tuple(plan)

        fits = [level for level in LEVELS if cost(np.full(4, level)) <= 1]
        return Goal((max(fits),) * 4, Choices((LEVELS,) * 4, cost, held))

    goals = tuple(map(under, (0.3, 0.5, 0.7)))
    worth = np.array([0.2, 1.5, 0.1, 1.0])
    agent = Critic(replace(context(), goals=goals))
    best = [-np.inf] * 3
    for index in range(90):
        agent.begin_episode(index)
        plan = [agent.act(torch.zeros(1)) for _ in range(4)]
        turn = goal_of_episode(index, 3)
        assert goals[turn].choices.cost(np.array(plan)) <= 1
        if index < 3:
            assert plan == pytest.approx(goals[index].uniform_keep_ratios)
        value = float(worth @ np.log(plan))
        best[turn] = max(best[turn], value)
        agent.observe(Episode(torch.zeros(4, 1), torch.tensor(plan), value))
    grids = np.meshgrid(*[LEVELS] * 4, indexing="ij")
    plans = np.stack([grid.ravel() for grid in grids], axis=1)
    # One level beside the optimum costs 5 % under the loosest of them.
    for goal, found in zip(goals, best, strict=True):
        held = plans[goal.choices.cost(plans) <= 1]
        assert found == pytest.approx((np.log(held) @ worth).max(), rel=0.06)


def seen(worth: np.ndarray) -> torch.Tensor:
    """What decisions show: a number that their worth depends on, and one that not."""
    beside = torch.linspace(-1, 1, len(worth)) ** 2
    return torch.stack([torch.from_numpy(worth).float() - 1, beside], dim=1)


def searched(worth: np.ndarray, episodes: int, *, taught=None, seed: int = 0, **more):
    """A critic after some episodes on a chain of these worths, and their rewards."""
    given = replace(
        context(len(worth), seed=seed),
        observation_dim=2,
        look=lambda: seen(worth),
        **more,
    )
    agent = Critic(given, first_plans=4)
    if taught is not None:
        agent.load_policy_state(taught)
    rewards = []
    for index in range(episodes):
        agent.begin_episode(index)
        plan = clamp([agent.act(row) for row in seen(worth)])
        rewards.append(float(worth @ np.log(plan)))
        agent.observe(Episode(seen(worth), torch.tensor(plan), rewards[-1]))
    return agent, rewards


OTHER = np.array([1.4, 0.2, 0.9, 0.1, 1.2, 0.5, 0.3, 1.0])


def test_what_it_found_makes_a_good_first_plan_elsewhere() -> None:
    teacher, _ = searched(WORTH, 60)
    _, alone = searched(OTHER, 12)
    learner, taught = searched(OTHER, 12, taught=teacher.policy_state())
    uniform, best_alone = alone[0], max(alone)
    # The first plan goes most of the way from the uniform one to the best.
    assert taught[0] > uniform + 0.5 * (best_alone - uniform)
    assert max(taught) >= best_alone - 0.02 * abs(best_alone)
    # It has the habits of both networks, and each of them goes as the worth goes.
    state = learner.policy_state()
    assert state["looks"].shape == (14, 2) and state["steps"].shape == (14,)
    for rows, worth in ((slice(6), WORTH), (slice(6, 14), OTHER)):
        steps = state["steps"][rows].numpy()
        assert abs(steps.mean()) < 1e-9
        assert np.corrcoef(steps, np.log(worth))[0, 1] > 0.8


def test_habits_are_for_decisions_that_are_like_those_it_knows() -> None:
    shared = seen(WORTH)
    taught = searched(WORTH, 60, absolute=shared)[0].policy_state()
    assert torch.equal(taught["looks"], shared.double())
    nothing = {**taught, "steps": torch.zeros_like(taught["steps"])}
    by_itself = searched(WORTH, 1, taught=nothing, absolute=shared)[1]
    alike = searched(WORTH, 1, taught=taught, absolute=shared)[1]
    strange = searched(WORTH, 1, taught=taught, absolute=shared + 100)[1]
    assert strange == by_itself
    assert alike[0] > by_itself[0]


def test_habits_are_about_what_the_first_plan_does_not_do_by_itself() -> None:
    expected = tuple(np.log(WORTH) / np.log(WORTH).std())
    steps = [
        searched(WORTH, 60, sensitivities=said)[0].policy_state()["steps"].numpy()
        for said in (None, expected)
    ]
    assert np.abs(steps[1]).mean() < 0.8 * np.abs(steps[0]).mean()


def test_a_policy_of_a_critic_holds_nothing_of_the_network() -> None:
    agent, _ = searched(WORTH, 12, encoder=torch.nn.Linear(2, 3))
    shapes = {name: list(v.shape) for name, v in agent.policy_state().items()}
    assert shapes == {
        "looks": [6, 3],
        "steps": [6],
        "encoder.weight": [3, 2],
        "encoder.bias": [3],
    }


def test_a_search_that_found_nothing_leaves_the_habits_alone() -> None:
    fresh, _ = searched(WORTH, 10)
    assert not any(value.numel() for value in fresh.policy_state().values())
    fresh.load_policy_state(fresh.policy_state())
    _, rewards = searched(WORTH, 1, taught=fresh.policy_state())
    assert rewards == searched(WORTH, 1)[1]
    habits = searched(WORTH, 30)[0].policy_state()
    passed_on = searched(OTHER, 1, taught=habits)[0].policy_state()
    assert all(torch.equal(passed_on[name], habits[name]) for name in habits)


def test_several_budgets_leave_habits_of_each() -> None:
    single = context(6)
    tight = Choices(
        single.choices.levels, lambda ratios: 1.4 * chain_cost(ratios), clamp
    )
    goals = (
        Goal(single.uniform_keep_ratios, single.choices),
        Goal((0.5,) * 6, tight),
    )
    agent, _ = searched(WORTH, 60, goals=goals)
    state = agent.policy_state()
    assert torch.equal(state["looks"][:6], state["looks"][6:])
    for steps in state["steps"].numpy().reshape(2, 6):
        assert abs(steps.mean()) < 1e-9
        assert np.corrcoef(steps, np.log(WORTH))[0, 1] > 0.6
    assert not torch.equal(state["steps"][:6], state["steps"][6:])


def test_without_a_budget_habits_say_how_much_is_kept_in_all() -> None:
    good = np.array([0.9, 0.2, 0.3, 0.2, 0.3, 0.8])

    def free(taught=None, episodes: int = 60):
        given = replace(
            context(6),
            uniform_keep_ratios=(1.0,) * 6,
            choices=Choices(
                (LEVELS,) * 6, lambda ratios: 0 * chain_cost(ratios), tuple
            ),
            look=lambda: seen(good),
            observation_dim=2,
        )
        agent = Critic(given)
        if taught is not None:
            agent.load_policy_state(taught)
        for index in range(episodes):
            agent.begin_episode(index)
            asked = [agent.act(row) for row in seen(good)]
            plan = [min(LEVELS, key=lambda level: abs(level - a)) for a in asked]
            value = -float(((np.array(plan) - good) ** 2).sum())
            agent.observe(Episode(seen(good), torch.tensor(plan), value))
        return agent, value

    teacher, _ = free()
    _, first = free(teacher.policy_state(), 1)
    _, alone = free(episodes=1)
    assert first > 0.5 * alone


def test_a_policy_that_a_critic_cannot_take() -> None:
    agent, _ = searched(WORTH, 12)
    state = dict(agent.policy_state())
    bad = {
        r"looks of the policy is \[6, 9\], and \[6, 2\] is what": {
            "looks": torch.zeros(6, 9)
        },
        r"looks of the policy is \[5, 2\]": {"looks": torch.zeros(5, 2)},
        r"steps of the policy is \[2, 3\]": {"steps": torch.zeros(2, 3)},
        "steps of the policy holds NaN": {"steps": torch.full((6,), torch.nan)},
    }
    for message, wrong in bad.items():
        with pytest.raises(ValueError, match=message):
            agent.load_policy_state({**state, **wrong})
    with pytest.raises(ValueError, match="looks of the policy is missing"):
        agent.load_policy_state({"steps": state["steps"]})
    with pytest.raises(ValueError, match=r"needs context\.look"):
        Critic(context()).load_policy_state(state)
