"""What README tells people to type exists and works."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from itertools import islice, product
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser

from agmc.__main__ import _offer_own_rewards
from agmc.commands import COMMANDS
from agmc.words import as_hydra_reads_it

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
#: Flags of agmc that take no value.
FLAGS = {"-m", "--multirun", "--help", "-h", "--cfg", "job", "--version"}
#: Programs that README may name besides agmc, make and python; not looked into.
OTHERS = {"cd", "git", "source", "."}


def blocks(text: str, language: str) -> list[str]:
    """The fenced code blocks of one language."""
    return re.findall(
        rf"^```{language}[^\n]*\n(.*?)^```", text, re.DOTALL | re.MULTILINE
    )


def commands(text: str) -> Iterator[list[str]]:
    """The words of every command in the bash blocks, comments and prompts taken off."""
    for block in blocks(text, "(?:bash|sh|shell|console)"):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line.removeprefix("$ "), comments=True)
            while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                words = words[1:]  # an environment variable for this command
            for part in split(words, {"&&", ";", "||", "|"}):
                if part:
                    yield part


def split(words: list[str], at: set[str]) -> Iterator[list[str]]:
    part: list[str] = []
    for word in words:
        if word in at:
            yield part
            part = []
        else:
            part.append(word)
    yield part


def check(words: list[str]) -> None:
    """Fails unless what the command names exists."""
    program, arguments = Path(words[0]).name, words[1:]
    if arguments[:2] == ["-m", "agmc"] and program.startswith("python"):
        program, arguments = "agmc", arguments[2:]
    if program == "agmc":
        check_agmc(arguments)
    elif program == "make":
        check_make(arguments)
    elif program in ("pip", "pip3") or arguments[:2] == ["-m", "pip"]:
        check_pip(arguments)
    elif program.startswith("python"):
        files = [word for word in arguments if word.endswith(".py")]
        assert all((ROOT / file).exists() for file in files), words
    elif not (ROOT / words[0]).is_file():
        assert program in OTHERS, f"nobody checks {program!r}"


def check_agmc(arguments: list[str]) -> None:
    if arguments and "=" not in arguments[0] and not arguments[0].startswith("-"):
        command, *arguments = arguments
        assert command in COMMANDS, f"agmc has no command {command!r}"
        if command in ("compare", "report"):  # take directories as well
            arguments = [word for word in arguments if "=" in word]
    overrides = [word for word in arguments if word not in FLAGS]
    for word in overrides:
        assert "=" in word or word.startswith("~"), f"{word!r} is no override"
    # What a launcher is made of may not be installed where the tests run.
    launchers = [word for word in overrides if word.startswith("hydra/launcher=")]
    for word in launchers:
        name = word.partition("=")[2]
        text = (ROOT / "conf" / "hydra" / "launcher" / f"{name}.yaml").read_text()
        check_pip(re.findall(r"agmc\[\w+\]", text))
    plain = [word for word in overrides if word not in launchers]
    _offer_own_rewards(plain)
    plain = [as_hydra_reads_it(word) for word in plain]
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        for single in swept(plain):
            compose("config", overrides=single, return_hydra_config=True)


def swept(overrides: list[str]) -> Iterator[list[str]]:
    """The single runs of a sweep, at most sixteen of them."""
    parsed = OverridesParser.create().parse_overrides(overrides)
    choices = [
        [f"{o.get_key_element()}={value}" for value in o.sweep_string_iterator()]
        if o.is_sweep_override()
        else [text]
        for o, text in zip(parsed, overrides, strict=True)
    ]
    yield from (list(single) for single in islice(product(*choices), 16))


def check_make(arguments: list[str]) -> None:
    targets = set(
        re.findall(r"^([\w-]+):(?!=)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    )
    variables = set(
        re.findall(r"^(\w+) \?=", (ROOT / "Makefile").read_text(), re.MULTILINE)
    )
    for word in arguments:
        name, is_variable, _ = word.partition("=")
        known = variables if is_variable else targets
        assert name in known, f"Makefile has no {name!r}"


def check_pip(arguments: list[str]) -> None:
    extras = set(project()["optional-dependencies"])
    for word in arguments:
        match = re.search(r"\[([\w,-]+)\]$", word)
        if match:
            assert set(match.group(1).split(",")) <= extras, word
        if word.endswith(".txt"):
            assert (ROOT / word).exists(), word


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def readme() -> str:
    return README.read_text(encoding="utf-8")


def test_every_command_names_existing_things() -> None:
    found = list(commands(readme()))
    assert any(words[0] == "make" for words in found)
    assert any(words[0] == "agmc" for words in found)
    for words in found:
        check(words)


def test_every_link_into_the_repository_leads_somewhere() -> None:
    for link in re.findall(r"\]\(([^)#\s]+)", readme()):
        if "://" not in link and not link.startswith("mailto:"):
            assert (ROOT / link).exists(), link


def test_the_python_example_runs(tmp_path: Path) -> None:
    """With two episodes instead of however many it shows."""
    examples = blocks(readme(), "python")
    assert examples, "README has no python block"
    for example in examples:
        small = re.sub(r"\bepisodes=\d+", "episodes=2", example)
        ran = subprocess.run(
            [sys.executable, "-c", small],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert ran.returncode == 0, ran.stderr[-2000:]
        assert "print(" not in example or ran.stdout.strip()


TEXT = """
```bash
$ make run ARGS="data=digits"   # a comment
AGMC_DATA=x agmc train \\
    data=digits && agmc -m data=digits,mnist
```
```python
print(1)
```
"""


def test_commands_are_read_as_a_shell_reads_them() -> None:
    assert list(commands(TEXT)) == [
        ["make", "run", "ARGS=data=digits"],
        ["agmc", "train", "data=digits"],
        ["agmc", "-m", "data=digits,mnist"],
    ]
    assert blocks(TEXT, "python") == ["print(1)\n"]


@pytest.mark.parametrize(
    "line",
    [
        "make everything",
        "make run COLOUR=1",
        "agmc shrink",
        "agmc compress digits",
        "agmc data=no_such_data",
        "agmc no_such_key=1",
        "agmc hydra/launcher=cloud",
        "pip install -e '.[colour]'",
        "python no_such_script.py",
        "conda install agmc",
    ],
)
def test_commands_that_name_nothing_fail(line: str) -> None:
    with pytest.raises(Exception, match="."):
        check(shlex.split(line))
