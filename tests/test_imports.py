"""Imports go one way, and every third-party package has its owners.

Read from the syntax tree, so that an import inside a function counts as well.
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "agmc"
FILES = sorted(PACKAGE.rglob("*.py"))

#: Room -> the rooms it may import. A file right below agmc/ is a room of its own.
MAY_IMPORT: dict[str, set[str]] = {
    "graph": set(),
    "models": {"tensor_file", "torchvision_ops", "whole_file"},
    "data": {"torchvision_ops", "whole_file"},
    "agents": {"finite"},
    "finite": set(),
    "torchvision_ops": set(),
    "whole_file": set(),
    "tensor_file": {"finite", "whole_file"},
    "plan": {"graph", "whole_file"},
    "decision": {"graph", "plan"},
    "plan_space": {"decision", "graph", "plan"},
    "cost": {"graph", "plan", "plan_space"},
    "embedding": {
        *(
            "decision",
            "finite",
            "graph",
            "plan",
            "plan_space",
            "tensor_file",
            "whole_file",
        ),
    },
    "compression": {"graph", "plan"},
    "training": {"data", "tensor_file", "whole_file"},
    "tracking": {"whole_file"},
}
MAY_IMPORT["search"] = {*MAY_IMPORT}
MAY_IMPORT["export"] = {*MAY_IMPORT}
MAY_IMPORT["report"] = {*MAY_IMPORT}
MAY_IMPORT["measure"] = {*MAY_IMPORT}
MAY_IMPORT["noise_pruning"] = {*MAY_IMPORT}
MAY_IMPORT["fine_tuning"] = {*MAY_IMPORT}
MAY_IMPORT["carry_out"] = {*MAY_IMPORT}
MAY_IMPORT["pipeline"] = {*MAY_IMPORT}
MAY_IMPORT["job"] = set()
MAY_IMPORT["knobs"] = set()
MAY_IMPORT["commands"] = {*MAY_IMPORT}
MAY_IMPORT["words"] = {"commands"}
MAY_IMPORT["__init__"] = {*MAY_IMPORT}
MAY_IMPORT["__main__"] = {*MAY_IMPORT}

EVERYWHERE = {*MAY_IMPORT}
#: Module -> the rooms that own it; the longest name that fits counts.
OWNERS: dict[str, set[str]] = {
    "torch": EVERYWHERE,
    "torch.export": {"graph"},
    "torch.onnx": {"export"},
    "numpy": EVERYWHERE,
    "networkx": {"graph"},
    "torch_geometric": {"embedding"},
    "gymnasium": {"search", "agents"},
    "torchvision": {"models", "data"},
    "sklearn": {"data"},
    "PIL": {"data"},
    "onnx": {"export"},
    "onnxruntime": {"export"},
    "onnxscript": {"export"},
    "safetensors": {
        *("export", "models", "training", "data"),
        "tensor_file",
    },
    "scipy": {"agents", "report"},
    "optuna": {"agents"},
    "ray": {"search"},
    "rich": {"report", "commands"},
    "stable_baselines3": {"agents"},
    "hydra": {"__main__"},
    "omegaconf": {"__main__", "report"},
    "mlflow": {"tracking"},
    "tensorboard": {"tracking"},
}
#: Declared, but imported by no file: `torch.onnx.export` calls them.
CALLED_BY_OTHERS = {"onnx", "onnxscript"}
#: Name to import -> the extra that declares it.
EXTRAS = {
    "mlflow": "tracking",
    "optuna": "blackbox",
    "ray": "ray",
    "stable_baselines3": "sb3",
    "tensorboard": "tracking",
}
#: Name to import -> name on the index, where they differ.
DISTRIBUTIONS = {
    "PIL": "pillow",
    "sklearn": "scikit-learn",
    "torch_geometric": "torch-geometric",
    "hydra": "hydra-core",
    "stable_baselines3": "stable-baselines3",
}

NO_ROOMS = {"utils", "util", "common", "helpers", "helper", "lib", "misc"}
FAMILIES = re.compile(
    r"res(ne[tx]t?)?\d|resne|vgg|mobilenet|shufflenet|efficientnet|densenet|alexnet"
    r"|googlenet|inception|squeezenet|mnasnet|regnet|convnext",
    re.IGNORECASE,
)


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imported(module: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and dotted name of everything imported; `from a import b` gives `a.b`.

    `torch.export.export(...)` after `import torch` counts as `torch.export`.
    """
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            prefix = "." * node.level + (node.module or "")
            yield from ((node.lineno, f"{prefix}.{a.name}") for a in node.names)
        elif (
            isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id == "torch"
        ):
            yield node.lineno, f"torch.{node.attr}"


def broken_rules(path: Path) -> list[str]:
    """What the imports of one file do wrong, in words."""
    here, found = room(path), []
    for line, name in imported(tree(path)):
        where = f"{path.relative_to(ROOT)}:{line} imports {name}"
        first, _, rest = name.partition(".")
        if first == "":
            found.append(f"{where}: imports are absolute")
        elif first == "agmc":
            target = rest.split(".")[0]
            if target in NO_ROOMS or target not in MAY_IMPORT:
                found.append(f"{where}: no room of MAY_IMPORT; import from its room")
            elif target != here and target not in MAY_IMPORT.get(here, set()):
                found.append(f"{where}: not downwards, see MAY_IMPORT")
        elif first not in sys.stdlib_module_names:
            owned = [o for o in OWNERS if name == o or name.startswith(o + ".")]
            if not owned:
                found.append(f"{where}: nobody owns it, see OWNERS")
            elif here not in OWNERS[max(owned, key=len)]:
                found.append(f"{where}: owned by {OWNERS[max(owned, key=len)]}")
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_one_way(path: Path) -> None:
    assert broken_rules(path) == []


@pytest.mark.parametrize(
    ("file", "code", "word"),
    [
        ("graph/a.py", "from agmc.plan import Plan", "downwards"),
        ("cost/a.py", "def f():\n    from agmc.search import env", "downwards"),
        ("plan.py", "import agmc.cost.model", "downwards"),
        ("data/a.py", "from . import splits", "absolute"),
        ("data/a.py", "from agmc import trace", "no room"),
        ("search/a.py", "from omegaconf import DictConfig", "owned by"),
        ("cost/a.py", "import torch\ntorch.export.export", "owned by"),
        ("cost/a.py", "from torch.export import export", "owned by"),
        ("cost/a.py", "import pandas", "nobody owns it"),
    ],
)
def test_the_rules_see_what_they_are_for(
    file: str, code: str, word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    monkeypatch.setattr(sys.modules[__name__], "PACKAGE", tmp_path / "agmc")
    path = tmp_path / "agmc" / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(code)
    (problem,) = broken_rules(path)
    assert word in problem


def test_every_room_is_in_the_table_and_named_after_its_job() -> None:
    rooms = {room(path) for path in FILES}
    assert rooms <= set(MAY_IMPORT)
    names = {
        part for p in FILES for part in p.relative_to(PACKAGE).with_suffix("").parts
    }
    assert not names & NO_ROOMS
    for path in PACKAGE.iterdir():
        if path.is_dir() and list(path.glob("*.py")):
            assert (path / "__init__.py").exists(), f"{path.name} has no __init__.py"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_no_file_is_longer_than_300_lines(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 300


def test_what_is_imported_is_declared_and_the_other_way_round() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    def names(requirements: list[str]) -> set[str]:
        return {re.split(r"[<>=!~\[ ]", line)[0] for line in requirements}

    owned = {name for name in OWNERS if "." not in name}
    needed = {DISTRIBUTIONS.get(name, name) for name in owned - set(EXTRAS)}
    assert names(project["dependencies"]) == needed
    for name, extra in EXTRAS.items():
        assert DISTRIBUTIONS.get(name, name) in names(
            project["optional-dependencies"][extra]
        )
    used = {name.split(".")[0] for p in FILES for _, name in imported(tree(p))}
    assert owned - used <= CALLED_BY_OTHERS


def names_compared(module: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and text of every string that decides something.

    Operands of comparisons, patterns of `match`, keys of dicts and subscripts, and
    arguments of `startswith` and `endswith`.
    """
    for node in ast.walk(module):
        deciding: list[ast.AST] = []
        if isinstance(node, ast.Compare):
            deciding = [node.left, *node.comparators]
        elif isinstance(node, ast.MatchValue):
            deciding = [node.value]
        elif isinstance(node, ast.Dict):
            deciding = [key for key in node.keys if key is not None]
        elif isinstance(node, ast.Subscript):
            deciding = [node.slice]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.func.attr in ("startswith", "endswith", "removeprefix", "search"):
                deciding = list(node.args)
        for part in deciding:
            for leaf in ast.walk(part):
                if isinstance(leaf, ast.Constant) and isinstance(leaf.value, str):
                    yield leaf.lineno, leaf.value


@pytest.mark.parametrize(
    "path",
    [path for path in FILES if room(path) != "models"],
    ids=lambda p: str(p.relative_to(PACKAGE)),
)
def test_no_branch_on_the_name_of_a_network(path: Path) -> None:
    named = [
        f"{path.relative_to(ROOT)}:{line} {text!r}"
        for line, text in names_compared(tree(path))
        if FAMILIES.search(text)
    ]
    assert named == []


@pytest.mark.parametrize(
    "code",
    [
        "if name == 'resnet56': pass",
        "if 'vgg' in name: pass",
        "if name in ('mobilenet_v2', 'other'): pass",
        "if name.startswith('shufflenet'): pass",
        "CHANNELS = {'ResNet20': [16, 32, 64]}",
        "match name:\n    case 'vgg16': pass",
    ],
)
def test_the_search_for_names_sees_what_it_is_for(code: str) -> None:
    assert any(FAMILIES.search(text) for _, text in names_compared(ast.parse(code)))
