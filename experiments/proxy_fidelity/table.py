"""From what was measured to the rows, the targets and the notes of the experiment."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from measure import BATCH, FEWER, REPAIRS
from ranks import agreements, ceiling, gain

from agmc.report.experiment import Target

#: Batches of the search split that an evaluation may read.
PREFIXES = (2, 5, 10, 50)
#: The evaluator's default until this was measured: both repairs, all search images.
DEFAULT = ("both", 50)
#: What the table supports instead: repair, batches, score.
CHOSEN = ("both", 10, "accuracy")
COMMAND = (
    "python experiments/proxy_fidelity/run.py --data FOLDER --weights FOLDER "
    "--results FOLDER"
)


class Scores(NamedTuple):
    """Of plans under one evaluation: accuracy, loss, CPU seconds, each [num_plans]."""

    accuracy: np.ndarray
    loss: np.ndarray
    seconds: np.ndarray

    def ranking(self, score: str) -> np.ndarray:
        """The score by which plans are ranked, high is good."""
        return self.accuracy if score == "accuracy" else -self.loss


class Network:
    """What the results folder holds of one network.

    Attributes:
        tuned: plan -> accuracy after fine-tuning, on the whole search split.
    """

    def __init__(self, results: Path, name: str) -> None:
        self.name = name
        self._results = results
        self._finetuned = self._load("finetune")
        self.tuned = {
            index: _accuracy(record["finetune"]["batches"])
            for index, record in self._finetuned.items()
        }
        first, rest = self._load("first"), self._load("rest")
        for index in rest.keys() & first.keys():
            for repair, record in first[index].items():
                record["batches"] += rest[index][repair]["batches"]
        self._records: dict[str, dict[int, Any]] = {}
        for plans in (first, self._load("training"), self._load("fewer")):
            for index in plans.keys() & self.tuned.keys():
                for repair, record in plans[index].items():
                    self._records.setdefault(repair, {})[index] = record

    def evaluations(self) -> list[tuple[str, int]]:
        """(Repair, batches) that at least three plans were measured with."""
        return [
            (repair, prefix)
            for repair in (*REPAIRS, "training", *FEWER)
            for prefix in PREFIXES
            if len(self.plans(repair, prefix)) > 2
        ]

    def plans(self, repair: str, prefix: int) -> list[int]:
        """Those that were measured so and fine-tuned."""
        records = self._records.get(repair, {})
        return sorted(i for i in records if len(records[i]["batches"]) >= prefix)

    def scores(
        self, repair: str, prefix: int, plans: list[int] | None = None
    ) -> Scores:
        """Of these plans; None: of all that were measured so."""
        columns = []
        for index in self.plans(repair, prefix) if plans is None else plans:
            record = self._records[repair][index]
            right, loss, seconds = np.sum(record["batches"][:prefix], axis=0)
            images = BATCH * prefix
            columns.append((right / images, loss / images, record["seconds"] + seconds))
        return Scores(*np.array(columns).T)

    def aim(self, repair: str, prefix: int) -> np.ndarray:
        """Accuracy after fine-tuning of `plans`."""
        return np.array([self.tuned[i] for i in self.plans(repair, prefix)])

    def default_seconds(self) -> float:
        """CPU seconds of the default; a batch costs what the first ones cost."""
        repair, prefix = DEFAULT
        return float(
            np.median(
                [
                    r["seconds"] + prefix * np.mean([b[2] for b in r["batches"]])
                    for r in self._records[repair].values()
                ]
            )
        )

    def rows(self) -> list[dict[str, str]]:
        """One for every evaluation."""
        found = []
        for repair, prefix in self.evaluations():
            scores, aim = self.scores(repair, prefix), self.aim(repair, prefix)
            row = {
                "network": self.name,
                "evaluation": repair,
                "search images": str(BATCH * prefix),
                "plans": str(len(aim)),
            }
            better = aim >= np.median(aim)
            for score in ("accuracy", "loss"):
                ranking = scores.ranking(score)
                rho, tau = agreements(ranking, aim)
                top, _ = agreements(ranking[better], aim[better], draws=1)
                lost = 100 * (aim.max() - aim[ranking.argmax()])
                row[f"rho, {score}"] = str(rho)
                row[f"tau, {score}"] = str(tau)
                row[f"rho of the better half, {score}"] = f"{top.value:.2f}"
                row[f"points lost, {score}"] = f"{lost:.1f}"
            seconds = float(np.median(scores.seconds))
            row["CPU s"] = f"{seconds:.2f}"
            row["of the default"] = f"{seconds / self.default_seconds():.2f}"
            found.append(row)
        return found

    def targets(self, plans: int) -> list[Target]:
        """That all plans are in, and what the chosen evaluation is worth and costs."""
        repair, prefix, score = CHOSEN
        number = len(self.plans(repair, prefix))
        measured = Target(
            f"{self.name}: plans fine-tuned and evaluated",
            f">= {plans}",
            str(number),
            number >= plans,
            COMMAND,
        )
        if number < 3:
            return [measured]
        best = max(
            agreements(self.scores(*e).ranking(s), self.aim(*e), draws=1)[0].value
            for e in self.evaluations()
            for s in ("accuracy", "loss")
            if e[0] != "training"
        )
        chosen = self.scores(repair, prefix)
        aim = self.aim(repair, prefix)
        rho = agreements(chosen.ranking(score), aim, draws=1)[0].value
        ratio = float(np.median(chosen.seconds)) / self.default_seconds()
        name = f"{self.name}: {score} with {repair}, {BATCH * prefix} images"
        return [
            measured,
            Target(
                f"{name}: rho below that of the best without training",
                "<= 0.05",
                f"{best - rho:.3f}",
                best - rho <= 0.05,
                COMMAND,
            ),
            Target(
                f"{name}: CPU seconds over those of the former default",
                "<= 0.5",
                f"{ratio:.2f}",
                ratio <= 0.5,
                COMMAND,
            ),
        ]

    def notes(self) -> list[str]:
        """How far fine-tuning spreads the plans, and how much of it is chance."""
        lines = []
        scores = np.array(list(self.tuned.values()))
        again = {
            index: _accuracy(record["again"]["batches"])
            for index, record in self._load("again").items()
        }
        pairs = np.array([(self.tuned[i], again[i]) for i in again if i in self.tuned])
        if len(scores) > 2:
            lines.append(
                f"{self.name}: {len(scores)} plans, {100 * scores.min():.1f} to "
                f"{100 * scores.max():.1f} % after fine-tuning, standard deviation "
                f"{100 * scores.std(ddof=1):.1f} points."
            )
        if len(pairs) and len(scores) > 2:
            deviation, bound = ceiling(pairs, scores)
            lines.append(
                f"Noise between two seeds of {len(pairs)} plans: "
                f"{100 * deviation:.2f} points, so that even a perfect evaluation "
                f"would correlate by {bound:.3f} only."
            )
        repair, prefix, score = CHOSEN
        plans = self.plans(repair, prefix)
        if len(plans) > 2:
            other = np.array(
                [
                    _accuracy(self._finetuned[i]["finetune"]["batches"][prefix:])
                    for i in plans
                ]
            )
            ranking = self.scores(repair, prefix).ranking(score)
            rho, _ = agreements(ranking, other)
            lines.append(
                f"The chosen evaluation against the fine-tuned accuracy on the search "
                f"images that it does not read: rho {rho}."
            )
        shared = sorted(set(plans) & set(self.plans(*DEFAULT)))
        if len(shared) > 2:
            ours = self.scores(repair, prefix, shared).ranking(score)
            former = self.scores(*DEFAULT, shared).accuracy
            aim = np.array([self.tuned[i] for i in shared])
            lines.append(
                f"Its rho minus that of the former default, on {len(shared)} plans: "
                f"{gain(ours, former, aim)}."
            )
        return lines

    def _load(self, part: str) -> dict[int, dict[str, Any]]:
        """Plan -> evaluation -> record."""
        return {
            int(file.stem.split("_")[1]): json.loads(file.read_text())
            for file in sorted(self._results.glob(f"{self.name}_*_{part}.json"))
        }


def _accuracy(batches: list[list[float]]) -> float:
    return sum(batch[0] for batch in batches) / (BATCH * len(batches))
