"""encoder: fits the graph auto-encoder of an embedding on families of networks."""

from __future__ import annotations

import functools
import inspect
import itertools
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from agmc.commands.steps import progress_of, refuse_ignored, show
from agmc.job import Job
from agmc.models.families import FITTED, HELD_OUT, NUM_RANDOM
from agmc.pipeline import write_json
from agmc.report.progress import Progress
from agmc.report.table import Table
from agmc.search.corpus import graphs_by_family
from agmc.search.measured import MeasuredNetwork, measured_networks
from agmc.training import team

if TYPE_CHECKING:
    from agmc.embedding.autoencoder import GraphAutoencoder
    from agmc.embedding.corpus import Graphs
    from agmc.embedding.fidelity import Fidelity

_log = logging.getLogger("agmc")
_FITS = ("steps", "batch_size", "learning_rate", "mask", "noise")
_WITH_AN_ENCODER = "agmc.embedding.learned.autoencoder"
_WITH_A_HEAD = "agmc.embedding.predicted.sensitivity"
_TRAINED = (
    "agmc.embedding.multistage.multistage",
    "agmc.embedding.sequential.sequential",
)


def can_be_fitted(build: Any) -> bool:
    """Whether an embedding, as the configuration makes it, has an encoder to fit."""
    return _is(build, _WITH_AN_ENCODER)


def quick(build: Any) -> Any:
    """An embedding that is fitted in one step, it or those inside of it."""
    knobs = getattr(build, "keywords", {})
    inside = {key: quick(knobs[key]) for key in ("of", "graph_encoder") if key in knobs}
    if inside:
        build = functools.partial(build, **inside)
    if not can_be_fitted(build):
        return build
    return functools.partial(build, steps=1, variants=1, corpus_variants=0)


def _is(build: Any, name: str) -> bool:
    # By its name: `rules` can do without the seconds that torch_geometric takes.
    function = getattr(build, "func", build)
    return f"{function.__module__}.{function.__qualname__}" == name


def check_encoder(build: Any, name: str = "embedding") -> None:
    """Refuses now what an embedding would refuse when it is made, after a training.

    Args:
        build: makes the embedding.
        name: of the embedding in the configuration, for the message.

    Raises:
        ValueError: its encoder is unknown, its file is none or another one, a number
            is out of range, or a knob would be ignored.
    """
    inner = getattr(build, "keywords", {}).get("graph_encoder")
    if inner is not None:
        inside = f"{name}.graph_encoder"
        if not can_be_fitted(inner):
            raise ValueError(f"{inside} must be an autoencoder")
        why = f"{name} reads the vectors of the whole network, fitted; leave it out"
        _refuse_knobs(inner, ("freeze", "follow_plan"), inside, why)
        check_encoder(inner, inside)
    other = getattr(build, "keywords", {}).get("of")
    if other is not None:
        inside = f"{name}.of"
        frozen = getattr(other, "keywords", {}).get("freeze", True)
        if any(_is(other, trained) for trained in _TRAINED) or (
            can_be_fitted(other) and not frozen
        ):
            raise ValueError(
                f"{inside} must be an embedding that no agent trains, as autoencoder, "
                f"rules or onehot: {name} adds a column to rows that stay as they are"
            )
        check_encoder(other, inside)
    if _is(build, _WITH_A_HEAD):
        from agmc.embedding.predicted import load_with_head

        try:
            load_with_head(build.keywords["fit"])
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
    if not can_be_fitted(build):
        return
    from agmc.embedding.starting import ANEW, load_fitted, starting_file

    knobs = build.keywords
    if knobs["fit"] != ANEW:
        why = f"only a fit reads it; add {name}.fit={ANEW} or leave it out"
        _refuse_knobs(build, ("variants", "corpus_variants", *_FITS), name, why)
    try:
        wanted = _fresh(knobs, seed=0)
        if knobs["fit"] == ANEW:
            wanted.check_fit(**_fits(knobs))
        else:
            load_fitted(starting_file(knobs["fit"], encoder=knobs["encoder"]), wanted)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def fit_encoder(job: Job) -> None:
    """Fits the auto-encoder on the families to learn from, tests it on the others.

    Writes `encoder.safetensors`, for `embedding.fit=FILE`, and what it is worth into
    `result.json`.
    """
    refuse_ignored(job, "measured")
    from agmc.embedding.checkpoint import save_autoencoder
    from agmc.embedding.fidelity import fidelity
    from agmc.embedding.starting import ANEW

    build = job.make("embedding")
    knobs = build.keywords
    ignored = ["variants", "freeze", "follow_plan"]
    if knobs["fit"] != ANEW:
        ignored.append("fit")
    why = "train fits anew, on families of networks; leave it out"
    _refuse_knobs(build, ignored, "embedding", why)
    path = job.directory / "encoder.safetensors"
    with team() as own, progress_of(job) as progress:
        if own.rank:  # a fit of minutes is not shared
            return
        measured = _measured(job, progress)
        ratios = next((n.sensitivity.ratios for n in measured.values()), ())
        model, fits = _fresh(knobs, seed=job.seed, ratios=ratios), _fits(knobs)
        model.check_fit(**fits)
        variants = knobs["corpus_variants"]
        fitted = _graphs(progress, FITTED, NUM_RANDOM, variants, job.seed)
        progress.stage("fit", total=knobs["steps"], unit="step")
        model.fit(
            _all(fitted),
            **fits,
            seed=job.seed,
            on_step=lambda step, loss: progress.step(step, note=f"loss {loss:.3f}"),
        )
        left_out = _learn_sensitivity(model, measured)
        key = {**model.sizes, **fits, "corpus_variants": variants, "seed": job.seed}
        save_autoencoder(model, path, key=json.dumps(key))
        held_out = _graphs(progress, HELD_OUT, 0, 0, job.seed)
        progress.stage("evaluate")
        rows = {
            "fitted": _all(fitted),
            "held_out": _all(held_out),
            **held_out,
        }
        fidelities = {name: fidelity(model, graphs) for name, graphs in rows.items()}
        seconds = progress.seconds
    result = {
        "encoder": {
            **model.sizes,
            "bytes": path.stat().st_size,
            "graphs": {family: len(graphs) for family, graphs in fitted.items()},
            "fidelity": {name: row._asdict() for name, row in fidelities.items()},
            "sensitivity": left_out,
        },
        "seconds": seconds,
        **job.record,
    }
    write_json(job.directory / "result.json", result)
    show(_table(fidelities))
    if left_out:
        show(_table_of_losses(left_out))
    _log.info("the encoder is in %s: embedding.fit=%s", path, path)


def _fits(knobs: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a fit."""
    return {name: knobs[name] for name in _FITS}


def _refuse_knobs(build: Any, knobs: Iterable[str], name: str, why: str) -> None:
    """Raises ValueError for the first knob that has another value than its default."""
    parameters = inspect.signature(build.func).parameters
    for knob in knobs:
        value = build.keywords[knob]
        if value != parameters[knob].default:
            raise ValueError(f"{name}.{knob} (={value!r}) would be ignored: {why}")


def _fresh(
    knobs: Mapping[str, Any], *, seed: int, ratios: Sequence[float] = ()
) -> GraphAutoencoder:
    """An auto-encoder of the sizes in the configuration, with fresh weights."""
    from agmc.embedding.autoencoder import GraphAutoencoder

    sizes = ("encoder", "dim", "hidden", "layers")
    chosen = {name: knobs[name] for name in sizes}
    return GraphAutoencoder(**chosen, ratios=ratios, seed=seed)


def _measured(job: Job, progress: Progress) -> dict[str, MeasuredNetwork]:
    """The stage of that name: networks for the second head, where there are any."""
    if job.measured is None:
        return {}
    progress.stage("read", unit="network")
    finished = itertools.count()
    try:
        return measured_networks(
            job.measured,
            on_network=lambda name: progress.step(next(finished), note=name),
        )
    except (OSError, ValueError) as error:
        raise ValueError(f"measured (={job.measured!r}): {error}") from error


def _learn_sensitivity(
    model: GraphAutoencoder, networks: Mapping[str, MeasuredNetwork]
) -> dict[str, float | None]:
    """Fits the second head, and says what it is worth on families left out."""
    from agmc.embedding.sensitivity import left_out

    if not networks:
        return {}
    families: dict[str, dict[str, Any]] = {}
    for name, (family, graph, sensitivity) in networks.items():
        given = model.measured(graph, sensitivity.drops)
        families.setdefault(family, {})[name] = given
    head = model.head()
    head.learn([given for members in families.values() for given in members.values()])
    if len(families) == 1:
        return {}
    found = left_out(head.ratios, {f: [*m.values()] for f, m in families.items()})
    return {
        name: correlation
        for family, members in families.items()
        for name, correlation in zip(members, found[family], strict=True)
    }


def _graphs(
    progress: Progress,
    families: Mapping[str, tuple[str, ...]],
    num_random: int,
    variants: int,
    seed: int,
) -> Graphs:
    """The stage of that name: the graphs of families, with pruned variants."""
    from agmc.embedding.corpus import family_graphs

    total = sum(map(len, families.values())) + num_random
    progress.stage("trace", total=total, unit="network")
    names: list[str] = []

    def count(name: str) -> None:
        names.append(name)
        progress.step(len(names))

    graphs = graphs_by_family(families, random_networks=num_random, on_network=count)
    return family_graphs(graphs, variants=variants, seed=seed)


def _all(families: Graphs) -> list[Any]:
    return [data for graphs in families.values() for data in graphs]


def _table(measured: Mapping[str, Fidelity]) -> Table:
    return Table(
        "what can be read off the vectors: shares of right answers, R^2",
        ("networks", "operation types", "links", "shapes", "cost shares"),
        tuple((name, *(f"{x:.3f}" for x in row)) for name, row in measured.items()),
    )


def _table_of_losses(left_out: Mapping[str, float | None]) -> Table:
    return Table(
        "accuracy lost by pruning a group alone: correlation of what was measured with "
        "what is predicted after other families",
        ("network", "correlation"),
        tuple((name, "-" if x is None else f"{x:.2f}") for name, x in left_out.items()),
    )
