"""Training on activity without co-activity: what the autoencoder makes of units shifted independently in time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from nldisco_core.binned import Binned, BinnedSession
from nldisco_core.interfaces import FitReport, Monitor
from nldisco_sae.config import UnitShuffledConfig
from nldisco_sae.matryoshka import MatryoshkaSAE
from nldisco_sae.seeding import seed_sequence

__all__ = ["UnitShuffledSAE", "shift_units"]


class UnitShuffledSAE(MatryoshkaSAE):
    """A Matryoshka autoencoder trained on shifted units; it then encodes data as they are."""

    config_class: ClassVar[type[UnitShuffledConfig]] = UnitShuffledConfig

    def fit(self, train: Binned, *, validation: Binned | None, monitor: Monitor) -> FitReport:
        """As `MatryoshkaSAE.fit`, on `shift_units` of both sets of rows; the first seed draws the shifts."""
        seed = self.config.seeds[0]
        shifted = None if validation is None else shift_units(validation, seed=seed)
        return super().fit(shift_units(train, seed=seed), validation=shifted, monitor=monitor)


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
