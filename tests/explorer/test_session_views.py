from __future__ import annotations

import gc
import weakref
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nldisco_explorer.decimation import Pyramid, columns, decimated, stretches
from nldisco_explorer.drawing.payload import unpacked
from nldisco_explorer.latent_map import latent_map
from nldisco_explorer.links import place_of, query_of, start_place
from nldisco_explorer.readings import Readings, readings
from nldisco_explorer.related import neighbours_of
from nldisco_explorer.timeline import session_times
from nldisco_explorer.views.session import SessionTimeline, bouts

from nldisco_core.runs import Run
from nldisco_core.selection import Selection


class Host:
    """An explorer that shows a view whatever it asks for."""

    def __init__(self, run: Run, tile: Any, selection: Selection) -> None:
        self.runs = {run.name: run}
        self.tile, self.selection = tile, selection
        tile.join(self)
        tile.show(selection)

    def select(self, **changes: Any) -> None:
        self.selection = replace(self.selection, **changes)
        self.tile.show(self.selection)


@pytest.fixture
def host(reach_run: Run) -> Host:
    selection = Selection(run=reach_run.name, latent=3, variable="target")
    return Host(reach_run, SessionTimeline().build(reach_run), selection)


def panels(host: Host) -> dict[str, Any]:
    return {panel["id"]: panel for panel in unpacked(host.tile.drawing.packed)["panels"]}


@given(st.integers(1, 400), st.integers(10, 60), st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=60)
def test_decimation_keeps_the_extremes_and_crosses_no_gap(n_bins: int, n_points: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=n_bins)
    stretch = np.cumsum(rng.random(n_bins) < 0.02)
    times = np.arange(n_bins) + 100.0 * stretch
    x, y = decimated(times, values, stretch, n_points)
    assert np.isfinite(y).sum() <= n_points + 2
    assert y[np.isfinite(y)].max() == values.max()
    assert y[np.isfinite(y)].min() == values.min()
    assert (np.diff(x) >= 0).all()
    joined = np.isfinite(y[1:]) & np.isfinite(y[:-1])
    of = np.searchsorted(times, x)
    assert (stretch[of[1:]] == stretch[of[:-1]])[joined].all()


def test_decimated_points_are_points_of_the_trace() -> None:
    values = np.random.default_rng(0).normal(size=10_000)
    times = np.arange(10_000) * 0.02
    x, y = decimated(times, values, np.zeros(10_000, dtype=np.int64), 500)
    np.testing.assert_array_equal(values[np.rint(x / 0.02).astype(int)], y)


@pytest.mark.parametrize("per_column", [1, 5, 200])
def test_columns_hold_the_mean_of_their_bins(per_column: int) -> None:
    rng = np.random.default_rng(0)
    bin_ns = 20_000_000
    kept = np.delete(np.arange(9_000), slice(3_000, 4_200))
    activity = rng.poisson(1.0, (len(kept), 7)).astype(np.uint8)
    start_ns = kept * bin_ns
    most = -(-9_000 // per_column)
    over = columns(start_ns, bin_ns, 0.0, 9_000 * 0.02, most)
    means = Pyramid(activity).means(over)
    assert len(means) <= most
    slack = 0 if per_column < 64 else 8
    for column in range(len(means)):
        low, high = column * per_column, (column + 1) * per_column
        inside = (kept >= low) & (kept < high)
        if not inside.any():
            assert np.isnan(means[column]).all()
        elif slack == 0:
            np.testing.assert_allclose(means[column], activity[inside].mean(axis=0), rtol=1e-6)
        elif inside.sum() == per_column:
            near = activity[(kept >= low - slack) & (kept < high + slack)].sum(axis=0)
            far = activity[(kept >= low + slack) & (kept < high - slack)].sum(axis=0)
            assert (means[column] * (per_column + slack) >= far).all()
            assert (means[column] * (per_column - slack) <= near).all()


def test_stretches_end_at_gaps_alone() -> None:
    starts = np.array([0, 20, 40, 100, 120]) * 1_000_000
    assert stretches(starts, 20_000_000).tolist() == [0, 0, 0, 1, 1]


def test_activations_begin_after_a_silence() -> None:
    start_s = np.arange(100) * 0.1
    assert bouts(np.array([3, 4, 6, 20, 21, 60]), start_s, apart_s=0.25).tolist() == pytest.approx([0.3, 2.0, 6.0])
    assert len(bouts(np.empty(0, dtype=np.int64), start_s)) == 0


def test_jumps_visit_every_activation_once_in_order(host: Host, reach_run: Run) -> None:
    reads, time = readings(reach_run), session_times(readings(reach_run), 0)
    rows = reads.activations(host.selection).rows
    begins = bouts(rows[rows < time.rows.stop], time.start_s)
    inside = [at for at in begins if time.low_s + 1 < at < time.high_s - 1]
    host.select(window_s=(time.low_s, time.low_s + 2.0))
    visited = []
    for _ in range(len(begins) + 3):
        host.tile.jump(1)
        visited.append(sum(host.selection.window_s) / 2)  # type: ignore[arg-type]  # set above
    reached = list(dict.fromkeys(np.round(visited, 2)))
    assert set(np.round(inside, 2)) <= set(reached)
    assert reached == sorted(reached)
    host.tile.jump(-1)
    assert sum(host.selection.window_s) / 2 < visited[-1]  # type: ignore[arg-type]  # set above


def test_population_is_the_mean_rate_of_units_by_region(host: Host, reach_run: Run) -> None:
    host.select(window_s=(10.0, 14.0))
    image = next(layer for layer in panels(host)["population"]["layers"] if layer["kind"] == "image")
    session = reach_run.counts.sessions[0]
    inside = (session.start_ns >= 10_000_000_000 - 10) & (session.start_ns < 14_000_000_000 - 10)
    order = session.units["region"].argsort(kind="stable").to_numpy()
    expected = np.asarray(session.activity)[inside][:, order].T / 0.02
    drawn = image["arrays"]["image"].reshape(image["shape"])
    assert image["shape"] == [24, 200]
    np.testing.assert_allclose(drawn / 254 * image["top"], np.minimum(expected, image["top"]), atol=0.3)
    assert image["rows"][0].startswith("unit u12 M1")


def test_gap_is_empty_in_the_population_and_broken_in_traces(host: Host) -> None:
    host.select(window_s=(70.0, 110.0))
    found = panels(host)
    image = next(layer for layer in found["population"]["layers"] if layer["kind"] == "image")
    drawn = image["arrays"]["image"].reshape(image["shape"])
    middle = drawn.shape[1] // 2
    assert (drawn[:, middle] == 255).all()
    assert not (drawn[:, 0] == 255).any()
    spans = next(layer for layer in found["strip"]["layers"] if layer["kind"] == "spans")
    assert spans["arrays"]["high"] - spans["arrays"]["low"] == pytest.approx(25.0, abs=1e-3)
    lines = next(layer for layer in found["speed"]["layers"] if layer["kind"] == "line")
    assert np.isnan(lines["arrays"]["y"]).sum() == 1


def test_window_follows_the_latent_until_it_is_moved(host: Host) -> None:
    windows = []
    for latent in (3, 4, 5):
        host.select(latent=latent)
        windows.append(host.tile._window)
        active = panels(host)["activation"]["layers"][2]["arrays"]
        assert np.nanmax(active["y"]) > 0
    host.tile.done({"kind": "range", "link": "time", "low": 20.0, "high": 30.0})
    assert host.selection.window_s == (20.0, 30.0)
    host.select(latent=7)
    assert host.tile._window == pytest.approx((20.0, 30.0))


def test_window_stays_inside_the_session_and_is_never_too_short(host: Host, reach_run: Run) -> None:
    time = session_times(readings(reach_run), 0)
    host.select(window_s=(-50.0, 10.0))
    assert host.tile._window == pytest.approx((time.low_s, time.low_s + 60.0))
    host.select(window_s=(30.0, 30.001))
    assert host.tile._window[1] - host.tile._window[0] == pytest.approx(0.4)
    host.select(window_s=(-1e9, 1e9))
    assert host.tile._window == pytest.approx((time.low_s, time.high_s))


def test_second_session_has_its_own_bins(host: Host, reach_run: Run) -> None:
    host.select(window_s=(0.0, 5.0))
    host.tile._session.value = 1
    assert host.selection.session == "reach-2"
    assert host.selection.window_s is None
    assert np.nanmax(panels(host)["activation"]["layers"][2]["arrays"]["y"]) > 0
    host.select(window_s=(0.0, 5.0))
    assert host.tile._index == 1
    session = reach_run.counts.sessions[1]
    image = next(layer for layer in panels(host)["population"]["layers"] if layer["kind"] == "image")
    drawn = image["arrays"]["image"].reshape(image["shape"])
    order = session.units["region"].argsort(kind="stable").to_numpy()
    expected = np.asarray(session.activity)[: drawn.shape[1], order].T / 0.02
    np.testing.assert_allclose(drawn / 254 * image["top"], np.minimum(expected, image["top"]), atol=0.3)


def test_pinned_latents_have_rows_of_their_own(host: Host, reach_run: Run) -> None:
    host.select(pinned=((5, 0), (3, 0), (9, 0)))
    found = panels(host)
    assert [name for name in found if name.startswith("latent")] == ["latent 3", "latent 5", "latent 9"]
    code = reach_run.latents.main.csc(0)[:, [5]].toarray()[:, 0]
    drawn = found["latent 5"]["layers"][2]["arrays"]
    inside = session_times(readings(reach_run), host.tile._index).inside(*host.tile._window)
    rows = np.arange(inside.start, inside.stop) + session_times(readings(reach_run), host.tile._index).rows.start
    assert np.nanmax(drawn["y"]) == pytest.approx(code[rows].max())


def test_ribbon_holds_the_label_of_each_time(host: Host, reach_run: Run) -> None:
    host.select(window_s=(10.0, 14.0))
    image = panels(host)["target"]["layers"][0]
    session = reach_run.counts.sessions[0]
    inside = (session.start_ns >= 10_000_000_000 - 10) & (session.start_ns < 14_000_000_000 - 10)
    np.testing.assert_array_equal(image["arrays"]["image"], session.covariates["target"].values[inside, 0])
    assert image["names"]["3"] == "NW"


def test_halves_of_a_signed_code_are_drawn_above_zero(reach_run: Run) -> None:
    tile = SessionTimeline().build(reach_run)
    for sign in (1, -1):
        tile.show(Selection(run=reach_run.name, model="pca", latent=0, sign=sign))
        assert tile.drawing is not None
        found = {panel["id"]: panel for panel in unpacked(tile.drawing.packed)["panels"]}
        line = found["activation"]["layers"][2]["arrays"]["y"]
        assert np.nanmin(line) == 0
        assert np.nanmax(line) > 0


def test_link_holds_session_and_window(reach_run: Run) -> None:
    reads = readings(reach_run)
    start = start_place(reads)
    moved = replace(start, selection=replace(start.selection, session="reach-2", window_s=(3.5, 9.0)))
    assert place_of(query_of(moved), reads) == (moved, [])
    place, complaints = place_of("?session=reach-3", reads)
    assert place == start
    assert "reach-2" in complaints[0]


def test_what_is_kept_of_a_run_goes_with_it(reach_run: Run) -> None:
    reads = Readings(reach_run)
    alive = weakref.ref(reads)
    session_times(reads, 0)
    latent_map(reads, "model", 0)
    neighbours_of(reads, Selection(run=reach_run.name, latent=0))
    del reads
    gc.collect()
    assert alive() is None
