"""Checkpoints: every way in, and one line for every bad file."""

from __future__ import annotations

from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from agmc.models import classes_of, load_model, load_weights, save_weights


def tiny(classes: int = 3) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, classes)
    )


@pytest.fixture
def state() -> dict[str, Tensor]:
    torch.manual_seed(1)
    return {name: value.clone() for name, value in tiny().state_dict().items()}


def assert_refused(path: Path, *words: str, model: nn.Module | None = None) -> None:
    model = model or tiny()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(ValueError) as caught:
        load_weights(model, path)
    message = str(caught.value)
    assert "\n" not in message
    assert path.name in message
    for word in words:
        assert word in message
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".pth", ".th"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_loads_every_format(tmp_path, state, suffix, prefix):
    path = tmp_path / f"weights{suffix}"
    named = {prefix + name: value for name, value in state.items()}
    if suffix == ".safetensors":
        safetensors.torch.save_file(named, path)
    else:
        torch.save({"state_dict": named, "best": 91.2}, path)
    model = tiny()
    load_weights(model, path)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, state[name], rtol=0, atol=0)


def test_counters_may_be_missing(tmp_path, state):
    del state["1.num_batches_tracked"]
    torch.save(state, tmp_path / "w.pt")
    model = tiny()
    load_weights(model, tmp_path / "w.pt")
    assert torch.equal(model.state_dict()["3.weight"], state["3.weight"])


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere.pt"):
        load_weights(tiny(), tmp_path / "nowhere.pt")


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_truncated(tmp_path, state, suffix):
    path = tmp_path / f"weights{suffix}"
    if suffix == ".pt":
        torch.save(state, path)
    else:
        safetensors.torch.save_file(state, path)
    path.write_bytes(path.read_bytes()[:-100])
    assert_refused(path, "truncated")


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_foreign(tmp_path, suffix):
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(b"hello, I am a text file")
    assert_refused(path)


class Hostile:
    """Would run code when unpickled."""

    def __reduce__(self):
        return (Path.touch, (Path("hostile-was-here"),))


def test_pickled_code_does_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": Hostile()}, tmp_path / "w.pt")
    assert_refused(tmp_path / "w.pt", "plain tensors")
    assert not (tmp_path / "hostile-was-here").exists()


def test_unknown_suffix(tmp_path):
    (tmp_path / "weights.bin").write_bytes(b"")
    assert_refused(tmp_path / "weights.bin", ".safetensors")


def test_no_state_dict(tmp_path):
    torch.save({"accuracy": 0.9}, tmp_path / "w.pt")
    assert_refused(tmp_path / "w.pt", "no state dict")


def test_other_names(tmp_path, state):
    state["head.weight"] = state.pop("3.weight")
    torch.save(state, tmp_path / "w.pt")
    assert_refused(tmp_path / "w.pt", "misses 3.weight", "unexpected head.weight")


def test_other_shape(tmp_path, state):
    state["0.weight"] = torch.zeros(4, 3, 3, 3)
    torch.save(state, tmp_path / "w.pt")
    assert_refused(tmp_path / "w.pt", "0.weight", "(4, 3, 3, 3)", "(4, 1, 3, 3)")


def test_other_number_of_classes(tmp_path, state):
    torch.save(state, tmp_path / "w.pt")
    assert_refused(
        tmp_path / "w.pt", "3 classes", "the model has 10", model=tiny(classes=10)
    )


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_not_finite(tmp_path, state, bad):
    state["0.weight"][0, 0, 0, 0] = bad
    torch.save(state, tmp_path / "w.pt")
    assert_refused(tmp_path / "w.pt", "0.weight", "NaN")


def test_load_model_takes_weights_of_the_same_network(tmp_path):
    first = load_model(10, 1, name="resnet20")
    safetensors.torch.save_file(first.state_dict(), tmp_path / "w.safetensors")
    second = load_model(10, 1, name="resnet20", weights=tmp_path / "w.safetensors")
    images = torch.randn(2, 1, 8, 8)
    torch.testing.assert_close(second.eval()(images), first.eval()(images))


class TwoHeads(nn.Module):
    """Gives the classes twice, as networks with auxiliary classifiers."""

    def __init__(self, classes: int, width: int = 4) -> None:
        super().__init__()
        self.body = nn.Linear(2, width)
        self.aside, self.head = nn.Linear(width, classes), nn.Linear(width, classes)


def test_weights_of_other_classes_leave_the_classifiers_fresh(tmp_path, caplog):
    theirs, ours, path = TwoHeads(8), TwoHeads(2), tmp_path / "w.safetensors"
    safetensors.torch.save_file(theirs.state_dict(), path)
    assert_refused(path, "is for 8 classes, the model has 2", model=ours)
    before = {name: value.clone() for name, value in ours.state_dict().items()}
    with caplog.at_level("INFO"):
        load_weights(ours, path, other_classes=True)
    for name, value in ours.state_dict().items():
        of = before if "body" not in name else theirs.state_dict()
        assert torch.equal(value, of[name]), name
    assert "is for 8 classes, not for 2: aside.weight, aside.bias" in caplog.text
    # As many classes: all is taken over. Another width: nothing is.
    again = TwoHeads(8)
    load_weights(again, path, other_classes=True)
    assert torch.equal(again.head.weight, theirs.head.weight)
    with pytest.raises(ValueError, match=r"body.weight has shape \(4, 2\), the model"):
        load_weights(TwoHeads(2, width=3), path, other_classes=True)


def test_weights_name_their_classes(tmp_path):
    path, mute = tmp_path / "w.safetensors", tmp_path / "w.pt"
    save_weights(tiny(), path, classes=("cat", "dog", "fox"))
    assert classes_of(path) == ["cat", "dog", "fox"]
    load_weights(tiny(), path)
    save_weights(tiny(), path)
    torch.save(tiny().state_dict(), mute)
    assert classes_of(path) == classes_of(mute) == []
    for foreign in ("[", "3"):
        safetensors.torch.save_file(tiny().state_dict(), path, {"classes": foreign})
        assert classes_of(path) == []


class Shared(nn.Module):
    """One layer under two names, inside a child called `module`."""

    def __init__(self) -> None:
        super().__init__()
        self.module = nn.Sequential(nn.Linear(3, 3))
        self.module.append(self.module[0])


def test_shared_layers_and_children_called_module_come_back(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, again = Shared(), Shared()
    save_weights(model, tmp_path / "weights.safetensors")
    load_weights(again, tmp_path / "weights.safetensors")
    assert torch.equal(again.module[1].weight, model.module[0].weight)
    state = {f"module.{name}": value for name, value in model.state_dict().items()}
    torch.save(state, tmp_path / "parallel.pt")  # as DataParallel names them
    other = Shared()
    load_weights(other, tmp_path / "parallel.pt")
    assert torch.equal(other.module[0].weight, model.module[0].weight)


def test_whole_numbers_are_no_weights(tmp_path: Path, state: dict[str, Tensor]) -> None:
    state["0.weight"] = (100 * state["0.weight"]).to(torch.int8)
    safetensors.torch.save_file(state, tmp_path / "int8.safetensors")
    words = ("0.weight", "torch.int8", "float32", "quantised")
    assert_refused(tmp_path / "int8.safetensors", *words)
