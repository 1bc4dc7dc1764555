"""Every shipped configuration says what its target takes, and can be instantiated.

For each mapping with a `_target_` in agmc, anywhere below conf/:

- its keys are the keyword-only parameters of the target, all of them, in order;
- its values are the defaults of the target.

Three things are written down here because no syntax tells them:

- `VARIES`: what the name of a file in a group stands for, and so differs from the
  default; a parameter before `*` may be set there too.
- `GIVEN`: keyword-only parameters that are no knobs, since the program hands them in.
  One without a default is always taken for such, unless a file sets it.
- An interpolation (`${seed}`) may stand for any value.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, OmegaConf

from agmc.search.choices import AGENTS

CONF = Path(__file__).resolve().parents[1] / "conf"
PRIMARY = "config"

VARIES: dict[str, set[str]] = {
    "model": {"name"},
    # The published normalisation, padding and flips of each data set.
    "data": {"root", "mean", "std", "size", "crop_padding", "flip"},
    "budget": {"metric", "limit"},
    # A recipe is tuned for the data set it is named after.
    "train": {"epochs", "learning_rate", "batch_size"},
    "finetune": {"epochs", "learning_rate", "batch_size", "max_gradient_norm"},
    "agent": {"algorithm"},
}
GIVEN: set[str] = {
    "graph_encoder",  # of another embedding, whose file stands in the defaults
    "of",  # the same
    "networks",  # other networks for the auto-encoder to learn from
    "progress",  # told about every step
    "quantization",  # of the search, see conf/compression
    "on_epoch",
    "other_classes",  # allowed by `agmc train` alone
}

FILES = sorted(CONF.rglob("*.yaml"))
CHOICES = [
    path.relative_to(CONF).with_suffix("") for path in FILES if path.parent != CONF
]


def targets(node: Any) -> Iterator[dict[str, Any]]:
    """All mappings with a `_target_` in agmc, the outer ones first."""
    if isinstance(node, dict):
        if str(node.get("_target_", "")).startswith("agmc."):
            yield node
        for value in node.values():
            yield from targets(value)
    elif isinstance(node, list):
        for value in node:
            yield from targets(value)


def mismatches(node: dict[str, Any], group: str) -> list[str]:
    """What a mapping with a `_target_` says otherwise than its target."""
    parameters = inspect.signature(get_object(node["_target_"])).parameters
    knobs = [
        name
        for name, parameter in parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
        and name not in GIVEN
        and (parameter.default is not parameter.empty or name in node)
    ]
    varies = VARIES.get(group, set())
    leading = [
        name
        for name, parameter in parameters.items()
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD and name in varies
    ]
    keys = [
        key
        for key in node
        if key != "defaults" and not (key.startswith("_") and key.endswith("_"))
    ]
    expected = [name for name in leading if name in keys] + knobs
    found = []
    if keys != expected:
        found.append(f"keys {keys} are not {expected}")
    for key in keys:
        if key not in parameters or key in varies or is_free(node[key]):
            continue
        default = parameters[key].default
        if default is not inspect.Parameter.empty and plain(default) != node[key]:
            found.append(f"{key}: {node[key]!r} is not the default {default!r}")
    return found


def is_free(value: Any) -> bool:
    """Whether a value is an interpolation or a target, which has its own check."""
    if isinstance(value, dict):
        return "_target_" in value
    return isinstance(value, str) and "${" in value


def plain(value: Any) -> Any:
    """A default as YAML would write it."""
    if isinstance(value, (tuple, list)):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def test_agents_by_name_are_those_of_the_configuration() -> None:
    chosen = {}
    for path in (CONF / "agent").glob("*.yaml"):
        node = OmegaConf.to_container(OmegaConf.load(path))
        knobs = {key: node[key] for key in VARIES["agent"] & node.keys()}
        chosen[path.stem] = get_object(node["_target_"]), knobs
    assert chosen == {
        name: (getattr(build, "func", build), getattr(build, "keywords", {}))
        for name, build in AGENTS.items()
    }


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(CONF)))
def test_keys_are_the_knobs_and_values_their_defaults(path: Path) -> None:
    content = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    group = path.relative_to(CONF).parts[0]
    for node in targets(content):
        assert mismatches(node, group) == [], node["_target_"]


@pytest.mark.parametrize("choice", CHOICES, ids=str)
def test_every_choice_composes_and_can_be_instantiated(choice: Path) -> None:
    # Such a file may override several groups: `+experiment=NAME`.
    new = OmegaConf.load(CONF / f"{PRIMARY}.yaml").get("defaults", [])
    groups = {str(key).split()[-1] for entry in new if entry for key in keys_of(entry)}
    group = choice.parent.as_posix()
    # Hydra's own groups have a choice already.
    plus = "" if group in groups or group.startswith("hydra/") else "+"
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose(PRIMARY, overrides=[f"{plus}{group}={choice.name}"])
    node = OmegaConf.select(config, group.replace("/", "."))
    if isinstance(node, DictConfig) and "_target_" in node:
        made = instantiate(node, _partial_=True)
        # Raises TypeError for a keyword that the target does not take.
        inspect.signature(made.func).bind_partial(*made.args, **made.keywords)


def keys_of(entry: Any) -> list[str]:
    return list(entry) if isinstance(entry, DictConfig) else [str(entry)]


def test_the_main_configuration_composes() -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose(PRIMARY)
    assert OmegaConf.to_container(config, resolve=True, throw_on_missing=False)


def example(size: int, *, depth: int = 3, widths: tuple[int, ...] = (1, 2)) -> None:
    """What the tests below point at."""


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ({"depth": 3, "widths": [1, 2]}, None),
        ({"depth": "${other}", "widths": [1, 2]}, None),
        ({"depth": 4, "widths": [1, 2]}, "depth: 4 is not the default 3"),
        ({"widths": [1, 2], "depth": 3}, "keys"),
        ({"depth": 3}, "keys"),
        ({"depth": 3, "widths": [1, 2], "colour": 1}, "keys"),
        ({"size": 1, "depth": 3, "widths": [1, 2]}, "keys"),
    ],
)
def test_the_check_sees_what_it_is_for(
    content: dict[str, Any], problem: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(globals(), "get_object", lambda name: example)
    found = mismatches({"_target_": "agmc.example", **content}, "group")
    assert [problem in line for line in found] == ([True] if problem else [])
