"""How faithful a reconstruction is bin by bin and frequency by frequency."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import signal

from nldisco_core.binned import SPLITS, Binned
from nldisco_core.errors import DataError, IncompatibleData
from nldisco_core.interfaces import LatentModel, Reconstructs
from nldisco_core.latents import Latents
from nldisco_core.splits import spread_rows

__all__ = ["Fidelity", "fidelity"]

MAX_ROWS = 20_000
LONGEST_WINDOW = 128
SHORTEST_WINDOW = 8
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, eq=False)
class Fidelity:
    """Scores of the deepest level on one split; NaN where a score is not defined.

    Attributes
    ----------
    examples : one row per (instance, split, score): how ``r2`` and ``cosine`` of single bins are distributed: ``mean``,
        quantiles ``q05`` to ``q95``, ``n_rows``. The R² of a bin is ``1 - SSE/SST`` over its observed units, SST about
        each unit's mean over the split; the cosine is that of activity and prediction over the units
    units : one row per (instance, split, unit): ``spectral_fidelity`` = 1 - Σ|P - P^| / Σ(P + P^) over the frequencies
        above zero, P and P^ the power spectra of activity and prediction (1: the same, 0: no frequency in common), and
        ``coherence`` = Σ C²P / ΣP, C² the magnitude-squared coherence: the share of the unit's power that the
        prediction holds at the right phase
    spectra : one row per (instance, split, unit, frequency): ``frequency_hz``, ``power`` and ``predicted_power``
        (squared activity per Hz), ``coherence``. Welch's method (1967): Hann windows with 50 % overlap, each inside
        one contiguous stretch of the split, mean removed
    """

    examples: pd.DataFrame
    units: pd.DataFrame
    spectra: pd.DataFrame


def fidelity(model: LatentModel | None, latents: Latents, data: Binned, *, split: str) -> Fidelity:
    """Scores of single bins and spectra on about 20,000 bins of a split.

    A window holds 128 bins, or as many of a smaller power of two as half of the bins have a stretch for. The tables are
    empty for a model that does not reconstruct the bin itself.

    Raises
    ------
    DataError
        No bin in the split.
    IncompatibleData
        The rows of latents and data differ.
    """
    space = latents.main
    if space.n_rows != data.n_bins:
        raise IncompatibleData(
            f"latents of {space.n_rows} {space.row_kind}s for {data.n_bins} bins; give the bins they were made of"
        )
    rows = data.split == SPLITS.index(split)
    rows = spread_rows(rows if space.defined is None else rows & space.defined, at_most=MAX_ROWS)
    if not rows.any():
        raise DataError(f"the {split} split holds no bins the model speaks of; choose another")
    found = _predicted(model, latents, rows) if isinstance(model, Reconstructs) else None
    if found is None:
        return Fidelity(examples=pd.DataFrame(), units=pd.DataFrame(), spectra=pd.DataFrame())
    predictions, columns = found
    part = data.rows(rows)
    activity = part.activity[:, columns].astype(np.float64)
    if part.observed is not None:
        activity[~part.observed[:, columns]] = np.nan
    spectra = _Spectra.of(activity, part.segments, part.bin_s)
    unit_ids = data.units["id"].to_numpy(dtype=object)[columns]
    examples, units, frequencies = [], [], []
    for instance, predicted in enumerate(predictions):
        names = {"instance": instance, "split": split}
        examples.append(_examples(activity, predicted).assign(**names))
        scores, densities = spectra.compare(predicted, unit_ids)
        units.append(scores.assign(**names))
        frequencies.append(densities.assign(**names))
    return Fidelity(examples=_stacked(examples), units=_stacked(units), spectra=_stacked(frequencies))


def _predicted(
    model: Reconstructs, latents: Latents, rows: Mask
) -> tuple[NDArray[np.float32], NDArray[np.int64] | slice] | None:
    """(n_instances, n_rows, n_units) reconstruction of each row itself at the deepest level, and columns of the data.

    None where the model predicts other bins.
    """
    space = latents.main
    place = np.cumsum(rows) - 1
    found: NDArray[np.float32] | None = None
    columns: NDArray[np.int64] | slice = slice(None)
    for block in model.reconstruct(latents):
        if 0.0 not in block.lags_s:
            return None
        if block.level != space.n_levels - 1:
            continue
        values = block.values if block.values.ndim == 2 else block.values[:, block.lags_s.index(0.0)]
        if found is None:
            found = np.full((space.n_instances, int(rows.sum()), values.shape[1]), np.nan, dtype=np.float32)
            columns = slice(None) if block.columns is None else block.columns
        chosen = rows[block.rows]
        found[block.instance, place[block.rows][chosen]] = values[chosen]
    return None if found is None else (found, columns)


def _examples(activity: Floats, predicted: NDArray[np.float32]) -> pd.DataFrame:
    """How the scores of single bins are distributed; unobserved activity is NaN."""
    seen = ~np.isnan(activity)
    y, p = np.where(seen, activity, 0), np.where(seen, predicted, 0).astype(np.float64)
    mean = y.sum(axis=0) / np.maximum(seen.sum(axis=0), 1)
    sst = (np.square(y - mean) * seen).sum(axis=1)
    r2 = 1 - _ratio(np.square(y - p).sum(axis=1), sst)
    cosine = _ratio(np.einsum("tn,tn->t", y, p), np.linalg.norm(y, axis=1) * np.linalg.norm(p, axis=1))
    rows = []
    for score, values in (("r2", r2), ("cosine", cosine)):
        known = values[np.isfinite(values)]
        quantiles = np.quantile(known, QUANTILES) if len(known) else np.full(len(QUANTILES), np.nan)
        named = {f"q{round(100 * q):02d}": value for q, value in zip(QUANTILES, quantiles, strict=True)}
        rows.append({"score": score, "mean": known.mean() if len(known) else np.nan, **named, "n_rows": len(known)})
    return pd.DataFrame(rows)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Spectra:
    """The windows that fit into contiguous stretches, and the power of the activity in them."""

    activity: Floats
    stretches: tuple[slice, ...]
    window: int
    bin_s: float
    power: Floats

    @classmethod
    def of(cls, activity: Floats, segments: NDArray[np.int32], bin_s: float) -> _Spectra:
        edges = np.concatenate([[0], np.flatnonzero(np.diff(segments)) + 1, [len(segments)]])
        lengths = np.diff(edges)
        window = LONGEST_WINDOW
        while window > SHORTEST_WINDOW and lengths[lengths >= window].sum() < len(segments) / 2:
            window //= 2
        stretches = tuple(
            slice(start, start + length) for start, length in zip(edges[:-1], lengths, strict=True) if length >= window
        )
        made = cls(activity=activity, stretches=stretches, window=window, bin_s=bin_s, power=np.empty(0))
        return cls(**{**made.__dict__, "power": made.cross(activity, activity).real})

    def cross(self, a: Floats, b: Floats) -> NDArray[np.complex128]:
        """(n_frequencies, n_units) cross spectral density per Hz, mean over windows; NaN for units in none."""
        n_frequencies = self.window // 2 + 1
        total = np.zeros((n_frequencies, a.shape[1]), dtype=np.complex128)
        weight = np.zeros(a.shape[1])
        for stretch in self.stretches:
            n_windows = (stretch.stop - stretch.start - self.window) // (self.window // 2) + 1
            _, density = signal.csd(
                a[stretch], b[stretch], fs=1 / self.bin_s, window="hann", nperseg=self.window, axis=0
            )
            known = ~np.isnan(density).any(axis=0)
            total[:, known] += n_windows * density[:, known]
            weight += n_windows * known
        return np.divide(total, weight, out=np.full_like(total, np.nan), where=weight > 0)

    def compare(
        self, predicted: NDArray[np.float32], unit_ids: NDArray[np.object_]
    ) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Per unit the scores, and per unit and frequency the spectra."""
        p = np.where(np.isnan(self.activity), np.nan, predicted.astype(np.float64))
        power, other = self.power[1:], self.cross(p, p).real[1:]
        shared = np.abs(self.cross(self.activity, p)[1:]) ** 2
        coherence = _ratio(shared, power * other)
        unit = {
            "unit": unit_ids,
            "spectral_fidelity": 1 - _ratio(np.abs(power - other).sum(axis=0), (power + other).sum(axis=0)),
            "coherence": _ratio((np.nan_to_num(coherence) * power).sum(axis=0), power.sum(axis=0)),
        }
        frequency = np.fft.rfftfreq(self.window, self.bin_s)[1:]
        whole = {
            "unit": np.tile(unit_ids, len(frequency)),
            "frequency_hz": np.repeat(frequency, len(unit_ids)),
            "power": power.ravel(),
            "predicted_power": other.ravel(),
            "coherence": coherence.ravel(),
        }
        return pd.DataFrame(unit), pd.DataFrame(whole)


def _stacked(frames: list[pd.DataFrame]) -> pd.DataFrame:
    """The tables of all instances as one, instance and split first."""
    table = pd.concat(frames, ignore_index=True).astype({"instance": "int32", "split": "string"})
    table = table.astype({name: "string" for name in ("unit", "score") if name in table})
    return table[["instance", "split", *(name for name in table.columns if name not in ("instance", "split"))]]


def _ratio(above: Floats, below: Floats) -> Floats:
    """`above` / `below`, NaN where `below` is not positive."""
    return np.asarray(np.divide(above, below, out=np.full(np.shape(below), np.nan), where=np.asarray(below) > 0))
