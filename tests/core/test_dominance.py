"""Silencing one unit, against models whose answer is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import sparse

from nldisco_core.binned import Binned, Normalisation
from nldisco_core.conformance.toys import toy_binned
from nldisco_core.dominance import MAX_BINS, silence, single_unit_dominance, strongest_units
from nldisco_core.errors import IncompatibleData
from nldisco_core.interfaces import FitReport, Monitor, Requirements
from nldisco_core.latents import Latents, LatentSpace
from nldisco_core.preprocessing import preprocess

WEIGHTS = np.array([[1.0, 0, 0, 0, 0, 0], [0, 1, 1, 0, 0, 0], [0, 0, 3, -1, 0, 0], [0, 0, 0, 0, 0, 0]])
THRESHOLD = 1.5


class Summing:
    """Latents that are weighted sums of the last `window` bins of a stretch, where above a threshold."""

    requirements: ClassVar[Requirements] = Requirements()

    def __init__(self, *, window: int = 1, dense: bool = False) -> None:
        self.window, self.dense, self.n_rows = window, dense, 0

    def fit(self, train: Binned, *, validation: Binned | None, monitor: Monitor) -> FitReport:
        raise NotImplementedError

    def transform(self, data: Binned) -> Latents:
        self.n_rows += data.n_bins
        total = np.zeros((data.n_bins, len(WEIGHTS)))
        defined = np.zeros(data.n_bins, dtype=bool)
        ends = data.window_starts(self.window) + self.window - 1
        defined[ends] = True
        for lag in range(self.window):
            total[ends] += data.activity[ends - lag].astype(float) @ WEIGHTS.T
        codes = np.where(total > THRESHOLD, total, 0)
        return Latents.of(
            LatentSpace(
                codes=codes[None] if self.dense else (sparse.csc_array(codes),),
                session_ids=tuple(session.session_id for session in data.sessions),
                row_offsets=data.row_offsets,
                defined=None if self.window == 1 else defined,
            )
        )

    def save(self, folder: Path) -> None:
        raise NotImplementedError

    @classmethod
    def load(cls, folder: Path) -> Self:
        raise NotImplementedError


def plain_remaining(x: NDArray[np.float64], latent: int, unit: int, used: NDArray[np.bool_]) -> tuple[float, float]:
    before = after = 0.0
    n_before = n_after = 0
    for row in x[used]:
        value = row @ WEIGHTS[latent]
        if value > THRESHOLD:
            without = np.delete(row, unit) @ np.delete(WEIGHTS[latent], unit)
            before, n_before = before + value, n_before + 1
            if without > THRESHOLD:
                after, n_after = after + without, n_after + 1
    return after / before, n_after / n_before


@pytest.mark.parametrize("dense", [True, False])
def test_what_remains_equals_a_loop(dense: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nldisco_core.dominance.MAX_BINS", 10_000)
    data = toy_binned(n_bins=1500, n_sessions=2)
    model = Summing(dense=dense)
    latents, rows = model.transform(data), np.random.default_rng(0).random(3000) < 0.5
    units = np.array([[0, 2, 3, 4]])
    table = single_unit_dominance(model, latents, data, units=units, rows=rows)
    for latent in range(3):
        expected = plain_remaining(data.activity.astype(float), latent, units[0, latent], rows)
        assert (table["remaining"][latent], table["remaining_active"][latent]) == pytest.approx(expected, abs=1e-9)
    assert table["remaining"][0] == 0
    assert table["remaining"][2] > 1  # the unit held the latent down
    assert table.iloc[3][["silenced", "remaining", "remaining_active"]].isna().all()
    assert table["n_silenced"].tolist()[3] == 0
    assert table["silenced"].tolist()[:3] == ["u0", "u2", "u3"]


def test_a_model_of_windows_is_given_whole_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nldisco_core.dominance.MAX_BINS", 10_000)
    data, model = toy_binned(n_bins=1200), Summing(window=3)
    latents = model.transform(data)
    table = single_unit_dominance(model, latents, data, units=np.array([[0, 2, 3, -1]]))
    before = after = 0.0
    for end in range(2, 1200):
        if data.segments[end - 2] == data.segments[end]:
            window = data.activity[end - 2 : end + 1].astype(float).sum(axis=0)
            if window @ WEIGHTS[1] > THRESHOLD:
                before += window @ WEIGHTS[1]
                after += window[1] if window[1] > THRESHOLD else 0
    assert table["remaining"][1] == pytest.approx(after / before, abs=1e-9)
    assert np.isnan(table["remaining"][3])


def test_few_bins_are_encoded_again() -> None:
    data, model = toy_binned(n_bins=6000), Summing()
    latents = model.transform(data)
    model.n_rows = 0
    table = single_unit_dominance(model, latents, data)
    assert model.n_rows <= 3 * MAX_BINS
    assert table["n_silenced"].tolist() == [MAX_BINS] * 3 + [0]


def test_the_strongest_unit_of_a_model_without_attribution_is_the_one_it_follows() -> None:
    data, model = toy_binned(n_bins=3000), Summing()
    found = strongest_units(model, model.transform(data), data)[0]
    assert found.tolist() in ([0, 1, 2, -1], [0, 2, 2, -1])


@pytest.mark.parametrize("normalise", ["none", "global-max", "unit-max", "z-score", "sqrt"])
def test_a_silent_unit_is_one_without_spikes(normalise: Normalisation) -> None:
    counts = toy_binned(n_bins=900, n_sessions=2)
    data = preprocess(counts, smooth_s=0.05, normalise=normalise)
    emptied = []
    for session in counts.sessions:
        activity = session.activity.copy()
        activity[:, 3] = 0
        emptied.append(replace(session, activity=activity))
    expected = preprocess(
        replace(counts, sessions=tuple(emptied)),
        smooth_s=0.05,
        normalise=normalise,
        statistics=data.preprocessing.statistics or None,
    )
    np.testing.assert_allclose(silence(data, 3).activity, expected.activity, atol=1e-6)


def test_other_bins_and_too_few_units_are_refused() -> None:
    data, model = toy_binned(), Summing()
    latents = model.transform(data)
    with pytest.raises(IncompatibleData, match="give the bins"):
        single_unit_dominance(model, latents, toy_binned(n_bins=300))
    with pytest.raises(IncompatibleData, match="name one for each"):
        single_unit_dominance(model, latents, data, units=np.zeros((1, 2), dtype=np.int64))
