from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nldisco_spatial.border_cells import border_score
from nldisco_spatial.grid_cells import autocorrelograms, grid_score
from nldisco_spatial.maps import pixels, rate_maps
from nldisco_spatial.scores import kl_from_uniform, sparsity, spatial_information
from nldisco_spatial.speed_cells import speed_score
from scipy import ndimage, sparse, stats

from nldisco_core.binned import Covariate
from nldisco_core.errors import DataError

nan = float("nan")
QUICK = settings(max_examples=25, deadline=None)


@dataclass(frozen=True)
class Walk:
    """Where an animal was, NaN rows included, and (n_rows, n_columns) activations with a silent and a flat column."""

    position: np.ndarray
    activations: np.ndarray
    rows: np.ndarray


@st.composite
def walks(draw: st.DrawFn, *, n_channels: int = 2) -> Walk:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n_rows = draw(st.integers(30, 400))
    position = rng.random((n_rows, n_channels)) * rng.uniform(0.3, 2, n_channels) + rng.normal(0, 5, n_channels)
    position[rng.random(n_rows) < draw(st.sampled_from([0.0, 0.2]))] = nan
    activations = np.maximum(rng.normal(-0.5, 1, (n_rows, 5)), 0)
    activations[:, 1] = 0
    activations[:, 2] = 1
    activations[:, 3] = np.round(activations[:, 3])  # ties
    rows = rng.random(n_rows) < draw(st.sampled_from([0.5, 1.0]))
    rows[np.flatnonzero(np.isfinite(position).all(axis=1))[:2]] = True
    return Walk(position, activations, rows)


def covariate_of(walk: Walk) -> Covariate:
    channels = ("x", "y")[: walk.position.shape[1]]
    return Covariate(name="place", values=walk.position, kind="position", channels=channels)


def plain_map(walk: Walk, column: int, n_pixels: int, sigma: float) -> np.ndarray:
    """Square pixels along the longest side, counted one row at a time."""
    known = np.isfinite(walk.position).all(axis=1) & walk.rows
    low, high = walk.position[known].min(axis=0), walk.position[known].max(axis=0)
    width = (high - low).max() / n_pixels
    counts = [max(int(np.ceil((b - a) / width - 1e-9)), 1) for a, b in zip(low, high, strict=True)]
    starts = [(a + b - n * width) / 2 for a, b, n in zip(low, high, counts, strict=True)]
    shape = (counts[1] if len(counts) == 2 else 1, counts[0])
    summed, spent = np.zeros(shape), np.zeros(shape)
    for row in np.flatnonzero(known):
        at = [
            min(max(int(np.searchsorted(start + width * np.arange(n + 1), value, side="right")) - 1, 0), n - 1)
            for value, start, n in zip(walk.position[row], starts, counts, strict=True)
        ]
        place = (at[1] if len(at) == 2 else 0, at[0])
        summed[place] += walk.activations[row, column]
        spent[place] += 1
    above, below = (
        ndimage.gaussian_filter(part, sigma, mode="constant") if sigma else part for part in (summed, spent)
    )
    return np.array(
        [[above[i, j] / below[i, j] if spent[i, j] else nan for j in range(shape[1])] for i in range(shape[0])]
    )


@QUICK
@given(st.one_of(walks(), walks(n_channels=1)), st.integers(5, 12), st.sampled_from([0.0, 1.5]))
def test_rate_map_is_activation_over_occupancy_smoothed_before_the_division(
    walk: Walk, n_pixels: int, sigma: float
) -> None:
    chosen = pixels(covariate_of(walk), n_pixels, walk.rows)
    found = rate_maps(sparse.csc_array(walk.activations), chosen, walk.rows, smooth_pixels=sigma)
    for column in range(walk.activations.shape[1]):
        np.testing.assert_allclose(found.rate[column], plain_map(walk, column, n_pixels, sigma), rtol=1e-9, atol=1e-12)
    assert found.n_bins.sum() == (walk.rows & np.isfinite(walk.position).all(axis=1)).sum()


@st.composite
def rates(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Maps with unvisited pixels, and time spent; the last two are silent and flat."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = draw(st.tuples(st.integers(4, 10), st.integers(4, 10)))
    n_bins = rng.integers(1, 50, shape)
    n_bins[rng.random(shape) < draw(st.sampled_from([0.0, 0.15]))] = 0
    n_bins[0, 0] = 3
    noise = rng.random((6, *shape)) ** draw(st.sampled_from([1, 6]))
    maps = np.concatenate(
        [noise, ndimage.gaussian_filter(noise, (0, 1, 1)), np.zeros((1, *shape)), np.ones((1, *shape))]
    )
    return np.where(n_bins > 0, maps, nan), n_bins


@QUICK
@given(rates())
def test_scores_of_a_map_equal_plain_loops(case: tuple[np.ndarray, np.ndarray]) -> None:
    maps, n_bins = case
    found = (spatial_information(maps, n_bins), sparsity(maps, n_bins), kl_from_uniform(maps))
    for index, rate in enumerate(maps):
        pixel = [(float(r), n / n_bins.sum()) for r, n in zip(rate.ravel(), n_bins.ravel(), strict=True) if n]
        mean = sum(r * p for r, p in pixel)
        expected = (nan, nan, nan)
        if mean > 0:
            total = sum(r for r, _ in pixel)
            expected = (
                sum(p * r / mean * np.log2(r / mean) for r, p in pixel if r),
                mean**2 / sum(p * r * r for r, p in pixel),
                float(stats.entropy([r / total for r, _ in pixel], [1 / len(pixel)] * len(pixel), base=2)),
            )
        np.testing.assert_allclose([score[index] for score in found], expected, rtol=1e-9, atol=1e-9)


def plain_autocorrelogram(rate: np.ndarray) -> np.ndarray:
    ny, nx = rate.shape
    variance = np.nanvar(rate)
    found = np.full((2 * ny - 1, 2 * nx - 1), nan)
    for dy in range(-ny + 1, ny):
        for dx in range(-nx + 1, nx):
            here = rate[max(0, -dy) : ny - max(0, dy), max(0, -dx) : nx - max(0, dx)]
            there = rate[max(0, dy) : ny - max(0, -dy), max(0, dx) : nx - max(0, -dx)]
            both = np.isfinite(here) & np.isfinite(there)
            if both.sum() >= 20 and min(here[both].var(), there[both].var()) > 1e-4 * variance > 0:
                found[dy + ny - 1, dx + nx - 1] = np.corrcoef(here[both], there[both])[0, 1]
    return found


def plain_grid_score(rate: np.ndarray) -> float:
    correlogram = plain_autocorrelogram(rate)
    height, width = correlogram.shape
    cy, cx = height // 2, width // 2
    y, x = np.mgrid[:height, :width]
    ring = np.round(np.hypot(y - cy, x - cx)).astype(int)
    last = min(cy, cx)
    profile = [
        np.mean(values) if len(values := correlogram[(ring == k) & np.isfinite(correlogram)]) else nan
        for k in range(last + 1)
    ] + [nan]
    beyond = [k for k in range(1, last + 1) if profile[k] <= 0 or profile[k] <= profile[k + 1]]
    if not beyond:
        return nan
    turned = {}
    for angle in (30, 60, 90, 120, 150):
        c, s = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
        at = np.stack([c * (y - cy) - s * (x - cx) + cy, s * (y - cy) + c * (x - cx) + cx])
        at = np.where(np.abs(at - np.round(at)) < 1e-9, np.round(at), at)  # on a pixel: only that pixel has to be known
        turned[angle] = ndimage.map_coordinates(correlogram, at, order=1, mode="constant", cval=nan)
        known = ndimage.map_coordinates(np.isfinite(correlogram) * 1.0, at, order=1, mode="constant", cval=0)
        filled = ndimage.map_coordinates(np.nan_to_num(correlogram), at, order=1, mode="constant", cval=0)
        turned[angle] = np.where(known > 1 - 1e-9, filled, nan)
    scores = []
    for end in range(beyond[0] + 2, last + 1):
        r = {}
        for angle, other in turned.items():
            use = (ring >= beyond[0]) & (ring <= end) & np.isfinite(correlogram) & np.isfinite(other)
            a, b = correlogram[use], other[use]
            r[angle] = np.corrcoef(a, b)[0, 1] if use.sum() >= 20 and min(a.var(), b.var()) > 1e-8 else nan
        score = min(r[60], r[120]) - max(r[30], r[90], r[150])
        if np.isfinite(list(r.values())).all():
            scores.append(score)
    return max(scores, default=nan)


@settings(max_examples=8, deadline=None)
@given(rates())
def test_autocorrelogram_and_grid_score_equal_plain_loops(case: tuple[np.ndarray, np.ndarray]) -> None:
    maps, _ = case
    found, scores = autocorrelograms(maps), grid_score(maps)
    for index in (0, 6, 12, 13):
        np.testing.assert_allclose(found[index], plain_autocorrelogram(maps[index]), rtol=0, atol=1e-9)
        np.testing.assert_allclose(scores[index], plain_grid_score(maps[index]), rtol=0, atol=1e-9)


def plain_border_score(rate: np.ndarray) -> float:
    """Fields grown from a seed pixel by pixel."""
    ny, nx = rate.shape
    top, visited = np.nanmax(rate), np.isfinite(rate).sum()
    free = {(i, j) for i in range(ny) for j in range(nx) if rate[i, j] > 0.3 * top}
    fields = []
    while free:
        grown, front = set(), [free.pop()]
        while front:
            i, j = front.pop()
            grown.add((i, j))
            for place in ((i + 1, j), (i - 1, j), (i, j + 1), (i, j - 1)):
                if place in free:
                    free.remove(place)
                    front.append(place)
        if len(grown) >= 0.02 * visited:
            fields.append(grown)
    if not fields:
        return nan
    walls = (
        [(0, j) for j in range(nx)],
        [(ny - 1, j) for j in range(nx)],
        [(i, 0) for i in range(ny)],
        [(i, nx - 1) for i in range(ny)],
    )
    c_m = max(len(field.intersection(wall)) / len(wall) for field in fields for wall in walls)
    inside = [place for field in fields for place in field]
    far = [min(i + 0.5, ny - i - 0.5, j + 0.5, nx - j - 0.5) / (min(ny, nx) / 2) for i, j in inside]
    d_m = np.average(far, weights=[rate[place] for place in inside])
    return float((c_m - d_m) / (c_m + d_m))


@QUICK
@given(rates())
def test_border_score_equals_plain_loops(case: tuple[np.ndarray, np.ndarray]) -> None:
    maps, _ = case
    expected = [plain_border_score(rate) for rate in maps]
    np.testing.assert_allclose(border_score(maps), expected, rtol=0, atol=1e-9)


@QUICK
@given(walks(n_channels=1))
def test_speed_score_is_pearsons_r(walk: Walk) -> None:
    speed = walk.position[:, 0]
    known = np.isfinite(speed)
    found = speed_score(sparse.csc_array(walk.activations), speed)
    assert np.isnan(found[[1, 2]]).all()  # silent, and always alike
    for column in (0, 3, 4):
        expected = stats.pearsonr(walk.activations[known, column], speed[known]).statistic
        np.testing.assert_allclose(found[column], expected, rtol=0, atol=1e-9)


def test_speed_that_never_changes_has_no_score() -> None:
    activations = sparse.csc_array(np.eye(10))
    assert np.isnan(speed_score(activations, np.full(10, 0.1))).all()
    assert np.isnan(speed_score(activations, np.full(10, nan))).all()


@pytest.mark.parametrize("seed", range(3))
def test_grid_score_of_a_noisy_grid_with_unvisited_pixels_equals_a_plain_loop(seed: int) -> None:
    rng = np.random.default_rng(seed)
    noisy = grid_map(7.0, 0.3, n=16) + rng.random((16, 16))
    seen = np.where(rng.random((16, 16)) < 0.1, nan, noisy)[:, : 16 - 2 * seed]
    expected = plain_grid_score(seen)
    assert np.isfinite(expected)
    np.testing.assert_allclose(grid_score(seen[None]), [expected], rtol=0, atol=1e-9)


def gaussian_bump(y: float, x: float, width: float, n: int = 20) -> np.ndarray:
    rows, columns = np.mgrid[:n, :n]
    return np.asarray(np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * width**2)))


def grid_map(spacing: float, orientation: float, n: int = 20, fold: int = 3) -> np.ndarray:
    """Sum of plane waves: three make a hexagonal grid, two a square one."""
    y, x = np.mgrid[:n, :n]
    step = np.pi / 3 if fold == 3 else np.pi / 2
    k = 4 * np.pi / (np.sqrt(3) * spacing)
    waves = [np.cos(k * (np.cos(orientation + i * step) * x + np.sin(orientation + i * step) * y)) for i in range(fold)]
    return np.asarray(np.maximum(sum(waves) + 0.5, 0))


@pytest.mark.parametrize("orientation", [0.0, 0.2, 0.5])
@pytest.mark.parametrize("spacing", [6.0, 8.0])
def test_hexagonal_map_has_a_grid_score_and_others_have_not(spacing: float, orientation: float) -> None:
    hexagonal, square = grid_map(spacing, orientation), grid_map(spacing, orientation, fold=2)
    scores = grid_score(np.stack([hexagonal, square, gaussian_bump(8, 12, 3)]))
    assert scores[0] > 0.8
    assert scores[1] < 0
    assert not scores[2] > 0.3


def test_field_along_a_wall_has_a_border_score_and_one_in_the_middle_has_not() -> None:
    wall = np.zeros((20, 20))
    wall[:, :2] = 1
    quarter = wall.copy()
    quarter[10:] = 0
    scores = border_score(np.stack([wall, wall.T[::-1], quarter, gaussian_bump(10, 10, 3)]))
    assert (scores[:2] > 0.75).all()
    assert scores[0] > scores[2] > 0.5
    assert scores[3] < -0.3


def test_position_that_cannot_be_mapped_is_refused() -> None:
    rows = np.ones(30, dtype=bool)
    still = Covariate(name="place", values=np.ones((30, 2)), kind="position", channels=("x", "y"))
    lost = Covariate(name="place", values=np.full((30, 2), nan), kind="position", channels=("x", "y"))
    deep = Covariate(
        name="place", values=np.random.default_rng(0).random((30, 3)), kind="position", channels=("x", "y", "z")
    )
    for covariate, reason in ((still, "never changes"), (lost, "not defined"), (deep, "3 channels")):
        with pytest.raises(DataError, match=reason):
            pixels(covariate, 10, rows)


def test_pixels_are_square_and_one_row_of_them_lies_on_a_line() -> None:
    rng = np.random.default_rng(0)
    box = Covariate(name="place", values=rng.random((500, 2)) * (100, 50), kind="position", channels=("x", "y"))
    chosen = pixels(box, 20, np.ones(500, dtype=bool))
    assert chosen.grid == (20, 10)
    assert np.ptp([np.diff(edges).mean() for edges in chosen.edges]) < 1e-9
    track = Covariate(name="place", values=rng.random(500), kind="position", channels=("x",))
    on_a_line = pixels(track, 20, np.ones(500, dtype=bool))
    found = rate_maps(sparse.csc_array(np.ones((500, 1))), on_a_line, np.ones(500, dtype=bool), smooth_pixels=1.0)
    assert found.rate.shape == (1, 1, 20)
    assert np.isnan(grid_score(found.rate)).all()
    assert np.isnan(border_score(found.rate)).all()
