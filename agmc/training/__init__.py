"""Fitting networks and measuring their accuracy."""

from agmc.training.base import BaseRecipe, train_base
from agmc.training.batches import Batches, batches_of
from agmc.training.distil import Distillation, distil, distillation_loss
from agmc.training.evaluate import accuracy
from agmc.training.execution import Execution, exact
from agmc.training.fit import EpochRecord, Recipe, fit
from agmc.training.recalibrate import recalibrate_batch_norm
from agmc.training.team import Team, team

__all__ = [
    "BaseRecipe",
    "Batches",
    "Distillation",
    "EpochRecord",
    "Execution",
    "Recipe",
    "Team",
    "accuracy",
    "batches_of",
    "distil",
    "distillation_loss",
    "exact",
    "fit",
    "recalibrate_batch_norm",
    "team",
    "train_base",
]
