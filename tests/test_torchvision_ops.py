"""torchvision imports beside any torch, and its own operators are left alone."""

from __future__ import annotations

import subprocess
import sys

import torch

from agmc import torchvision_ops


def test_torchvision_imports_and_classifies():
    code = (
        "from agmc import torchvision_ops\n"
        "import torch, torchvision\n"
        "net = torchvision.models.get_model('squeezenet1_1', num_classes=3).eval()\n"
        "print(tuple(net(torch.zeros(1, 3, 32, 32)).shape))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "(1, 3)"


def test_second_call_finds_nothing_missing():
    assert hasattr(torch.ops.torchvision, "nms")
    assert torchvision_ops.declare_missing_operators() is None
