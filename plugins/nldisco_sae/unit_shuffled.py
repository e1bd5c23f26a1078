"""Training on activity without co-activity: what the autoencoder makes of units shifted independently in time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from nldisco_core.binned import Binned, BinnedSession
from nldisco_core.interfaces import FitReport, Monitor
from nldisco_sae.config import MatryoshkaConfig, UnitShuffledConfig, per_instance
from nldisco_sae.matryoshka import MatryoshkaSAE
from nldisco_sae.seeding import seed_sequence

__all__ = ["UnitShuffledSAE", "shift_units"]


class UnitShuffledSAE(MatryoshkaSAE):
    """A Matryoshka autoencoder trained on shifted units; it then encodes data as they are.

    Every instance is trained on shifts of its own, since all of them could find what chance leaves between units that
    were shifted once. That instances agree nonetheless where latents copy single units (median cosine 1.00 for sixteen
    latents on the fifteen units of the head-direction recording) is what this control is for.
    """

    config_class: ClassVar[type[UnitShuffledConfig]] = UnitShuffledConfig

    def fit(self, train: Binned, *, validation: Binned | None, monitor: Monitor) -> FitReport:
        """As `MatryoshkaSAE.fit`, instance after instance, on `shift_units` of both sets of rows by its seed.

        No checkpoints are kept: an interrupted fit starts anew.
        """
        self._fitted = None
        models, reports = [], []
        for instance, seed in enumerate(self.config.seeds):
            model = MatryoshkaSAE(_of_instance(self.config, instance))
            shifted = None if validation is None else shift_units(validation, seed=seed)
            part = _InstanceMonitor(monitor, instance, self.config.n_instances)
            reports.append(model.fit(shift_units(train, seed=seed), validation=shifted, monitor=part))
            models.append(model)
        parts = [model._require_fitted() for model in models]
        trained = [part.parameters.trained() for part in parts]
        stacked = {name: torch.cat([tensors[name] for tensors in trained]) for name in trained[0]}
        self._fitted = replace(  # what is not trained is the mean of the units, which no shift changes
            parts[0],
            parameters=replace(parts[0].parameters, **stacked),
            thresholds=torch.cat([part.thresholds for part in parts]),
        )
        reasons = {report.stop_reason for report in reports}
        return FitReport(
            history=pd.concat(
                [report.history.assign(instance=instance) for instance, report in enumerate(reports)],
                ignore_index=True,
            ).astype({"instance": reports[0].history["instance"].dtype}),
            stop_reason=reports[0].stop_reason if len(reasons) == 1 else "stopped" if "stopped" in reasons else "early",
            timings_s={name: sum(report.timings_s[name] for report in reports) for name in reports[0].timings_s},
            notes=tuple(
                f"instance {instance}: {note}" for instance, report in enumerate(reports) for note in report.notes
            ),
        )


class _InstanceMonitor:
    """What one instance tells of its fit, as part of that of all."""

    def __init__(self, monitor: Monitor, instance: int, n_instances: int) -> None:
        self._monitor, self._instance, self._n_instances = monitor, instance, n_instances

    def progress(self, done: int, total: int, message: str = "") -> None:
        self._monitor.progress(self._instance * total + done, self._n_instances * total, message)

    def scalar(self, step: int, name: str, value: float, *, instance: int | None = None) -> None:
        self._monitor.scalar(step, name, value, instance=self._instance)

    def should_stop(self) -> bool:
        return self._monitor.should_stop()

    def checkpoint_due(self) -> bool:
        return False

    def checkpoint(self, write: Callable[[Path], None]) -> None: ...

    def latest_checkpoint(self) -> None:
        return None


def _of_instance(config: MatryoshkaConfig, instance: int) -> MatryoshkaConfig:
    """The settings of one instance by itself."""

    def own(each: float | tuple[float, ...]) -> float:
        return per_instance(each, config.n_instances)[instance]

    weights = config.level_weights
    return config.model_copy(
        update={
            "seeds": config.seeds[instance : instance + 1],
            "lr": own(config.lr),
            "levels": {size: own(k) for size, k in config.levels.items()},
            "level_weights": weights and tuple(own(weight) for weight in weights),
        }
    )


def shift_units(data: Binned, *, seed: int) -> Binned:
    """The same data with each unit's activity shifted circularly by its own amount within each session.

    Every unit keeps its values and, up to one join per session, its autocorrelation; correlations between units are
    gone. Amounts are uniform over all bins of the session.
    """
    sessions = [
        _shifted(session, np.random.default_rng(seed_sequence(seed, "shuffle", index)))
        for index, session in enumerate(data.sessions)
    ]
    return replace(data, sessions=tuple(sessions))


def _shifted(session: BinnedSession, rng: np.random.Generator) -> BinnedSession:
    shifts = rng.integers(0, max(session.n_bins, 1), session.n_units)
    rows = (np.arange(session.n_bins)[:, None] - shifts) % max(session.n_bins, 1)

    def rolled(values: NDArray[Any]) -> NDArray[Any]:
        return np.take_along_axis(values, rows, axis=0)

    return replace(
        session,
        activity=rolled(session.activity),
        observed=None if session.observed is None else rolled(session.observed),
    )
