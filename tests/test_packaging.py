"""pyproject.toml, constraints.txt and conf/ agree."""

from __future__ import annotations

import tomllib
from pathlib import Path

from packaging.requirements import Requirement

import agmc

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    exact = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {name: version for name, version in exact}


def test_every_direct_dependency_has_an_exact_version_in_its_range() -> None:
    project = PROJECT["project"]
    named = [*project["dependencies"]]
    for extra in project["optional-dependencies"].values():
        named += extra
    requirements = [Requirement(text) for text in named]
    assert sorted(pins()) == sorted({r.name for r in requirements})
    for requirement in requirements:
        assert pins()[requirement.name] in requirement.specifier, requirement


def test_the_extras_of_the_contract_are_there() -> None:
    extras = set(PROJECT["project"]["optional-dependencies"])
    assert extras == {
        *("ray", "joblib", "submitit", "sb3", "blackbox", "tracking", "dev")
    }


def test_conf_becomes_part_of_the_package() -> None:
    wheel = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert "conf" in wheel["only-include"]
    assert wheel["sources"] == {"conf": "agmc/conf"}
    # Inside an installed wheel, beside the package in the repository.
    package = Path(agmc.__file__).parent
    assert (package / "conf").is_dir() or (package.parent / "conf").is_dir()
