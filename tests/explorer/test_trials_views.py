from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from nldisco_explorer.drawing.payload import unpacked
from nldisco_explorer.perievent import aligned, bootstrap_means, groups_at, merged_rows, window_s
from nldisco_explorer.readings import readings
from nldisco_explorer.views.trials import AlignedTrials
from scipy import stats

from nldisco_core.runs import Run
from nldisco_core.selection import Selection

TARGETS = ("E", "NE", "N", "NW", "W", "SW", "S", "SE")
LATENT = 3  # prefers NW, and is active 5 bins after movement onset


class Asked:
    """An explorer that writes down what it is asked for."""

    def __init__(self, run: Run) -> None:
        self.runs = {run.name: run}
        self.asked: list[dict[str, Any]] = []

    def select(self, **changes: Any) -> None:
        self.asked.append(changes)


@pytest.fixture
def selection(reach_run: Run) -> Selection:
    return Selection(run=reach_run.name, latent=LATENT, align="move_onset_time", by="target")


def looped(run: Run, event: str, latent: int, split: int | None = None) -> dict[tuple[int, int], np.ndarray]:
    """Activation around an event, session by session, trial by trial, bin by bin; NaN where there is no bin."""
    data, found = run.counts, {}
    code = run.latents.main.csc(0)[:, [latent]].toarray()[:, 0]
    start_s, stop_s = window_s(readings(run))
    offsets = np.arange(round(start_s / data.bin_s), round(stop_s / data.bin_s))
    for s, (session, first) in enumerate(zip(data.sessions, data.row_offsets, strict=False)):
        assert session.trials is not None
        for t, at_s in enumerate(session.trials.frame[event]):
            row = np.full(len(offsets), np.nan)
            for k, offset in enumerate(offsets):
                middle_s = at_s + (offset + 0.5) * data.bin_s
                near = np.flatnonzero(np.abs(session.start_ns * 1e-9 + data.bin_s / 2 - middle_s) <= data.bin_s / 2)
                if len(near) and split in (None, int(session.split[near[0]])):
                    row[k] = code[first + near[0]]
            found[s, t] = row
    return found


def test_rows_are_the_activations_around_the_event(reach_run: Run, selection: Selection) -> None:
    reads = readings(reach_run)
    groups = groups_at(reads, "target", "move_onset_time")
    found = aligned(reads, selection, "move_onset_time", groups)
    expected = list(looped(reach_run, "move_onset_time", LATENT).values())
    assert sorted(found.trials.tolist()) == list(range(len(expected)))
    for trial, values in zip(found.trials, found.values, strict=True):
        np.testing.assert_allclose(values, expected[trial], rtol=1e-6)


def test_split_hides_bins_of_other_splits(reach_run: Run, selection: Selection) -> None:
    reads = readings(reach_run)
    groups = groups_at(reads, None, "go_cue_time")
    found = aligned(reads, replace(selection, split="test"), "go_cue_time", groups)
    expected = list(looped(reach_run, "go_cue_time", LATENT, split=2).values())
    holding = [trial for trial, values in enumerate(expected) if np.isfinite(values).any()]
    assert found.trials.tolist() == holding
    np.testing.assert_allclose(found.values, np.array(expected)[holding], rtol=1e-6)


def test_rows_are_sorted_by_group_and_then_in_the_order_of_trials(reach_run: Run, selection: Selection) -> None:
    reads = readings(reach_run)
    groups = groups_at(reads, "target", "move_onset_time")
    found = aligned(reads, selection, "move_onset_time", groups)
    frame = reads.trials.frame
    labels = [groups.labels[code] for code in found.codes]
    assert labels == frame["target"].iloc[found.trials].tolist()
    keys = list(zip(found.codes.tolist(), found.trials.tolist(), strict=True))
    assert keys == sorted(keys)


def test_drawn_mean_is_that_of_a_loop_and_peaks_where_it_was_planted(reach_run: Run, selection: Selection) -> None:
    tile = AlignedTrials().build(reach_run)
    tile.show(selection)
    assert tile.drawing is not None
    means = next(p for p in unpacked(tile.drawing.packed)["panels"] if p["id"] == "means" and p["column"] == 0)
    line = next(layer for layer in means["layers"] if layer["kind"] == "line" and layer["name"] == "NW")
    targets = [target for s in reach_run.counts.sessions for target in s.trials.frame["target"]]  # type: ignore[union-attr]  # all have trials
    rows = [
        row
        for row, target in zip(looped(reach_run, "move_onset_time", LATENT).values(), targets, strict=True)
        if target == "NW"
    ]
    np.testing.assert_allclose(line["arrays"]["y"], np.nanmean(rows, axis=0), rtol=1e-5, atol=1e-7)
    bin_s = reach_run.counts.bin_s
    active = line["arrays"]["x"][line["arrays"]["y"] > 0.4]
    assert abs(float(active.mean()) - 5 * bin_s) <= bin_s
    others = [each["arrays"]["y"] for each in means["layers"] if each["kind"] == "line" and each["name"] != "NW"]
    assert max(float(each.max()) for each in others) == 0


def test_interval_is_that_of_scipys_percentile_bootstrap() -> None:
    values = np.random.default_rng(1).gamma(2, 1, (60, 4))
    values[:20, 3] = np.nan
    mean, low, high = bootstrap_means(values)
    for k in range(4):
        sample = values[~np.isnan(values[:, k]), k]
        reference = stats.bootstrap((sample,), np.mean, n_resamples=4000, method="percentile", rng=0)
        width = reference.confidence_interval.high - reference.confidence_interval.low
        assert mean[k] == pytest.approx(sample.mean())
        assert abs(low[k] - reference.confidence_interval.low) < 0.2 * width
        assert abs(high[k] - reference.confidence_interval.high) < 0.2 * width


def test_interval_covers_the_true_mean_as_often_as_it_says() -> None:
    rng = np.random.default_rng(2)
    covered = []
    for draw in range(60):
        _, low, high = bootstrap_means(rng.normal(0.3, 1, (80, 5)), seed=draw)
        covered.append((low < 0.3) & (high > 0.3))
    assert 0.9 < np.mean(covered) < 0.985


def test_a_single_trial_has_a_mean_and_no_interval() -> None:
    mean, low, high = bootstrap_means(np.array([[1.0, 2.0]]))
    np.testing.assert_array_equal(mean, [1.0, 2.0])
    assert np.isnan([low, high]).all()


def test_rows_beyond_500_are_means_of_neighbours() -> None:
    values = np.random.default_rng(0).random((1201, 3))
    values[4, 1] = np.nan
    merged, per_row = merged_rows(values, 500)
    assert per_row == 3
    assert len(merged) == 401
    np.testing.assert_allclose(merged[1], np.nanmean(values[3:6], axis=0))
    np.testing.assert_allclose(merged[-1], values[1200])


def test_raster_holds_the_rows_as_bytes(reach_run: Run, selection: Selection) -> None:
    tile = AlignedTrials().build(reach_run)
    tile.show(selection)
    assert tile.drawing is not None
    raster = next(p for p in unpacked(tile.drawing.packed)["panels"] if p["id"] == "raster" and p["column"] == 0)
    image = raster["layers"][0]
    reads = readings(reach_run)
    found = aligned(reads, selection, "move_onset_time", groups_at(reads, "target", "move_onset_time"))
    drawn = image["arrays"]["image"].reshape(image["shape"])
    assert image["shape"] == [len(found.values), found.values.shape[1]]
    np.testing.assert_array_equal(drawn == 255, np.isnan(found.values))
    known = ~np.isnan(found.values)
    expected = np.clip(found.values[known] / image["top"], 0, 1) * 254
    assert np.abs(drawn[known] - expected).max() <= 0.51


def test_variable_at_the_event_groups_as_its_column_of_the_trial_table_does(
    reach_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    trials = readings(reach_run).trials
    by_column = groups_at(readings(reach_run), "target", "go_cue_time")
    monkeypatch.setitem(vars(trials), "frame", trials.frame.drop(columns="target"))
    by_variable = groups_at(readings(reach_run), "target", "go_cue_time")
    assert [by_column.labels[code] for code in by_column.codes] == [by_variable.labels[i] for i in by_variable.codes]


def test_numbers_of_many_values_are_grouped_in_quarters(reach_run: Run) -> None:
    reads = readings(reach_run)
    reads.trials.frame["weight"] = np.random.default_rng(0).random(len(reads.trials.frame))
    try:
        groups = groups_at(reads, "weight", "go_cue_time")
    finally:
        del reads.trials.frame["weight"]
    assert np.bincount(groups.codes).tolist() == [45, 45, 45, 45]
    assert len(groups.labels) == 4


def test_pickers_ask_for_what_they_are_set_to_and_filling_them_asks_for_nothing(
    reach_run: Run, selection: Selection
) -> None:
    tile: Any = AlignedTrials().build(reach_run)
    explorer = Asked(reach_run)
    tile.join(explorer)
    tile.show(selection)
    tile.show(replace(selection, align=None, by=None))
    assert explorer.asked == []
    assert tile._align.value == "go_cue_time"
    tile._by.value = "target"
    tile._align.value = "start_s"
    tile._by.value = ""
    assert explorer.asked == [{"by": "target"}, {"align": "start_s"}, {"by": None}]


def test_trials_are_chosen_by_a_column_and_a_value(reach_run: Run, selection: Selection) -> None:
    tile, explorer = AlignedTrials().build(reach_run), Asked(reach_run)
    tile.join(explorer)
    tile.show(selection)
    tile._column.value = "target"
    assert tile._value.options == {"any value": "", **{each: each for each in sorted(TARGETS)}}
    tile._value.value = "NW"
    frames = [session.trials.frame for session in reach_run.counts.sessions if session.trials is not None]
    targets = [target for frame in frames for target in frame["target"]]
    northwest = tuple(i for i, target in enumerate(targets) if target == "NW")
    assert explorer.asked == [{"trial_filter": None}, {"trial_filter": northwest}]
    tile.show(replace(selection, trial_filter=northwest))
    assert f"{len(northwest)} of {len(targets)} trials" in tile.drawing.summary
    assert "Only trials with target NW are drawn here; other tiles draw all bins." in tile.drawing.summary
    assert len(explorer.asked) == 2


def test_link_that_chooses_trials_fills_their_pickers(reach_run: Run, selection: Selection) -> None:
    northwest = readings(reach_run).trials.by_value("target")["NW"]
    tile, explorer = AlignedTrials().build(reach_run), Asked(reach_run)
    tile.join(explorer)
    tile.show(replace(selection, trial_filter=northwest))
    assert (tile._column.value, tile._value.value) == ("target", "NW")
    tile.show(replace(selection, trial_filter=(0, 5, 6)))
    assert (tile._column.value, tile._value.visible) == ("as chosen", False)
    assert "Only 3 chosen trials are drawn here" in tile.drawing.summary
    assert explorer.asked == []
    tile._column.value = ""
    assert explorer.asked == [{"trial_filter": None}]
    tile.show(selection)
    assert tile._column.value == ""
    assert "as chosen" not in tile._column.options


def test_no_trial_left_is_said(reach_run: Run, selection: Selection) -> None:
    tile = AlignedTrials().build(reach_run)
    tile.show(replace(selection, trial_filter=(10_000,)))
    assert tile.drawing is not None
    assert tile.drawing.panels == ()
    assert "No trial" in tile.drawing.summary


@pytest.mark.parametrize("model", ["model", "pca"])
def test_every_latent_can_be_drawn(reach_run: Run, selection: Selection, model: str) -> None:
    tile = AlignedTrials().build(reach_run)
    signed = model == "pca"
    for latent in range(reach_run.part(model).latents.main.n_latents):
        tile.show(replace(selection, model=model, latent=latent, sign=1 if signed else 0))
        assert tile.drawing is not None
        assert tile.drawing.packed
