"""Training: it learns, it repeats itself, and it stops with a reason."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from agmc.training import Recipe, accuracy, batches_of, fit


def state_of(module: nn.Module) -> list[torch.Tensor]:
    return [value.clone() for value in module.state_dict().values()]


def run(build, splits, execution, *, seed: int = 0, **knobs):
    module = build()
    recipe = Recipe(**{"epochs": 1, "batch_size": 10, "learning_rate": 0.05, **knobs})
    return module, fit(module, splits, recipe, execution=execution, seed=seed)


def test_it_learns(build, splits, execution):
    module, records = run(build, splits, execution, epochs=6)
    assert records[-1].loss < 0.5 * records[0].loss
    test = batches_of(splits, "test", execution=execution)
    assert accuracy(module, test, execution=execution) == 1.0
    assert not module.training


def test_one_epoch_lowers_the_loss(build, splits, execution):
    batches = batches_of(splits, "train", execution=execution)
    before = build().eval()
    after, _ = run(build, splits, execution)
    with torch.no_grad():
        losses = [
            float(nn.functional.cross_entropy(net(batches.images), batches.labels))
            for net in (before, after)
        ]
    assert losses[1] < losses[0]


def test_same_seed_same_weights_whatever_the_global_generator(build, splits, execution):
    splits = replace(splits, crop_padding=1, flip=True)
    states = []
    for seed, noise in ((1, 7), (1, 8), (2, 7)):
        module = build()
        torch.manual_seed(noise)
        fit(module, splits, Recipe(epochs=2), execution=execution, seed=seed)
        states.append(state_of(module))
    first, second, other = states
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first, other, strict=True))


def test_global_generator_is_left_alone(build, splits, execution):
    module = build()
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    fit(module, splits, Recipe(epochs=1), execution=execution, seed=0)
    assert torch.equal(torch.rand(1), expected)


def test_only_train_is_read(build, splits, execution):
    first, _ = run(build, splits, execution)
    other = replace(splits, search=splits.test, test=splits.search)
    second, _ = run(build, other, execution)
    assert all(
        torch.equal(a, b)
        for a, b in zip(state_of(first), state_of(second), strict=True)
    )


def test_one_step_by_hand(splits, execution):
    """SGD with Nesterov momentum from rest: w - lr (1 + momentum) (gradient + decay w).

    The bias has no decay.
    """
    module = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    linear = module[1]
    batches = batches_of(splits, "train", execution=execution)
    loss = nn.functional.cross_entropy(module(batches.images), batches.labels)
    grad_w, grad_b = torch.autograd.grad(loss, [linear.weight, linear.bias])
    weight, bias = linear.weight.detach().clone(), linear.bias.detach().clone()
    recipe = Recipe(
        epochs=1, batch_size=40, learning_rate=0.1, weight_decay=0.01, warmup_share=0
    )
    fit(module, splits, recipe, execution=execution, seed=0)
    torch.testing.assert_close(
        linear.weight.detach(), weight - 0.19 * (grad_w + 0.01 * weight)
    )
    torch.testing.assert_close(linear.bias.detach(), bias - 0.19 * grad_b)


def test_a_long_gradient_is_cut(splits, execution):
    module = nn.Sequential(nn.Flatten(), nn.LazyLinear(3))
    module(splits.example_input())
    start = [p.detach().clone() for p in module.parameters()]
    recipe = Recipe(
        epochs=1,
        batch_size=len(splits.train),
        learning_rate=1.0,
        momentum=0.0,
        weight_decay=0.0,
        warmup_share=0.0,
        max_gradient_norm=0.125,
    )
    fit(module, splits, recipe, execution=execution, seed=0)
    pairs = zip(module.parameters(), start, strict=True)
    moved = torch.cat([(p.detach() - old).flatten() for p, old in pairs])
    assert moved.norm() == pytest.approx(0.125 * recipe.rate(0, 1), rel=1e-4)


def test_schedule_by_hand():
    recipe = Recipe(learning_rate=1.0, warmup_share=0.2)
    rates = [recipe.rate(step, 10) for step in range(10)]
    assert rates[0] == pytest.approx(0.04)
    assert rates[1] == pytest.approx(0.52)
    assert rates[2] == pytest.approx(1.0)
    assert rates[6] == pytest.approx(0.5)
    assert rates[2:] == sorted(rates[2:], reverse=True)
    assert 0 < rates[9] < 0.05
    assert Recipe(warmup_share=0.0).rate(0, 1) == Recipe().learning_rate


def test_records(build, splits, execution):
    seen = []
    module = build()
    records = fit(
        module,
        splits,
        Recipe(epochs=2, learning_rate=0.03),
        execution=execution,
        seed=0,
        on_epoch=seen.append,
    )
    assert records == seen
    assert [(record.epoch, record.epochs) for record in records] == [(1, 2), (2, 2)]
    assert all(0 <= record.accuracy <= 1 for record in records)
    assert records[1].learning_rate < 0.03


def test_after_step_sees_every_step_and_may_change_the_weights(
    build, splits, execution
):
    module, steps = build(), []

    def first_stays_zero(step, num_steps):
        steps.append((step, num_steps))
        with torch.no_grad():
            module[0].weight[0].zero_()

    fit(
        module,
        splits,
        Recipe(epochs=2, batch_size=10),
        execution=execution,
        seed=0,
        after_step=first_stays_zero,
    )
    assert steps == [(step, 8) for step in range(1, 9)]
    assert (module[0].weight[0] == 0).all() and (module[0].weight[1:] != 0).any()


def test_diverging_names_the_learning_rate(build, splits, execution):
    with pytest.raises(ValueError, match=r"learning_rate \(=1e\+30\)"):
        run(build, splits, execution, learning_rate=1e30, epochs=3)


def test_frozen_parameters_stay(build, splits, execution):
    module = build()
    module[0].weight.requires_grad_(False)
    before = module[0].weight.clone()
    fit(module, splits, Recipe(epochs=1), execution=execution, seed=0)
    assert torch.equal(module[0].weight, before)


@pytest.mark.parametrize(
    "knobs",
    [
        {"epochs": 0},
        {"batch_size": 0},
        {"learning_rate": 0.0},
        {"learning_rate": float("nan")},
        {"momentum": 1.0},
        {"weight_decay": -1.0},
        {"warmup_share": 1.0},
        {"label_smoothing": -0.1},
        {"max_gradient_norm": 0.0},
    ],
)
def test_bad_knobs(knobs):
    (name,) = knobs
    with pytest.raises(ValueError, match=rf"{name} \(="):
        Recipe(**knobs)


def test_frozen_layers_stay_as_they_are(build, splits, execution):
    module, recipe = build(), Recipe(epochs=2, learning_rate=0.05, batch_size=10)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    fit(module, splits, recipe, execution=execution, seed=0, freeze=["[01]"])
    for name, value in module.state_dict().items():
        same = torch.equal(value, before[name])
        assert same == name.startswith(("0.", "1.")), name  # statistics included
    assert all(weight.requires_grad for weight in module.parameters())
    assert not module.training
