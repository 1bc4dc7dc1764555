from __future__ import annotations

import torch
import torchvision

from agmc.models import names
from agmc.models.families import FITTED, HELD_OUT, NUM_RANDOM, RANDOM, members


def test_no_family_and_no_network_is_on_both_sides():
    assert not FITTED.keys() & HELD_OUT.keys()
    assert RANDOM not in FITTED and RANDOM not in HELD_OUT
    listed = [
        name for side in (FITTED, HELD_OUT) for row in side.values() for name in row
    ]
    assert len(set(listed)) == len(listed)
    known = {*names(), *torchvision.models.list_models(module=torchvision.models)}
    assert {*listed} <= known
    assert NUM_RANDOM > 0


def test_members_are_the_same_at_every_call():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    families = {"cifar_resnet": ("resnet20",), "squeezenet": ("squeezenet1_1",)}
    first = [*members(families, random_networks=2)]
    assert torch.equal(torch.rand(3), expected)
    assert [(m.family, m.name) for m in first] == [
        ("cifar_resnet", "resnet20"),
        ("squeezenet", "squeezenet1_1"),
        ("random", "random_0"),
        ("random", "random_1"),
    ]
    assert [m.image_size for m in first] == [32, 128, 32, 32]
    for one, again in zip(first, members(families, random_networks=2), strict=True):
        assert not one.model.training
        weights, others = one.model.state_dict(), again.model.state_dict()
        assert all(torch.equal(weights[name], others[name]) for name in weights)
