"""From a configuration to a finished run: load, bin, split, preprocess, fit, evaluate, control, map."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from nldisco_core.assessment import Assessment, assess
from nldisco_core.beside_controls import beside_controls
from nldisco_core.binned import SPLITS, Binned
from nldisco_core.binning import bin_sessions
from nldisco_core.composition import Plan, compose, mapper_named, plan
from nldisco_core.config import ModelConfig, RunConfig
from nldisco_core.errors import ConfigError, IncompatibleData, ModelError, RunError
from nldisco_core.files import write_binned
from nldisco_core.histograms import active_shares, count_histogram
from nldisco_core.interfaces import FitReport, HasDictionary, LatentModel, Mapper
from nldisco_core.latents import Latents
from nldisco_core.monitoring import FitMonitor
from nldisco_core.plugins import Listed
from nldisco_core.preparation import Preparation
from nldisco_core.preprocessing import preprocess
from nldisco_core.provenance import environment, fingerprint, provider_record
from nldisco_core.recording_checks import activity_warnings
from nldisco_core.run_writer import RunWriter, add_mapping
from nldisco_core.runs import DEFAULT_RUNS_DIR, Run
from nldisco_core.sealing import identity, without_test
from nldisco_core.splits import assign_splits
from nldisco_core.summary import Findings
from nldisco_core.verdict import verdict_record
from nldisco_core.zero_input import ZERO_INPUT, latents_without_activity, notes_without_model

__all__ = ["Analysis", "execute", "load_binned", "load_counts", "map_activations", "map_run", "run", "write_data"]

logger = logging.getLogger(__name__)


def run(
    dataset: str | None = None,
    *,
    model: str | None = None,
    mappers: Iterable[str] = (),
    controls: Iterable[str] = (),
    path: Path | None = None,
    preset: str | None = None,
    file: Path | None = None,
    settings: Mapping[str, Any] | None = None,
    seed: int | None = None,
    runs_dir: Path = DEFAULT_RUNS_DIR,
    resume: bool = False,
    quiet: bool = False,
) -> Run:
    """Do a whole analysis and keep it.

    Parameters
    ----------
    dataset, model, mappers, controls : names of providers, see `nldisco plugins`
    path : the file or folder of datasets that take one
    preset, file, settings : configuration, later ones win over earlier ones; see `nldisco_core.config.RunConfig`
    seed : added to every seed of the configuration
    runs_dir : where runs are kept
    resume : go on with the interrupted run of this configuration
    quiet : draw no progress bars

    Raises
    ------
    NLDiscoError
        A stated problem with configuration, data, model or disk; nothing is left that looks like a finished run.
    """
    config = compose(
        dataset=dataset,
        path=path,
        model=model,
        mappers=mappers,
        controls=controls,
        preset=preset,
        file=file,
        settings=settings,
        seed=seed,
    )
    return execute(config, runs_dir=runs_dir, resume=resume, quiet=quiet)


def execute(config: RunConfig, *, runs_dir: Path = DEFAULT_RUNS_DIR, resume: bool = False, quiet: bool = False) -> Run:
    """Do what a configuration says; see `run`."""
    made = plan(config)
    listed, model_config = made.model()
    if made.mappers and config.split.test == 0:
        raise ConfigError("mappers report on test bins and split.test is 0; set it, or run without --mapper")
    with _threads(config.threads):
        everything = load_counts(made)
        counts = without_test(everything) if config.sealed else everything
        data = preprocess(counts, **config.preprocess.model_dump())
        _require(listed, data)
        with RunWriter.open(config, runs_dir=runs_dir, resume=resume) as writer:
            if config.sealed or config.prune.min_r2 is not None:
                writer.about["recording"] = identity(everything)
            del everything
            prepared = Preparation(listed, model_config, counts, data, quiet=quiet)
            prepared.choose_size()
            if config.prune.min_r2 is not None:
                prepared.prune(config.prune.min_r2)
            counts, data, model_config = prepared.counts, prepared.data, prepared.config
            write_data(writer, made, counts, data)
            writer.about["notes"] = list(prepared.notes)
            for name, table in prepared.tables.items():
                writer.write_table(name, table)
            analysis = Analysis(writer, made, counts, data, quiet=quiet)
            own = analysis.fit("model", listed, model_config)
            analysis.fit_controls(own, model_config)
            analysis.close()
    return writer.finished()


def load_binned(made: Plan) -> tuple[Binned, Binned]:
    """The data of a plan as binned and split, and the same after preprocessing.

    Raises
    ------
    DataError
        A recording cannot be read, binned or split as asked.
    """
    counts = load_counts(made)
    return counts, preprocess(counts, **made.config.preprocess.model_dump())


def load_counts(made: Plan) -> Binned:
    """The data of a plan as binned and split, test bins included.

    Raises
    ------
    DataError
        A recording cannot be read, binned or split as asked.
    """
    config = made.config
    sessions = [made.dataset.load(session_id) for session_id in made.session_ids]
    for session in sessions:
        for warning in session.warnings:
            logger.info("session %s: %s", session.session_id, warning)
    counts = bin_sessions(sessions, **config.bin.model_dump())
    counts = replace(
        counts,
        sessions=tuple(
            replace(
                binned,
                warnings=tuple(dict.fromkeys((*session.warnings, *activity_warnings(session), *binned.warnings))),
            )
            for session, binned in zip(sessions, counts.sessions, strict=True)
        ),
    )
    counts = assign_splits(counts, **config.split.model_dump(), seed=config.seed)
    _require_gap(config, counts)
    return counts


def map_run(run: Run, mapper: str, *, settings: Mapping[str, Any] | None = None, seed: int = 0) -> Run:
    """Add a mapper to a finished run and to its controls, without training anything again.

    Raises
    ------
    PluginNotFound, ConfigError
        The mapper or a setting is unknown.
    """
    listed, made, used = mapper_named(mapper, settings, sealed=run.sealed)
    parts = (run.model, *run.controls.values())
    results = {part.name: made.map(part.latents, run.binned, seed=seed) for part in parts}
    tables = {name: results[name].table for name in run.controls}
    results["model"] = replace(results["model"], table=beside_controls(results["model"].table, tables))
    record = {**provider_record(listed, used), "seed": seed}

    def update(about: dict[str, Any], mapped: Run) -> None:
        others = [note for note in about.get("notes", []) if not note.startswith(f"{mapper}: ")]
        about["notes"] = [*others, *(f"{mapper}: {note}" for note in results["model"].notes)]
        about |= verdict_record(Findings.of(mapped), {"model": run.model.provider})

    return add_mapping(run, mapper, results, record, update)


def map_activations(latents: Latents, config: RunConfig, *, source: str, runs_dir: Path = DEFAULT_RUNS_DIR) -> Run:
    """Make a run of activations that no model of ours produced.

    Parameters
    ----------
    latents : one row for each bin of the data
    config : data, mappers and controls, which are matched to the activations; its model is not used
    source : where the activations come from, kept in the run
    """
    if config.sealed:
        raise ConfigError(f"{source} holds activations of test bins already; only a run that fits its model is sealed")
    made = plan(config)
    counts, data = load_binned(made)
    if latents.main.n_rows != data.n_bins:
        raise IncompatibleData(
            f"{source} holds activations of {latents.main.n_rows} bins; the data have {data.n_bins} bins of "
            f"{data.bin_s:g} s. Bin them as the activations were ([bin] settings)"
        )
    session_ids = tuple(session.session_id for session in data.sessions)
    space = replace(latents.main, session_ids=session_ids, row_offsets=data.row_offsets)
    with RunWriter.open(made.config, runs_dir=runs_dir, resume=False) as writer:
        write_data(writer, made, counts, data)
        analysis = Analysis(writer, made, counts, data, quiet=True)
        writer.about["model"] = {"provider": "saved-activations", "config": {"source": source}}
        writer.about.setdefault("notes", []).extend(notes_without_model(space.label_use))
        analysis.keep("model", None, Latents.of(space), None)
        analysis.fit_controls(Latents.of(space), ModelConfig(seeds=tuple(range(space.n_instances))))
        analysis.close()
    return writer.finished()


class Analysis:
    """Fits, evaluates and maps the models of one run, one after the other."""

    def __init__(self, writer: RunWriter, made: Plan, counts: Binned, data: Binned, *, quiet: bool) -> None:
        self._writer = writer
        self._made = made
        self._counts = counts
        self._data = data
        self._quiet = quiet
        self._assessments: dict[str, Assessment] = {}
        self._mappings: dict[str, dict[str, pd.DataFrame]] = {}

    def fit(self, part: str, listed: Listed, config: ModelConfig) -> Latents:
        """Make and fit a model on the training bins, then keep what it says of all bins."""
        model: LatentModel = listed.load()(config)
        record = provider_record(listed, config.model_dump(mode="json"))
        if part == "model":
            self._writer.about["model"] = record
        else:
            self._writer.about.setdefault("controls", {})[part] = record
        train = self._data.train()
        validation = self._data.part("validation") if (self._data.split == SPLITS.index("validation")).any() else None
        monitor = FitMonitor(f"fit {listed.name}", checkpoints=self._writer.checkpoints(part), quiet=self._quiet)
        try:
            with self._timed(f"fit {part}"):
                report = model.fit(train, validation=validation, monitor=monitor)
        except MemoryError as error:
            raise ModelError(f"{listed.name} does not fit into memory ({error}); choose fewer latents") from error
        finally:
            monitor.close()
        for note in report.notes:
            self._writer.about.setdefault("notes", []).append(f"{listed.name}: {note}")
        with self._timed(f"transform {part}"):
            latents = model.transform(self._data)
        self.keep(part, model, latents, report)
        return latents

    def fit_controls(self, own: Latents, reference: ModelConfig) -> None:
        """Fit the controls, each matched to the latents of the run's own model and to its configuration."""
        for name, (control, config) in self._made.controls.items():
            _require(control, self._data)
            n_units = self._data.n_units
            matched = config.matched(reference=reference, n_latents=own.main.n_latents, l0=self.l0(), n_units=n_units)
            self.fit(name, control, matched)

    def keep(self, part: str, model: LatentModel | None, latents: Latents, report: FitReport | None) -> None:
        """Write a model and its latents, evaluate and map them."""
        dictionary = model.dictionary() if isinstance(model, HasDictionary) else None
        self._writer.write_part(part, model=model, report=report, latents=latents, dictionary=dictionary)
        with self._timed(f"evaluate {part}"):
            self._assessments[part] = assess(
                model,
                latents,
                self._data,
                counts=self._counts if self._counts.activity_kind == "counts" else None,
                dictionary=dictionary,
                leave_units_out=self._made.config.co_smoothing,
                seed=self._made.config.seed,
            )
        for name, (_, mapper, _) in self._made.mappers.items():
            with self._timed(f"map {part} {name}"):
                self._map(part, name, mapper, latents)
        if part == "model" and model is not None and latents.main.label_use == "transform":
            record = {**self._writer.about["model"], "input": "labels and no activity"}
            self._writer.about.setdefault("controls", {})[ZERO_INPUT] = record
            self.keep(ZERO_INPUT, None, latents_without_activity(model, self._counts, self._data), None)

    def l0(self) -> float:
        """Active latents per bin of the run's own model, on validation bins where there are any."""
        summary = self._assessments["model"].summary
        for split in ("validation", "train"):
            rows = summary[(summary["split"] == split) & (summary["level"] == summary["level"].max())]
            if len(rows):
                return float(rows["l0_mean"].mean())
        return float("nan")

    def close(self) -> None:
        """Write the tables that speak of all models together, and what they show."""
        about = self._writer.about
        self._put_beside_controls()
        names = dict.fromkeys(name for found in self._assessments.values() for name in found.tables)
        tables = {
            name: _together(
                {part: found.tables[name] for part, found in self._assessments.items() if name in found.tables}
            )
            for name in names
        }
        findings = Findings(
            metrics=_together({part: found.summary for part, found in self._assessments.items()}),
            mappings={part: tuple(tables_.values()) for part, tables_ in self._mappings.items()},
            seed_match=tables.get("seed_match", pd.DataFrame()),
            copies=tables.get("copies", pd.DataFrame()),
        )
        self._writer.write_table("metrics", findings.metrics)
        units = _together({part: found.units for part, found in self._assessments.items()})
        self._writer.write_table("unit_metrics", units)
        for name, table in tables.items():
            self._writer.write_table(name, table)
        about["mappers"] = {
            name: {**provider_record(listed, used), "seed": self._made.config.seed}
            for name, (listed, _, used) in self._made.mappers.items()
        }
        about |= verdict_record(findings, {"model": about["model"]["provider"]})
        about["environment"] = environment()

    def _map(self, part: str, name: str, mapper: Mapper, latents: Latents) -> None:
        result = mapper.map(latents, self._data, seed=self._made.config.seed)
        self._writer.write_mapping(part, name, result)
        self._mappings.setdefault(part, {})[name] = result.table
        if part == "model":
            self._writer.about.setdefault("notes", []).extend(f"{name}: {note}" for note in result.notes)

    def _put_beside_controls(self) -> None:
        """The model's mapping tables with what its controls reach."""
        controls = {part: of_part for part, of_part in self._mappings.items() if part != "model"}
        for name, table in self._mappings.get("model", {}).items():
            beside = beside_controls(table, {part: of_part[name] for part, of_part in controls.items()})
            self._mappings["model"][name] = beside
            self._writer.write_mapping_table("model", name, beside)

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self._writer.about.setdefault("timings_s", {})[stage] = round(time.perf_counter() - started, 3)


def _together(frames: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The tables of all models as one, with the column ``model`` first."""
    named = [frame.assign(model=part) for part, frame in frames.items() if len(frame)]
    table = pd.concat(named, ignore_index=True) if named else pd.DataFrame({"model": []})
    return table[["model", *(column for column in table.columns if column != "model")]]


def write_data(writer: RunWriter, made: Plan, counts: Binned, data: Binned) -> None:
    """Write the bins of a run, and what there is to say of them."""
    about = writer.about
    about["dataset"] = provider_record(made.dataset_listed, dict(made.config.dataset))
    about["card"] = {
        key: str(getattr(made.card, key)) for key in ("title", "species", "area", "licence", "citation", "source")
    }
    about["sessions"] = list(made.session_ids)
    about["seed"] = made.config.seed
    found = fingerprint(counts)
    if about.setdefault("fingerprint", found) != found:
        raise RunError("the data have changed since the run was interrupted; start it anew without --resume")
    about["warnings"] = [f"{s.session_id}: {warning}" for s in counts.sessions for warning in s.warnings]
    write_binned(writer.folder / "binned", counts, data.preprocessing)
    if counts.activity_kind == "counts":
        about["active_shares"] = active_shares(counts)
        writer.write_table("count_histogram", count_histogram(counts))


def _require_gap(config: RunConfig, counts: Binned) -> None:
    """Refuse smoothing that reaches from one block of time into the next: it would carry test bins into training."""
    by_trial = config.split.by == "trials" or (config.split.by == "auto" and counts.sessions[0].trials is not None)
    # the Gaussian is cut off at four sigma; bins at both ends of a gap reach into it, and must not meet there
    needed_s = 2 * 4 * (config.preprocess.smooth_s or 0.0)
    if not by_trial and config.split.by != "sessions" and needed_s > config.split.gap_s:
        raise ConfigError(
            f"smoothing reaches {needed_s / 2:g} s from both ends of the {config.split.gap_s:g} s gap between blocks; "
            f"set split.gap_s to at least {needed_s:g} or preprocess.smooth_s to at most {config.split.gap_s / 8:g}"
        )


def _require(listed: Listed, data: Binned) -> None:
    """Refuse data a model does not take, before it is made."""
    needs = listed.load().requirements
    if data.activity_kind not in needs.activity:
        raise IncompatibleData(
            f"{listed.name} takes {' or '.join(sorted(needs.activity))} and was given {data.activity_kind}; "
            "change [preprocess] or choose another model"
        )
    if needs.sessions == "one" and len(data.sessions) > 1:
        raise IncompatibleData(
            f"{listed.name} takes one session and was given {len(data.sessions)}; set dataset.sessions"
        )
    if needs.sessions == "shared units" and not data.shares_units:
        raise IncompatibleData(
            f"{listed.name} takes sessions that share their units; these {len(data.sessions)} do not: "
            "set dataset.sessions"
        )


@contextmanager
def _threads(n_threads: int | None) -> Iterator[None]:
    """Hold torch and the BLAS libraries to so many threads; None leaves them as they are."""
    if n_threads is None:
        yield
        return
    import torch
    from threadpoolctl import threadpool_limits

    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        with threadpool_limits(limits=n_threads):
            yield
    finally:
        torch.set_num_threads(before)
