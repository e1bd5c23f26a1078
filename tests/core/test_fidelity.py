"""Scores of single bins against scikit-learn, spectra against scipy's Welch on each stretch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import signal

from nldisco_core.binned import Binned, BinnedSession
from nldisco_core.errors import DataError
from nldisco_core.fidelity import fidelity
from nldisco_core.interfaces import ReconstructionBlock
from nldisco_core.latents import Latents, LatentSpace

BIN_NS = 50_000_000


class Told:
    """A model that predicts what it was told, with lags where the prediction has them."""

    def __init__(self, predicted: np.ndarray, lags_s: tuple[float, ...] = (0.0,)) -> None:
        self.predicted, self.lags_s = predicted.astype(np.float32), lags_s

    def reconstruct(self, latents: Latents) -> Iterator[ReconstructionBlock]:
        for instance, values in enumerate(self.predicted):
            for start in range(0, len(values), 7):
                rows = slice(start, min(start + 7, len(values)))
                yield ReconstructionBlock(
                    instance=instance, level=0, rows=rows, values=values[rows], lags_s=self.lags_s
                )


def binned(activity: np.ndarray, gaps: tuple[int, ...] = (), observed: np.ndarray | None = None) -> Binned:
    """Test bins with a gap in time before each of these rows."""
    start = np.arange(len(activity), dtype=np.int64)
    for gap in gaps:
        start[gap:] += 5
    session = BinnedSession(
        session_id="s",
        activity=activity,
        units=pd.DataFrame({"id": [f"u{unit}" for unit in range(activity.shape[1])]}),
        start_ns=start * BIN_NS,
        trial=np.full(len(activity), -1, dtype=np.int32),
        split=np.full(len(activity), 2, dtype=np.int8),
        observed=observed,
    )
    return Binned(sessions=(session,), bin_s=0.05, activity_kind="continuous")


def latents_for(data: Binned, n_instances: int = 1) -> Latents:
    codes = np.ones((n_instances, data.n_bins, 1))
    return Latents.of(LatentSpace(codes=codes, session_ids=("s",), row_offsets=data.row_offsets))


def test_scores_of_single_bins_equal_a_loop() -> None:
    rng = np.random.default_rng(0)
    activity, noise = rng.gamma(1, 1, (200, 5)), rng.normal(0, 0.4, (2, 200, 5))
    seen = rng.random(activity.shape) < 0.9
    data = binned(np.where(seen, activity, 0), observed=seen)
    predicted = (activity + noise).astype(np.float32)
    table = fidelity(Told(predicted), latents_for(data, 2), data, split="test").examples  # type: ignore[arg-type]
    mean = np.array([activity[seen[:, unit], unit].mean() for unit in range(5)])
    for instance in range(2):
        r2, cosine = [], []
        for y, p, m in zip(activity, predicted[instance].astype(np.float64), seen, strict=True):
            if m.any():
                r2.append(1 - ((y - p)[m] ** 2).sum() / ((y - mean)[m] ** 2).sum())
                cosine.append(y[m] @ p[m] / np.sqrt((y[m] @ y[m]) * (p[m] @ p[m])))
        for score, values in (("r2", r2), ("cosine", cosine)):
            row = table[(table["instance"] == instance) & (table["score"] == score)].iloc[0]
            assert row["mean"] == pytest.approx(np.mean(values), abs=1e-6)
            assert row["q50"] == pytest.approx(np.median(values), abs=1e-6)
            assert row["q95"] == pytest.approx(np.quantile(values, 0.95), abs=1e-6)
            assert row["n_rows"] == len(values)


def test_spectra_are_welch_averages_inside_each_stretch() -> None:
    rng = np.random.default_rng(0)
    activity = signal.lfilter([1], [1, -0.9], rng.normal(size=(900, 2)), axis=0)
    predicted = 0.8 * activity + rng.normal(0, 0.5, activity.shape)
    data = binned(activity, gaps=(300, 820))
    found = fidelity(Told(predicted[None]), latents_for(data), data, split="test")  # type: ignore[arg-type]
    predicted = predicted.astype(np.float32).astype(np.float64)

    def welch(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        stretches = [slice(0, 300), slice(300, 820)]  # the last 80 bins hold no window of 128
        n_windows = [(part.stop - part.start - 128) // 64 + 1 for part in stretches]
        parts = [signal.csd(a[s], b[s], fs=20.0, window="hann", nperseg=128, noverlap=64)[1] for s in stretches]
        return np.average(parts, axis=0, weights=n_windows)[1:]

    for unit in range(2):
        y, p = activity[:, unit], predicted[:, unit]
        power, other, cross = welch(y, y).real, welch(p, p).real, welch(y, p)
        rows = found.spectra[found.spectra["unit"] == f"u{unit}"]
        np.testing.assert_allclose(rows["frequency_hz"], np.arange(1, 65) * 20 / 128)
        np.testing.assert_allclose(rows["power"], power, rtol=1e-9)
        np.testing.assert_allclose(rows["predicted_power"], other, rtol=1e-9)
        coherence = np.abs(cross) ** 2 / (power * other)
        np.testing.assert_allclose(rows["coherence"], coherence, rtol=1e-9)
        scores = found.units[found.units["unit"] == f"u{unit}"].iloc[0]
        overlap = 1 - np.abs(power - other).sum() / (power + other).sum()
        assert scores["spectral_fidelity"] == pytest.approx(overlap)
        assert scores["coherence"] == pytest.approx((coherence * power).sum() / power.sum())


def test_a_prediction_at_the_wrong_time_keeps_its_spectrum_and_loses_coherence() -> None:
    rng = np.random.default_rng(0)
    activity = rng.normal(size=(6400, 1))
    data = binned(activity)
    for shifted, low, high in ((activity, 0.99, 1.01), (np.roll(activity, 1000, axis=0), -0.01, 0.1)):
        scores = fidelity(Told(shifted[None]), latents_for(data), data, split="test").units.iloc[0]  # type: ignore[arg-type]
        assert scores["spectral_fidelity"] > 0.95
        assert low < scores["coherence"] < high
    smooth = np.apply_along_axis(np.convolve, 0, activity, np.ones(8) / 8, "same")
    assert fidelity(Told(smooth[None]), latents_for(data), data, split="test").units.iloc[0]["spectral_fidelity"] < 0.3  # type: ignore[arg-type]


def test_short_trials_get_short_windows_and_silent_units_score_nan() -> None:
    activity = np.random.default_rng(0).normal(size=(300, 2))
    activity[:, 1] = 0
    data = binned(activity, gaps=tuple(range(20, 300, 20)))
    found = fidelity(Told(activity[None]), latents_for(data), data, split="test")  # type: ignore[arg-type]
    assert found.spectra["frequency_hz"].nunique() == 8
    assert found.units["spectral_fidelity"].tolist() == pytest.approx([1, np.nan], nan_ok=True)


def test_a_window_with_unobserved_entries_is_no_part_of_that_units_spectrum() -> None:
    activity = np.random.default_rng(0).normal(size=(600, 2))
    seen = np.ones(activity.shape, dtype=bool)
    seen[10, 0] = False
    hidden = np.where(seen, activity, 0)
    data = binned(hidden, gaps=(300,), observed=seen)
    found = fidelity(Told(hidden[None]), latents_for(data), data, split="test").spectra  # type: ignore[arg-type]
    expected = signal.welch(activity[300:, 0], fs=20.0, nperseg=128)[1][1:]
    np.testing.assert_allclose(found[found["unit"] == "u0"]["power"], expected, rtol=1e-9)


def test_of_several_lags_the_bin_itself_is_scored() -> None:
    activity = np.random.default_rng(0).normal(size=(300, 2))
    data = binned(activity)
    lagged = np.stack([np.zeros_like(activity), activity], axis=1)
    model: Any = Told(lagged[None], lags_s=(-0.05, 0.0))
    assert fidelity(model, latents_for(data), data, split="test").examples["q50"].tolist() == pytest.approx([1, 1])
    later: Any = Told(lagged[None], lags_s=(-0.1, -0.05))
    assert len(fidelity(later, latents_for(data), data, split="test").spectra) == 0


def test_a_model_that_reconstructs_nothing_has_empty_tables_and_an_empty_split_is_refused() -> None:
    data = binned(np.ones((30, 2)))
    found = fidelity(None, latents_for(data), data, split="test")
    assert (len(found.examples), len(found.units), len(found.spectra)) == (0, 0, 0)
    with pytest.raises(DataError, match="train split holds no bins"):
        fidelity(None, latents_for(data), data, split="train")


def test_a_prediction_of_some_units_is_scored_on_these() -> None:
    activity = np.random.default_rng(0).normal(size=(300, 4))
    data = binned(activity)

    class Some(Told):
        def reconstruct(self, latents: Latents) -> Iterator[ReconstructionBlock]:
            for block in super().reconstruct(latents):
                yield replace(block, columns=np.array([1, 3]))

    found = fidelity(Some(activity[None, :, [1, 3]]), latents_for(data), data, split="test")  # type: ignore[arg-type]
    assert found.units["unit"].tolist() == ["u1", "u3"]
    assert found.units["coherence"].tolist() == pytest.approx([1, 1], abs=1e-5)
