from __future__ import annotations

import re
import warnings
import xml.etree.ElementTree as ElementTree

import torch
from torch import nn

from agmc.graph.groups import UnprunableWarning
from agmc.graph.trace import trace
from agmc.models import build
from agmc.report.graph_page import write_graph_page


def page_of(model, size, directory, title="a <net>"):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnprunableWarning)
        graph = trace(model, torch.randn(1, 3, size, size))
    page, picture = write_graph_page(graph, directory, title=title)
    assert (page.name, picture.name) == ("graph.html", "graph.svg")
    return graph, page.read_text(), picture.read_text()


def test_everything_is_on_the_page(tmp_path):
    graph, page, picture = page_of(build("resnet20", num_classes=10), 32, tmp_path)
    for group in graph.groups:
        assert f"{group.name}</th>" in page
    for layer in ("layer2.0.conv2", "linear"):
        assert f"<th>{layer}</th>" in page
    # Two convolutions of 64 x 64 x 3 x 3 on 8 x 8 each, of 40.8 M MACs; batch norms.
    assert "<th>layer3.2</th><td>11.6 %</td><td>73.98 k</td>" in page
    assert "a &lt;net&gt;" in page and "<net>" not in page
    assert "All channels between input and output can go" in page
    root = ElementTree.fromstring(picture)
    boxes = [e for e in root.iter() if e.get("class") == "box"]
    assert len(boxes) == 14
    # Nothing is loaded from elsewhere, and no script runs.
    assert not re.search(r'(src|href)="|<script|@import|url\(', page)


def test_the_page_says_why_channels_stay(tmp_path):
    net = nn.Sequential(
        *(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 6, 1), nn.Softmax(1)),
        nn.Conv2d(6, 2, 1),
    )
    _, page, _ = page_of(net, 4, tmp_path)
    assert "channels that reach softmax" in page
    assert "stays whole" in page


def test_a_network_without_groups_has_a_page_too(tmp_path):
    graph, page, _ = page_of(nn.Sequential(nn.Conv2d(3, 4, 1)), 4, tmp_path)
    assert "no part is x + f(x)" in page
    assert not graph.groups and "<h2>Channel groups</h2>" in page
