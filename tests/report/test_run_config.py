from __future__ import annotations

import json
from pathlib import Path

from sample_run import write_config

from agmc.report.run_config import RunConfig, differing


def config(**values: object) -> RunConfig:
    return RunConfig({"agent": "ddpg"}, values)


def test_reads_what_hydra_writes(tmp_path: Path) -> None:
    values = {"seed": 3, "agent": {"tau": 0.1}, "search": {"episodes": 7}}
    write_config(tmp_path, {"agent": "ddpg"}, values)
    read = RunConfig.load(tmp_path, None)
    assert read.choices == {"agent": "ddpg"}
    assert (read.command, read.seed, read.episodes) == ("compress", "3", 7)
    assert read.text(("agent", "agent.tau", "other")) == "agent=ddpg, agent.tau=0.1"


def test_seeds_folders_and_tracking_are_no_difference() -> None:
    one = config(seed=1, out="a", **{"tracking.uri": "x", "search.workers": 1})
    two = config(seed=2, out="b", **{"tracking.uri": "y", "search.workers": 2})
    assert differing([one, two]) == ((), ("search.workers",))


def test_what_a_run_is_about_is_told_from_how_it_goes() -> None:
    one = config(**{"budget": "macs:0.5", "agent.tau": 0.1, "model.name": "a"})
    two = config(**{"budget": "macs:0.3", "agent.tau": 0.2, "model.name": "a"})
    assert differing([one, two]) == (("budget",), ("agent.tau",))


def test_where_a_policy_goes_is_no_difference() -> None:
    one, two = config(**{"policy.save": "a"}), config(**{"policy.save": "b"})
    assert differing([one, two]) == ((), ())


def test_a_choice_for_another_package_stands_for_its_keys() -> None:
    key = "embedding@second_embedding"
    one = RunConfig({key: "rules"}, {"second_embedding._target_": "rules"})
    two = RunConfig({key: "onehot"}, {"second_embedding._target_": "onehot"})
    assert differing([one, two]) == ((), (key,))


def test_a_choice_inside_of_another_too() -> None:
    key = "embedding@embedding.of"
    chosen = {"embedding": "measured"}
    one = RunConfig({**chosen, key: "rules"}, {"embedding.of._target_": "rules"})
    two = RunConfig({**chosen, key: "onehot"}, {"embedding.of._target_": "onehot"})
    assert differing([one, two]) == ((), (key,))


def test_a_later_call_that_was_refused_does_not_say_what_the_run_was(
    tmp_path: Path,
) -> None:
    write_config(tmp_path, {"agent": "td3"}, {"seed": 4})
    hydra = tmp_path / ".hydra" / "hydra.yaml"
    node = json.loads(hydra.read_text())
    node["hydra"]["overrides"] = {"task": ["agent=td3", "seed=4"]}
    hydra.write_text(json.dumps(node))
    result = {"command": "agmc agent=ddpg", "seed": 3, "settings": {"agent": "ddpg"}}
    read = RunConfig.load(tmp_path, result)
    assert (read.seed, read.text(["agent"])) == ("3", "agent=ddpg")
    own = RunConfig.load(tmp_path, {**result, "command": "agmc agent=td3 seed=4"})
    assert (own.seed, own.choices) == ("4", {"agent": "td3"})
