"""Samples on bins: against a plain loop, in blocks as a whole, and large counts in a mapped file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nldisco_core import scratch
from nldisco_core.activity import spike_counts
from nldisco_core.alignment import align_signals
from nldisco_core.binning import bin_session
from nldisco_core.cache import cache_folder
from nldisco_core.grid import Grid
from nldisco_core.placement import place, sampling_period_ns
from nldisco_core.session import IntervalTable, ReadsInBlocks, Session, Signal, SpikeTrains
from nldisco_core.trials import trial_covariates

MS = 1_000_000
GRID = Grid(bin_ns=10 * MS, stretch_start_ns=np.array([0, 200 * MS]), stretch_n_bins=np.array([8, 5]))


@given(st.lists(st.integers(0, 300), min_size=1, max_size=60, unique=True), st.integers(0, 2**32 - 1))
def test_means_are_those_of_a_plain_loop(times_ms: list[int], seed: int) -> None:
    times_ns = np.sort(np.array(times_ms)) * MS
    rng = np.random.default_rng(seed)
    samples = np.where(rng.random((len(times_ns), 2)) < 0.2, np.nan, rng.normal(size=(len(times_ns), 2)))
    found = place(times_ns, GRID).means(samples)
    period = float(np.median(np.diff(times_ns))) if len(times_ns) > 1 else -1.0
    for row, start in enumerate(GRID.start_ns):
        inside = (times_ns >= start) & (times_ns < start + GRID.bin_ns)
        for channel in range(2):
            values = samples[inside, channel]
            if inside.any():
                values = values[~np.isnan(values)]
                expected = values.mean() if len(values) else np.nan
            else:
                distance = np.abs(times_ns - (start + GRID.bin_ns // 2))
                nearest = int(distance.argmin())
                expected = samples[nearest, channel] if distance[nearest] <= period else np.nan
            np.testing.assert_allclose(found[row, channel], expected, rtol=1e-12, equal_nan=True)


@given(st.lists(st.integers(1, 4), min_size=0, max_size=40))
def test_the_sampling_period_is_the_median_interval(steps: list[int]) -> None:
    times = np.cumsum([0, *steps])
    expected = float(np.median(np.diff(times))) if steps else float("nan")
    np.testing.assert_equal(sampling_period_ns(times), expected)


@given(st.integers(0, 13), st.integers(0, 13))
def test_a_part_of_a_grid_has_the_bins_of_its_rows(first: int, stop: int) -> None:
    part = GRID.part(first, stop)
    np.testing.assert_array_equal(part.start_ns, GRID.start_ns[first:stop])


class Blocks(Mapping[str, Signal]):
    """Signals that also come in pieces, one for each trial."""

    def __init__(self, signals: dict[str, Signal], edges: Sequence[int]) -> None:
        self._signals, self._edges = signals, edges

    def __getitem__(self, name: str) -> Signal:
        return self._signals[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._signals)

    def __len__(self) -> int:
        return len(self._signals)

    def blocks(self, names: Sequence[str], *, min_gap_s: float) -> Iterator[Mapping[str, Signal]]:
        for first, stop in zip(self._edges[:-1], self._edges[1:], strict=True):
            yield {
                name: replace(self[name], times_s=self[name].times_s[first:stop], values=self[name].values[first:stop])
                for name in names
            }


def test_signals_in_blocks_align_as_whole_ones() -> None:
    rng = np.random.default_rng(0)
    times_s = np.concatenate([start + np.arange(0, 1.3, 0.004) for start in (0.0, 1.9, 4.02)])
    place_of = np.cumsum(rng.normal(size=(len(times_s), 2)), axis=0)
    angle = rng.uniform(0, 360, len(times_s))
    signals = {
        "place": Signal(name="place", times_s=times_s, values=place_of, kind="position"),
        "angle": Signal(name="angle", times_s=times_s, values=angle, kind="circular", period=360.0),
    }
    n = len(times_s) // 3
    in_blocks = Blocks(signals, (0, n, 2 * n, 3 * n))
    assert isinstance(in_blocks, ReadsInBlocks)
    session = Session(
        session_id="s",
        span_s=(0.0, 5.5),
        units=pd.DataFrame({"id": ["a"], "region": "", "kind": ""}),
        spike_times=SpikeTrains.from_units([np.array([0.1])]),
        signals=signals,
    )
    grid = Grid(bin_ns=50 * MS, stretch_start_ns=np.array([0]), stretch_n_bins=np.array([110]))
    whole, pieces = align_signals(session, grid), align_signals(replace(session, signals=in_blocks), grid)
    assert list(whole) == list(pieces) == ["place", "place_speed", "angle"]
    for name, covariate in whole.items():
        np.testing.assert_allclose(pieces[name].values, covariate.values, rtol=1e-9, err_msg=name)


def test_large_counts_lie_in_a_mapped_file_and_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    trains = SpikeTrains.from_units([np.sort(rng.uniform(0, 0.26, 900)) for _ in range(5)])
    small = spike_counts(trains, GRID)
    assert not isinstance(small, np.memmap)
    monkeypatch.setattr(scratch, "LARGEST_IN_MEMORY", 10)
    large = spike_counts(trains, GRID)
    assert isinstance(large, np.memmap)
    np.testing.assert_array_equal(large, small)
    for unit in range(5):
        for row, start in enumerate(GRID.start_ns * 1e-9):
            inside = (trains[unit] >= start) & (trains[unit] < start + 0.01)
            assert small[row, unit] == inside.sum()


def test_rows_of_a_mapped_file_are_those_of_the_array(monkeypatch: pytest.MonkeyPatch) -> None:
    array = np.arange(60).reshape(20, 3)
    monkeypatch.setattr(scratch, "LARGEST_IN_MEMORY", 10)
    monkeypatch.setattr(scratch, "AT_ONCE", 50)
    rows = np.array([0, 3, 4, 19])
    taken = scratch.rows_of(array, rows)
    assert isinstance(taken, np.memmap)
    np.testing.assert_array_equal(taken, array[rows])


def test_only_trials_keeps_the_bins_that_selecting_afterwards_would_keep() -> None:
    rng = np.random.default_rng(2)
    frame = pd.DataFrame({"start_s": [0.2, 1.4], "stop_s": [1.0, 2.1], "kind": ["a", "b"]})
    bounds = frame[["start_s", "stop_s"]].to_numpy()
    session = Session(
        session_id="s",
        span_s=(0.0, 3.0),
        units=pd.DataFrame({"id": ["a", "b"], "region": "", "kind": ""}),
        spike_times=SpikeTrains.from_units([np.sort(rng.uniform(0, 3, 200)) for _ in range(2)]),
        observed_s=(bounds, bounds),
        intervals={"trials": IntervalTable(frame)},
        signals={"x": Signal(name="x", times_s=np.arange(0, 3, 0.01), values=np.arange(0, 3, 0.01))},
    )
    every = bin_session(session, bin_s=0.05, trials="trials")
    kept = bin_session(session, bin_s=0.05, trials="trials", only_trials=True)
    chosen = every.rows(every.trial >= 0)
    assert every.observed is not None
    assert kept.observed is None
    assert chosen.observed is None
    np.testing.assert_array_equal(kept.activity, chosen.activity)
    np.testing.assert_array_equal(kept.start_ns, chosen.start_ns)
    assert list(kept.covariates) == list(chosen.covariates)
    for name in kept.covariates:
        np.testing.assert_array_equal(kept.covariates[name].values, chosen.covariates[name].values)


def test_declared_categories_and_circular_columns_become_variables_of_their_kind() -> None:
    n = 80
    frame = pd.DataFrame(
        {
            "start_s": np.arange(n, dtype=float),
            "stop_s": np.arange(n) + 0.5,
            "number": np.arange(n),
            "condition": pd.Categorical(np.arange(n)),
            "angle": np.arange(n) % 36 * 10,
        }
    )
    table = IntervalTable(frame, periods={"angle": 360.0}, physical_units={"angle": "deg"})
    found = {each.name: each for each in trial_covariates(table, np.arange(n, dtype=np.int32))[0]}
    assert found["number"].kind == "linear"  # more values than a discrete variable usually has
    assert (found["condition"].kind, len(found["condition"].categories or ())) == ("discrete", n)
    assert (found["angle"].kind, found["angle"].period, found["angle"].physical_unit) == ("circular", 360.0, "deg")
    np.testing.assert_array_equal(found["angle"].values[:, 0], frame["angle"])


def test_the_cache_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NLDISCO_CACHE", str(tmp_path))
    assert cache_folder("a", "b") == tmp_path / "a" / "b"
    monkeypatch.delenv("NLDISCO_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "nldisco"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder("a") == Path.home() / ".cache" / "nldisco" / "a"
