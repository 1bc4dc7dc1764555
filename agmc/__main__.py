"""The command line: reads the configuration into a `Job` and runs its command.

The only file that knows Hydra. What the commands do stands in `agmc.commands`.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shlex
import sys
import warnings
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NoReturn

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, InstantiationException
from hydra.types import RunMode
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from agmc.commands import command_of
from agmc.job import Job
from agmc.knobs import check_knobs, is_called
from agmc.plan_space import PlanSpace
from agmc.search.policy import Policy
from agmc.search.workers import Workers
from agmc.words import (
    OPTIONAL,
    as_hydra_reads_it,
    command_first,
    config_directory,
    own_rewards,
    refuse_null,
)

_log = logging.getLogger("agmc")
_WORKERS = ("workers", "in_flight", "executor", "address")
_SPACE = (
    *("parts", "min_keep_ratio", "round_to", "weight_bits", "act_bits", "end_bits"),
    *("max_sparsity", "mapping"),
)
_SECTIONS = ("model", "search", "compression", "policy", "export")
_USER_ERRORS = (ValueError, OSError, HydraException, OmegaConfBaseException)


def main() -> None:
    """The console script `agmc`: exits with 2 and one line when the user erred."""
    # Hydra would print its own kind of error; with this it hands it on.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    warnings.showwarning = lambda message, *_, **__: _log.warning("%s", message)
    try:
        command_first(sys.argv)
        refuse_null(sys.argv[1:])
        _offer_own_rewards(sys.argv[1:])
        sys.argv[1:] = map(as_hydra_reads_it, sys.argv[1:])
        if int(os.environ.get("WORLD_SIZE", "1")) == 1:
            _run()
        else:
            _run_in_a_team()
    except _USER_ERRORS as error:
        _refuse(error)


def _run_in_a_team() -> None:
    """As `torchrun` starts it: all processes train, and the first alone tells of it.

    Raises:
        ValueError: nothing is trained, or there are several runs.
    """
    words = sys.argv[1:]
    commands = [word for word in words if word.startswith("command=")]
    trains = not {*commands} - {"command=train", "command=compress"}
    if not trains or {"-m", "--multirun"} & {*words}:
        raise ValueError(
            "torchrun shares the training of one `agmc train` or `agmc compress`; "
            "start anything else, and sweeps, without it"
        )
    if "RANK" not in os.environ:
        raise ValueError(
            f"WORLD_SIZE (={os.environ['WORLD_SIZE']}) is set and RANK is not: start "
            "several processes with torchrun, or unset it"
        )
    if os.environ["RANK"] == "0":
        _run()
        return
    with TemporaryDirectory() as folder, open(os.devnull, "w") as nowhere:
        own = (f"out={folder}", "tracking=none")
        rest = [w for w in words if not w.startswith(("out=", "tracking", "hydra"))]
        sys.argv[1:] = [*rest, *own]
        with contextlib.redirect_stdout(nowhere):
            _run()


def _offer_own_rewards(arguments: Iterable[str]) -> None:
    """Makes every `package.module:function` of `reward=A,B` a choice of that group.

    It is the choice `own` with that function, and can be swept over like the others.
    """
    for name in own_rewards(arguments):
        node = {"_target_": "agmc.search.reward.own", "function": name}
        ConfigStore.instance().store(name, node, group="reward", provider="agmc")


@hydra.main(
    config_path=str(config_directory()), config_name="config", version_base="1.3"
)
def _run(config: DictConfig) -> None:
    try:
        job = _job(config)
        command = command_of(job.command)
        if HydraConfig.get().mode == RunMode.MULTIRUN and job.finished:
            _log.info("finished before: %s", job.directory)
            return
        command(job)
    except _USER_ERRORS as error:
        if HydraConfig.get().mode == RunMode.MULTIRUN:
            raise  # the other runs go on, and Hydra says which one failed
        _refuse(error)


def _job(config: DictConfig) -> Job:
    """The configuration without Hydra."""
    choices = HydraConfig.get().runtime.choices
    for name in _SECTIONS:
        section = OmegaConf.select(config, name)
        if not OmegaConf.is_dict(section):
            said = "null" if section is None else section
            raise ValueError(
                f"{name} (={said}) must be a section of settings; leave it as "
                f"it is, or set what stands in it: {name}.SETTING=VALUE"
            )
    _check(config.search.evaluator, "search.evaluator")
    evaluator = config.search.evaluator
    runs = config.runs if OmegaConf.is_list(config.runs) else [config.runs]
    space = OmegaConf.to_container(config.compression, resolve=True)
    assert isinstance(space, dict)
    budget = config.budget
    if OmegaConf.is_list(budget):
        budget = [str(part) for part in budget]
    elif budget is not None:
        budget = str(budget)
    values = {
        "command": config.command,
        "network": config.model.name,
        "weights": config.model.weights,
        "cache": config.cache,
        "budget": budget,
        "latency_table": config.latency_table,
        "energy_table": config.energy_table,
        "plan": config.plan,
        "space": {key: space[key] for key in _SPACE},
        "episodes": config.search.episodes,
        "workers": {key: config.search[key] for key in _WORKERS},
        "policy": {str(key): value for key, value in config.policy.items()},
        "reconstruction_images": evaluator.reconstruction_images,
        "recalibration_images": evaluator.recalibration_images,
        "calibration_images": config.compression.calibration_images,
        "batch_size": evaluator.batch_size,
        "entropy": config.export.entropy,
        "int4": config.export.int4,
        "measured": config.measured,
        "checkpoint": config.checkpoint,
        "runs": [str(run) for run in runs if run is not None],
        "reference": config.reference,
        "seed": config.seed,
        "overridden": [
            word.partition("=")[0].lstrip("+~")
            for word in HydraConfig.get().overrides.task
        ],
    }
    check_knobs(Job, values)
    check_knobs(PlanSpace, values["space"], name="compression")
    check_knobs(Workers, values["workers"], name="search")
    check_knobs(Policy, values["policy"], name="policy")
    record = {
        "settings": {
            "model": config.model.name,
            **{group: choices[group] for group in ("data", "embedding", "agent")},
            "episodes": config.search.episodes,
            "budget": ", ".join(budget) if isinstance(budget, list) else budget,
            "entropy": config.export.entropy,
        },
        "seed": config.seed,
        "command": shlex.join(["agmc", *HydraConfig.get().overrides.task]),
    }
    directory = Path(HydraConfig.get().runtime.output_dir)

    def make(key: str) -> Any:
        return _made(config, key)

    return Job(make=make, directory=directory, record=record, **values)


def _made(config: DictConfig, key: str) -> Any:
    """What a part of the configuration describes, its knobs checked by name and type.

    A function or class to be called later is as well checked now as one called here.
    """
    node = OmegaConf.select(config, key, throw_on_missing=True)
    if node is None and key in OPTIONAL:
        return None
    if node is None and "." not in key:
        raise ValueError(f"the configuration has no {key}; choose one: {key}=NAME")
    _check(node, key)
    return instantiate(node, _convert_="all")  # lists and dicts, none of OmegaConf's


def _check(node: Any, name: str) -> None:
    """Refuses knobs that what is described would not take, and what is inside it."""
    if not OmegaConf.is_dict(node) or not node.get("_target_"):
        group = name.rpartition(".")[2]
        has_choices = (config_directory() / group).is_dir()
        how = f": +{group}@mine=NAME {name}='${{mine}}'" if has_choices else ""
        raise ValueError(
            f"{name} (={'null' if node is None else node}) says nothing that can be "
            f"made; leave it as it is, or describe another with its _target_{how}"
        )
    knobs = {str(k): v for k, v in node.items() if not str(k).startswith("_")}
    target = get_object(node["_target_"])
    check_knobs(target, knobs, name=name)
    for knob, value in knobs.items():
        described = OmegaConf.is_dict(value) and "_target_" in value
        if described or is_called(target, knob):
            _check(value, f"{name}.{knob}")


def _refuse(error: BaseException) -> NoReturn:
    """Says in one line what the user can do about it."""
    _log.debug("", exc_info=error)
    while isinstance(error, InstantiationException) and error.__cause__ is not None:
        error = error.__cause__
    # Hydra ends with where it has searched, and that is no news to anybody.
    text = " ".join(str(error).partition("Config search path:")[0].split())
    print(f"agmc: error: {text or type(error).__name__}", file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
    main()
