"""What the Overview draws of a recording, against counting by hand."""

from __future__ import annotations

import re
import runpy
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from nldisco_explorer.drawing.payload import unpacked
from nldisco_explorer.readings import readings
from nldisco_explorer.views.recorded_behaviour import Behaviour, Trials
from nldisco_explorer.views.recorded_time import RecordedTime, RecordingWarnings, _spans
from nldisco_explorer.views.recording import ActivityExamples, CountHistogram, UnitRates, histogram_edges

from nldisco_core.binned import Binned, Covariate, Preprocessing
from nldisco_core.files import read_json, write_binned, write_json
from nldisco_core.runs import Run
from nldisco_core.session import IntervalTable

N_BINS, BIN_S, GAP_S = 4_000, 0.05, 100.0
write_run: Callable[..., Run] = runpy.run_path(str(Path(__file__).with_name("written_run.py")))["write_run"]


def with_recording(folder: Path, change: Callable[[Binned], Binned], **about: Any) -> Run:
    """The written run with other data and further statements in its ``run.json``."""
    run = write_run(folder, mapped=False)
    data = change(run.counts.rows(np.arange(run.counts.n_bins) < N_BINS))
    shutil.rmtree(folder / "binned")
    write_binned(folder / "binned", data, Preprocessing())
    write_json(folder / "run.json", {**read_json(folder / "run.json"), **about})
    return Run(folder)


def with_trials(data: Binned) -> Binned:
    """A pause in the middle, two units unobserved for a while, forty trials of 4 s in three conditions."""
    (session,) = data.sessions
    start_ns = session.start_ns + np.where(np.arange(N_BINS) >= N_BINS // 2, round(GAP_S * 1e9), 0)
    observed = np.ones(session.activity.shape, dtype=bool)
    observed[:400, 3:5] = False
    start_s = np.arange(40) * 5.0
    frame = pd.DataFrame(
        {
            "start_s": start_s,
            "stop_s": start_s + 4.0 + 0.01 * np.arange(40),
            "go_s": start_s + 1.0,
            "maze": np.arange(40) % 3,
            "side": ["l", "r"] * 20,
        }
    )
    trial = np.where(np.arange(N_BINS) // 20 % 5 < 4, np.arange(N_BINS) // 100, -1).astype(np.int32)
    flat = Covariate(name="flat", values=np.full(N_BINS, 2.5), kind="linear")
    session = replace(
        session,
        activity=np.where(observed, session.activity, 0),
        start_ns=start_ns,
        observed=observed,
        trial=trial,
        trials=IntervalTable(frame, events=("go_s",), physical_units={"maze": "number"}),
        covariates={**session.covariates, "flat": flat},
    )
    return replace(data, sessions=(session,))


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("recorded") / "2026-03-01T10-22-05_recorded_matryoshka-sae_7f3d"
    return with_recording(folder, with_trials, warnings=["written-1: 2 <silent> units"])


def bars(tile: Any, name: str) -> dict[str, np.ndarray]:
    """The arrays of a tile's bars of that name."""
    return next(
        layer["arrays"]
        for panel in unpacked(tile.drawing.packed)["panels"]
        for layer in panel["layers"]
        if layer["kind"] == "bars" and layer.get("name", "entries") == name
    )


def said(tile: Any) -> str:
    return str(tile.drawing.summary)


def test_rates_are_those_of_observed_bins_and_stack_by_region(recorded: Run) -> None:
    tile = UnitRates().build(recorded)
    session = recorded.counts.sessions[0]
    assert session.observed is not None
    rates = [session.activity[session.observed[:, unit], unit].mean() / BIN_S for unit in range(session.n_units)]
    adn, post = bars(tile, "adn"), bars(tile, "post")
    edges = histogram_edges(np.array(rates), n_bins=24, logarithmic=True)
    np.testing.assert_allclose(np.append(adn["left"], adn["right"][-1]), np.log10(edges), atol=1e-6)
    np.testing.assert_array_equal(adn["top"] - adn["bottom"], np.histogram(rates[:9], edges)[0])
    np.testing.assert_array_equal(post["top"] - post["bottom"], np.histogram(rates[9:], edges)[0])
    np.testing.assert_array_equal(post["bottom"], adn["top"])
    assert "15 units: 9 adn, 6 post" in said(tile)
    assert f"{min(rates):.3g} to {max(rates):.3g}" in said(tile)


def test_counts_and_shares_of_nonzero_bins_are_counted(recorded: Run) -> None:
    tile = CountHistogram().build(recorded)
    session = recorded.counts.sessions[0]
    entries = session.activity[session.observed]
    drawn = bars(tile, "entries")
    occurring = np.array([np.mean(entries == count) for count in range(entries.max() + 1)])
    np.testing.assert_allclose(drawn["share"][occurring > 0], occurring[occurring > 0], rtol=1e-6)
    logarithms = np.log10(occurring[occurring > 0])
    np.testing.assert_allclose(np.diff(drawn["top"][occurring > 0]), np.diff(logarithms), atol=1e-5)
    assert drawn["left"][0] == -0.5
    assert bars(tile, "units")["top"].sum() == 15
    assert f"{100 * (entries > 0).mean():.3g} % of all entries" in said(tile)
    assert f"Most in one bin: {entries.max()}" in said(tile)


def test_example_is_the_activity_and_the_busy_one_is_busier(recorded: Run) -> None:
    tile = ActivityExamples().build(recorded)
    session = recorded.counts.sessions[0]
    sums = {}
    for which in ("quiet", "usual", "busy"):
        tile._picker.value = which
        (layer,) = unpacked(tile.drawing.packed)["panels"][0]["layers"]
        image = (
            layer["arrays"]["image"].reshape(layer["shape"]) / 254 * (layer["top"] - layer["bottom"]) + layer["bottom"]
        )
        start_s = float(re.search(r"from ([\d.e+]+) s on", said(tile)).group(1))  # type: ignore[union-attr]  # it is there
        first = int(np.argmin(np.abs(session.start_ns * 1e-9 - start_s)))
        expected = session.activity[first : first + image.shape[1]][:, tile._order]
        np.testing.assert_allclose(image.T, np.minimum(expected, layer["top"]), atol=0.51 / 254 * layer["top"])
        assert layer["rows"] == [f"unit {each}" for each in session.units["id"].iloc[tile._order]]
        sums[which] = expected.sum()
    assert sums["quiet"] <= sums["usual"] <= sums["busy"]
    assert sums["quiet"] < sums["busy"]
    regions = session.units["region"].to_numpy()[tile._order]
    assert list(regions) == sorted(regions)


def test_time_shows_the_gap_and_every_split(recorded: Run) -> None:
    tile = RecordedTime().build(recorded)
    assert "3.33 min in bins, 1 gaps, the longest 100 s" in said(tile)
    legend, panel = unpacked(tile.drawing.packed)["panels"]
    assert sum(drawn_seconds(layer) for layer in panel["layers"]) == pytest.approx(N_BINS * BIN_S, rel=0.02)
    assert legend["layers"][0]["names"] == ["train", "validation", "test"]
    assert legend["layers"][0]["colours"] == [layer["colour"] for layer in panel["layers"]]


def drawn_seconds(layer: dict[str, Any]) -> float:
    """Width of all bars times the share of the row's height that they fill."""
    left, right, top, bottom = (layer["arrays"][each] for each in ("left", "right", "top", "bottom"))
    return float(((right - left) * (bottom - top) / 0.7).sum())


def test_splits_that_alternate_faster_than_can_be_drawn_are_shown_by_their_shares() -> None:
    n_bins = 30_000
    session = SimpleNamespace(
        start_ns=np.arange(n_bins, dtype=np.int64) * 50_000_000,
        split=np.tile(np.repeat([0, 0, 2], 5), n_bins // 15).astype(np.int8),
    )
    spans = list(_spans(session, 50_000_000))  # type: ignore[arg-type]  # all of a session that is read
    seconds = {code: sum((b - a) * (high - low) for a, b, each, low, high in spans if each == code) for code in (0, 2)}
    assert seconds[0] == pytest.approx(1000.0, rel=0.01)
    assert seconds[2] == pytest.approx(500.0, rel=0.01)


def test_trials_are_drawn_by_duration_event_and_condition(recorded: Run) -> None:
    tile = Trials().build(recorded)
    assert tile._picker.options == ["duration (s)", "go after start (s)", "maze (number)", "side"]
    assert "40 trials, 40 of them with bins" in said(tile)
    assert bars(tile, "trials")["top"].sum() == 40
    tile._picker.value = "maze (number)"
    assert bars(tile, "trials")["top"].tolist() == [14, 13, 13]
    assert "3 values, of 13 to 14 trials each" in said(tile)
    tile._picker.value = "side"
    assert tile.drawing.panels[0].x.ticks == ((0.0, "l"), (1.0, "r"))


def test_behaviour_states_kind_unit_range_and_what_is_missing(recorded: Run) -> None:
    text = Behaviour().build(recorded).panel.object
    heading = readings(recorded).covariate("heading").values[:, 0]
    row = next(part for part in text.split("<tr>") if "<td>heading</td>" in part)
    for words in ("circular, one turn is 6.28", "<td>rad</td>", f"<td>{np.nanmax(heading):.3g}</td>", "0.5 %"):
        assert words in row
    assert "<td>position, y</td>" in text
    assert "off " in next(part for part in text.split("<tr>") if "<td>light</td>" in part)
    bars = re.findall(r'height="(\d+)"/>', row)
    counts = np.histogram(heading[np.isfinite(heading)], bins=30)[0]
    assert [int(bar) for bar in bars] == np.ceil(30 * counts / counts.max()).astype(int).tolist()
    assert 'aria-label="heading: ' in row


def test_gaps_masked_units_and_warnings_are_listed_as_text(recorded: Run) -> None:
    text = RecordingWarnings().build(recorded).panel.object
    assert "1 gaps between bins, 100 s in all" in text
    assert "2 units not observed throughout; 1.33 % of entries are masked" in text
    assert "2 &lt;silent&gt; units" in text


def test_a_sound_recording_has_nothing_to_warn_of(written_run: Run) -> None:
    assert "nothing odd was found" in RecordingWarnings().build(written_run).panel.object


def test_continuous_activity_pretends_no_rates(tmp_path: Path) -> None:
    def as_traces(data: Binned) -> Binned:
        (session,) = data.sessions
        values = np.random.default_rng(0).normal(size=session.activity.shape).astype(np.float32)
        return replace(data, sessions=(replace(session, activity=values),), activity_kind="continuous")

    run = with_recording(tmp_path / "2026-03-01T10-22-05_traces_matryoshka-sae_7f3e", as_traces)
    assert "spikes/s" not in said(UnitRates().build(run))
    assert "Continuous activity from -" in said(CountHistogram().build(run))
    assert "of the entries are not zero" in said(ActivityExamples().build(run))
