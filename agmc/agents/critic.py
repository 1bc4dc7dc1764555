"""Critic: learns what plans are worth; screens proposals before one is tried."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping

import numpy as np
import torch
from scipy.stats import norm
from torch import Tensor

from agmc.agents import checks
from agmc.agents.actor_critic import feature_encoder
from agmc.agents.agent import Agent, AgentContext, Episode, Goal
from agmc.agents.goal_turns import goal_of_episode
from agmc.agents.habits import Habits, described, looks_of
from agmc.agents.plan_value import PlanValue
from agmc.agents.policy_state import check_state, load_state, state_of
from agmc.agents.proposals import Proposals, start_of

_ELITES = 10
_SURVIVORS = 24
_FINALISTS = 6  # compared once more after rounding, which takes some milliseconds each


class Critic(Agent):
    """A critic of whole plans, asked about hundreds of proposals for each evaluation.

    An evaluation takes a second and gives one number, so all that can be known of the
    reward should be drawn from the few there are. As in QT-Opt (Kalashnikov et al.
    2018) there is a critic but no actor network: the plan to try is searched for by the
    cross-entropy method under the critic. The critic is a Gaussian process over the
    logarithms of the keep ratios, and what it is asked for is expected improvement
    (Jones et al. 1998). Decisions with similar observations have similar slopes in it:
    this is where a good embedding helps. They also move together in many of the
    proposals, and in the first plans: it takes few evaluations to find out what a kind
    of layer is worth, and the more the better the embedding tells kinds apart.

    The first plan is the uniform one, or, where it is expected how much each decision
    matters, one that keeps more of those that matter more. Then come plans drawn around
    it, and so is every tenth one later: far from the plans it has settled on, the
    critic would extrapolate from nothing and never find out. Plans not yet observed,
    with several evaluations under way, count as the critic expects them.
    Of several budgets each takes its turn and has a critic of its own, which learns
    from plans of the budgets next to it as well: what a decision is worth changes
    slowly from one budget to the next, and much from the first to the last.

    Its policy, see `Agent`, are habits: how far the plans it thinks best are from the
    one it begins with by itself, by what is seen of a decision, encoder included where
    there is one. Where the embedding has a scale that networks share, decisions are
    compared on it, and those that are like none it knows are left as they are. An agent
    that has taken habits over begins where they lead, and adds what it finds to them
    after more than ten episodes.

    Args:
        context: needs `choices`.
        first_plans: episodes before the critic is asked, the uniform ones of further
            budgets not counted, and those that its hyperparameters are fitted to; >= 2.
        spread: of the first plans, standard deviation of log keep ratios, > 0.
        together: the share of its variance that decisions which look alike have in
            common, in [0, 1].
        tilt: of the first plan: a decision expected to matter by a standard deviation
            more than the mean keeps exp(tilt) times as much, before the budget is used
            up; >= 0.
        proposals: that are screened in each round, >= 32.
        rounds: of the cross-entropy method, >= 0.
        look_around: turns from one plan drawn as the first ones to the next, >= 2; 0:
            there are no more of them.
        memory: plans that a critic knows at most, the latest, and under a single
            budget the best; >= 16.
        near: plans that the critic of one of several budgets wants to know: those of
            its own, then of the budgets one step away, and so on, >= 16.
        refit: episodes from one fit of its hyperparameters to the next, since the plans
            that it knows are others then, >= 1; under a single budget there is one.

    Raises:
        ValueError: a number is out of range, or there are no choices.
    """

    def __init__(
        self,
        context: AgentContext,
        *,
        first_plans: int = 8,
        spread: float = 0.4,
        together: float = 0.75,
        tilt: float = 0.25,
        proposals: int = 256,
        rounds: int = 3,
        look_around: int = 10,
        memory: int = 600,
        near: int = 60,
        refit: int = 40,
    ) -> None:
        if context.choices is None:
            raise ValueError("this agent weighs whole plans; it needs context.choices")
        checks.at_least(2, first_plans=first_plans)
        checks.at_least(32, proposals=proposals)
        checks.at_least(0, rounds=rounds)
        if look_around:
            checks.at_least(2, look_around=look_around)
        checks.at_least(16, memory=memory, near=near)
        checks.at_least(1, refit=refit)
        checks.positive(spread=spread)
        checks.not_negative(tilt=tilt)
        checks.share(together=together)
        self._spread, self._together = spread, together
        self._num_proposals, self._rounds = proposals, rounds
        self._look_around, self._memory = look_around, memory
        self._near, self._refit = near, refit if len(context.goals) > 1 else np.inf
        random = np.random.default_rng(context.seed)
        single = Goal(context.uniform_keep_ratios, context.choices)
        goals = context.goals or (single,)
        self._uniform = [np.array(goal.uniform_keep_ratios) for goal in goals]
        self._goals = [
            start_of(goal, context.sensitivities, tilt, random) for goal in goals
        ]
        self._enough, self._num_first = first_plans, first_plans + len(goals) - 1
        self._encoder, num_features = feature_encoder(
            context.encoder, context.observation_dim
        )
        self._look = context.look
        self._looks: np.ndarray | None = None
        self._traits: np.ndarray | None = None  # what habits know decisions by
        if context.absolute is not None:
            self._traits = context.absolute.double().numpy()
            num_features = self._traits.shape[1]
        self._habits = Habits.none(num_features)
        self._led: list[np.ndarray] = []  # where habits begin under each goal
        self._values: dict[int, PlanValue] = {}  # by goal
        self._pending: deque[np.ndarray] = deque()
        self._step = 0
        self._under: list[int] = []  # goals of plans, those that are pending included
        self._plans: list[np.ndarray] = []
        self._rewards: list[float] = []

    def begin_episode(self, index: int) -> None:
        """Decide on the whole plan."""
        if self._looks is None and self._look is not None:
            self._see(self._look())
        goal = goal_of_episode(index, len(self._goals))
        turn = self._under.count(goal)
        self._under.append(goal)
        start, proposals = self._goals[goal]
        around = self._look_around and turn % self._look_around == 0
        start = self._led[goal] if self._habits.steps.size else start
        if index < len(self._goals):
            plan = start
        elif around or index < self._num_first or len(self._plans) < 2:
            plan = proposals.near(start, self._spread, self._together)
        else:
            plan = self._best(goal, start)
        self._pending.append(proposals.executable(plan))
        self._step = 0

    def act(self, observation: Tensor, explore: bool = True) -> float:
        """The next keep ratio of the plan."""
        action = self._pending[-1][self._step]
        self._step += 1
        return float(action)

    def observe(self, episode: Episode) -> None:
        """Remember what the plan was worth."""
        self._pending.popleft()
        if self._looks is None:
            self._see(episode.observations)
        self._plans.append(episode.actions.double().numpy())
        self._rewards.append(episode.reward)

    def _best(self, goal: int, start: np.ndarray) -> np.ndarray:
        """The proposal of the highest expected improvement that was not tried yet."""
        _, proposals = self._goals[goal]
        plans, value = self._learned(goal)
        expected, _ = value.predict(plans)
        best = expected.max()  # without the noise of a single evaluation

        def improvement(candidates: np.ndarray) -> np.ndarray:
            mean, deviation = value.predict(candidates)
            z = (mean - best) / deviation
            worth: np.ndarray = deviation * (z * norm.cdf(z) + norm.pdf(z))
            return worth

        elites = plans[np.argsort(-expected)[:_ELITES]]
        return self._screened(proposals, start, elites, improvement)

    def _screened(
        self,
        proposals: Proposals,
        start: np.ndarray,
        elites: np.ndarray,
        worth: Callable[[np.ndarray], np.ndarray],
    ) -> np.ndarray:
        """The plan worth most that the cross-entropy method finds around others."""
        candidates = proposals.around(elites, self._num_proposals)
        worths = worth(candidates)
        for _ in range(self._rounds):
            kept = np.argsort(-worths)[:_SURVIVORS]
            more = proposals.between(candidates[kept], self._num_proposals)
            candidates = np.concatenate([candidates[kept], more])
            worths = np.concatenate([worths[kept], worth(more)])
        tried = {_key(plan) for plan in (*self._plans, *self._pending)}
        elsewhere = proposals.around(start[None], self._num_proposals)
        executable: dict[bytes, np.ndarray] = {}
        for plan in (*candidates[np.argsort(-worths)], *elsewhere):
            executed = proposals.executable(plan)
            if _key(executed) not in tried:
                executable.setdefault(_key(executed), executed)
            if len(executable) == _FINALISTS:
                break
        finalists = np.array(list(executable.values()) or [executed])
        chosen: np.ndarray = finalists[np.argmax(worth(finalists))]
        return chosen

    def _learned(self, goal: int) -> tuple[np.ndarray, PlanValue]:
        """The plans known of a goal, as they are under it, and what they are worth."""
        which = self._known(goal)
        plans, rewards = np.array(self._plans)[which], np.array(self._rewards)[which]
        if goal not in self._values:
            assert self._looks is not None
            alike = described(self._looks)
            fits = self._enough, self._refit
            self._values[goal] = PlanValue(self._uniform[goal], alike, *fits)
        value = self._values[goal]
        value.learn(plans, rewards, seen=len(self._plans), pending=self._pending)
        if len(self._goals) > 1:  # what those of other budgets would be
            plans = self._goals[goal][1].within(plans)
        return plans, value

    def _known(self, goal: int) -> np.ndarray:
        """Numbers of the plans that the critic of a goal learns from, ascending."""
        which = np.arange(len(self._rewards))
        if len(self._goals) > 1:
            away = np.abs(np.array(self._under)[which] - goal)
            return which[away <= np.sort(away)[: self._near].max()][-self._memory :]
        if len(which) > self._memory:
            latest, older = which[-self._memory // 4 :], which[: -self._memory // 4]
            rewards = np.array(self._rewards)[older]
            best = older[np.argsort(-rewards)[: self._memory - len(latest)]]
            which = np.sort(np.concatenate([best, latest]))
        return which

    def policy_state(self) -> Mapping[str, Tensor]:
        """Habits, those it began with included, and the encoder; see `Agent`."""
        habits = self._habits
        if len(self._plans) > _ELITES:  # else the best would be all there are
            habits = habits.plus(self._found())
        return {**habits.state(), **self._encoder_state()}

    def load_policy_state(self, state: Mapping[str, Tensor]) -> None:
        """Begin with the habits of another critic; see `Agent`."""
        if self._look is None:
            raise ValueError("this agent plans ahead; it needs context.look")
        known = state["steps"].numel() if "steps" in state else 0
        looks = torch.zeros(known, self._habits.looks.shape[1])
        own = {"looks": looks, "steps": torch.zeros(known)}
        check_state({**own, **self._encoder_state()}, state)
        encoder = {n.removeprefix("encoder."): v for n, v in state.items() if "." in n}
        load_state(self._encoder, encoder)
        self._habits = Habits.of_state(state)

    def _encoder_state(self) -> dict[str, Tensor]:
        return {f"encoder.{n}": v for n, v in state_of(self._encoder).items()}

    def _found(self) -> Habits:
        """How far the plans it thinks best are from where each budget begins."""
        assert self._traits is not None
        habits = Habits.none(self._traits.shape[1])
        for goal, (start, proposals) in enumerate(self._goals):
            plans, value = self._learned(goal)
            expected, _ = value.predict(plans)
            best = plans[np.argsort(-expected)[:_ELITES]]
            steps = np.log(best / start).mean(0)
            if not proposals.free:  # how much is kept in all is up to the budget
                steps -= steps.mean()
            habits = habits.plus(Habits(self._traits, steps))
        return habits

    def _see(self, observations: Tensor) -> None:
        """Takes in what there is to see of the decisions."""
        with torch.no_grad():
            features: np.ndarray = self._encoder(observations).double().numpy()
        self._looks = looks_of(features)
        self._traits = self._looks if self._traits is None else self._traits
        habit = np.exp(self._habits.expected(self._traits))
        for start, proposals in self._goals:
            proposals.see(self._looks)
            self._led.append(proposals.within((start * habit)[None])[0])


def _key(plan: np.ndarray) -> bytes:
    return np.round(plan, 6).tobytes()
