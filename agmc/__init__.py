"""agmc compresses trained convolutional networks: which channels stay is searched."""

from agmc.compression.importance import l1, l2
from agmc.compression.prune import compress
from agmc.cost.model import Cost, cost_of
from agmc.data import Splits
from agmc.export.checkpoint import load, save
from agmc.export.onnx import save_onnx
from agmc.graph.model_graph import ModelGraph
from agmc.graph.trace import trace
from agmc.plan import Plan
from agmc.plan_space import PlanSpace
from agmc.search.budget import Budget
from agmc.search.find_plan import find_plan
from agmc.search.found import Found

__all__ = [
    "Budget",
    "Cost",
    "Found",
    "ModelGraph",
    "Plan",
    "PlanSpace",
    "Splits",
    "compress",
    "cost_of",
    "find_plan",
    "l1",
    "l2",
    "load",
    "save",
    "save_onnx",
    "trace",
]
