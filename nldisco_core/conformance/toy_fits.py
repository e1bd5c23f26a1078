"""Toy data of the kind a latent model takes, and fits on them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nldisco_core.binned import Binned, BinnedSession
from nldisco_core.conformance.toys import toy_binned
from nldisco_core.interfaces import FitReport, LatentModel, Requirements
from nldisco_core.latents import Latents, LatentSpace
from nldisco_core.monitoring import FitMonitor
from nldisco_core.session import IntervalTable

__all__ = ["fit", "row_counts", "row_mask", "toy_data_for", "transformed", "with_silence"]


def toy_data_for(requirements: Requirements, *, n_units: int = 6) -> Binned:
    """Small binned data of a kind the model takes: two sessions of 900 bins, or one where it takes one only."""
    data = toy_binned(n_units=n_units, n_sessions=1 if requirements.sessions == "one" else 2)
    if "counts" in requirements.activity:
        return data
    return replace(
        _with_activity(data, lambda session: session.activity.astype(np.float32)),
        activity_kind="rate" if "rate" in requirements.activity else "continuous",
    )


def with_silence(data: Binned) -> Binned:
    """The data with a silent first unit, a first trial without spikes and a last trial without bins."""

    def silenced(session: BinnedSession) -> NDArray[Any]:
        activity = session.activity.copy()
        activity[:, 0] = 0
        activity[session.trial == 0] = 0
        return activity

    def with_empty_trial(session: BinnedSession) -> BinnedSession:
        assert session.trials is not None
        frame = session.trials.frame
        empty = pd.DataFrame({"start_s": frame["stop_s"].iloc[-1:], "stop_s": frame["stop_s"].iloc[-1:] + 1.0})
        return replace(session, trials=IntervalTable(pd.concat([frame, empty])))

    quiet = _with_activity(data, silenced)
    return replace(quiet, sessions=tuple(with_empty_trial(session) for session in quiet.sessions))


def fit(model: LatentModel, data: Binned) -> FitReport:
    """Fit on the training bins, as the pipeline does."""
    return model.fit(data.train(), validation=data.part("validation"), monitor=FitMonitor("conformance", quiet=True))


def transformed(model: LatentModel, data: Binned | None = None) -> Latents:
    """Latents of the data (toy data by default) from a model fitted on them."""
    chosen = toy_data_for(model.requirements) if data is None else data
    fit(model, chosen)
    return model.transform(chosen)


def _with_activity(data: Binned, change: Callable[[BinnedSession], NDArray[Any]]) -> Binned:
    return replace(data, sessions=tuple(replace(session, activity=change(session)) for session in data.sessions))


def row_counts(data: Binned, row_kind: str) -> list[int]:
    """Rows of each session: its bins, or its trials that hold a bin."""
    if row_kind == "bin":
        return [session.n_bins for session in data.sessions]
    trials = Counter(session for session, _, _ in data.by_trial())
    return [trials[index] for index in range(len(data.sessions))]


def row_mask(data: Binned, space: LatentSpace, bins: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(n_rows,) rows of the space that stand for the chosen (n_bins,) bins."""
    return bins if space.row_kind == "bin" else np.array([bins[rows[0]] for _, _, rows in data.by_trial()])
