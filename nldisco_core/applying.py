"""The model of a finished run applied to other data: another epoch, or another recording of the same units."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nldisco_core.binned import NO_SPLIT, SPLITS, Binned, BinnedSession, UnitStatistics
from nldisco_core.composition import plan
from nldisco_core.config import RunConfig, merge, parse
from nldisco_core.errors import ConfigError, DataError, IncompatibleData
from nldisco_core.pipeline import Analysis, load_counts, write_data
from nldisco_core.preprocessing import preprocess
from nldisco_core.run_writer import RunWriter
from nldisco_core.runs import DEFAULT_RUNS_DIR, Run
from nldisco_core.zero_input import ZERO_INPUT

__all__ = ["apply_run"]

_MAY_DIFFER = ("dataset", "bin", "split", "mappers")


def apply_run(
    run: Run,
    *,
    epoch: str | None = None,
    dataset: str | None = None,
    path: Path | None = None,
    mappers: Iterable[str] = (),
    settings: Mapping[str, Any] | None = None,
    runs_dir: Path = DEFAULT_RUNS_DIR,
) -> Run:
    """Encode other data with the fitted model and controls of a run, and keep that as a run of its own.

    Nothing is fitted: bins are as wide as they were, units those of the run, and smoothing, offset and scale of each
    unit are the run's. The new bins are split as the run's were, for mappers and readouts that fit something of
    their own. Bins that the models were fitted on have no split, so that no score speaks of them.

    Parameters
    ----------
    epoch : label of the ``epochs`` table to take; None takes what `settings` or the run say
    dataset, path : another recording; None takes the run's own
    mappers : mappers to run, as the run configured them where it did
    settings : sections ``dataset``, ``bin`` (not ``bin_s``), ``split`` and ``mappers`` of a run configuration

    Raises
    ------
    IncompatibleData
        The other data lack units of the run.
    DataError
        Every bin was among those that the models were fitted on, or the data cannot be read and binned.
    ConfigError
        A setting that would change what the model was fitted to, or a sealed run.
    """
    if run.sealed:
        raise ConfigError(f"{run.name} is sealed: its test bins may be among the other data; open it first")
    made = plan(_config(run, epoch, dataset, path, mappers, settings or {}))
    counts = _of_units(load_counts(made), run)
    n_fitted = 0
    if made.config.dataset == run.about["config"]["dataset"]:
        counts, n_fitted = _without_fitted(counts, run)
    done = run.binned.preprocessing
    data = preprocess(
        counts, smooth_s=done.smooth_s, normalise=done.normalise, statistics=_statistics(counts, run) or None
    )
    with RunWriter.open(made.config, runs_dir=runs_dir, resume=False) as writer:
        write_data(writer, made, counts, data)
        about = writer.about
        about["applied"] = {"run": run.name, "fingerprint": run.about.get("fingerprint")}
        about["notes"] = [f"applied: models and statistics of {run.name}; nothing was fitted on these bins"]
        if n_fitted:
            about["notes"].append(f"applied: {n_fitted} bins that the models were fitted on have no split")
        about["model"] = dict(run.model.record)
        fitted = {name: part for name, part in run.controls.items() if name != ZERO_INPUT}
        about["controls"] = {name: dict(part.record) for name, part in fitted.items()}
        analysis = Analysis(writer, made, counts, data, quiet=True)
        for part in (run.model, *fitted.values()):
            model = part.load_model()
            analysis.keep(part.name, model, model.transform(data), None)
        analysis.close()
    return writer.finished()


def _config(
    run: Run,
    epoch: str | None,
    dataset: str | None,
    path: Path | None,
    mappers: Iterable[str],
    settings: Mapping[str, Any],
) -> RunConfig:
    """The run's configuration with other data and mappers."""
    fixed = [name for name in settings if name not in _MAY_DIFFER]
    if "bin_s" in settings.get("bin", {}):
        fixed.append("bin.bin_s")
    if fixed:
        raise ConfigError(f"{', '.join(fixed)}: the model is fitted; only {', '.join(_MAY_DIFFER)} can be set")
    own = run.about["config"]
    wanted = {**{name: {} for name in mappers}, **settings.get("mappers", {})}
    known = {name: section for name, section in own.get("mappers", {}).items() if name in wanted}
    config = {**own, "mappers": known}
    if dataset is not None and dataset != own["dataset"]["name"]:
        config["dataset"] = {"name": dataset}
    elif path is not None:
        config["dataset"] = {key: value for key, value in own["dataset"].items() if key != "sessions"}
    other = {"dataset": {} if path is None else {"path": str(path.absolute())}, "mappers": wanted}
    in_epoch = {} if epoch is None else {"bin": {"epoch": epoch}}
    return parse(RunConfig, merge(merge(merge(config, other), settings), in_epoch), where=f"applying {run.name}")


def _of_units(counts: Binned, run: Run) -> Binned:
    """The bins with the units that the run kept, in its order."""
    return replace(
        counts, sessions=tuple(_chosen(session, _fitted_session(session, run)) for session in counts.sessions)
    )


def _fitted_session(session: BinnedSession, run: Run) -> BinnedSession:
    """The run's session with the units of this one: any where they share them, else the one of the same id."""
    if run.counts.shares_units:
        return run.counts.sessions[0]
    known = {fitted.session_id: fitted for fitted in run.counts.sessions}
    if session.session_id not in known:
        raise IncompatibleData(
            f"{run.name} was fitted on sessions of different units, {', '.join(known)}; it knows no units of "
            f"{session.session_id!r}"
        )
    return known[session.session_id]


def _chosen(session: BinnedSession, fitted: BinnedSession) -> BinnedSession:
    place = {unit: at for at, unit in enumerate(session.units["id"])}
    missing = [unit for unit in fitted.units["id"] if unit not in place]
    if missing:
        raise IncompatibleData(
            f"session {session.session_id!r} lacks {len(missing)} of the {fitted.n_units} units that the model was "
            f"fitted on, first {missing[0]!r}; apply it to recordings of the same units"
        )
    units = np.array([place[unit] for unit in fitted.units["id"]], dtype=np.int64)
    if np.array_equal(units, np.arange(session.n_units)):
        return session
    return replace(
        session,
        activity=session.activity[:, units],
        units=session.units.iloc[units],
        observed=None if session.observed is None else session.observed[:, units],
    )


def _without_fitted(counts: Binned, run: Run) -> tuple[Binned, int]:
    """The bins, of no split where they overlap training or validation bins of the run, and how many those are."""
    fitted = {session.session_id: _fitted_starts(session) for session in run.counts.sessions}
    sessions, n_fitted = [], 0
    for session in counts.sessions:
        starts = fitted.get(session.session_id, np.empty(0, dtype=np.int64))
        overlap = _overlapping(session.start_ns, starts, counts.bin_ns)
        n_fitted += int(overlap.sum())
        sessions.append(replace(session, split=np.where(overlap, NO_SPLIT, session.split).astype(np.int8)))
    unseen = replace(counts, sessions=tuple(sessions))
    if (unseen.split == NO_SPLIT).all():
        raise DataError(f"{run.name} was fitted on every bin of these data; name another epoch or recording")
    return unseen, n_fitted


def _fitted_starts(session: BinnedSession) -> NDArray[np.int64]:
    """Starts of the bins (ns) that the models were fitted on or stopped by."""
    codes = [SPLITS.index(name) for name in ("train", "validation")]
    return np.asarray(session.start_ns[np.isin(session.split, codes)])


def _overlapping(start_ns: NDArray[np.int64], fitted_ns: NDArray[np.int64], bin_ns: int) -> NDArray[np.bool_]:
    """(n_bins,) True where a bin shares time with one of the fitted bins, both of one width and in order."""
    if len(fitted_ns) == 0:
        return np.zeros(len(start_ns), dtype=bool)
    last = np.searchsorted(fitted_ns, start_ns + bin_ns) - 1  # the last fitted bin that starts before this one ends
    return np.asarray((last >= 0) & (fitted_ns[last] + bin_ns > start_ns))


def _statistics(counts: Binned, run: Run) -> tuple[UnitStatistics, ...]:
    """The run's offset and scale for each of the other sessions; empty where nothing was normalised."""
    known = dict(
        zip((session.session_id for session in run.counts.sessions), run.binned.preprocessing.statistics, strict=False)
    )
    return tuple(known[_fitted_session(session, run).session_id] for session in counts.sessions if known)
