from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nldisco_explorer.drawing.payload import unpacked
from nldisco_explorer.pairing import N_DRAWS, pairing
from nldisco_explorer.readings import Readings, readings
from nldisco_explorer.sides import Side, shared_bins
from nldisco_explorer.views.compare import Matches

from nldisco_core.binned import Binned
from nldisco_core.errors import DataError
from nldisco_core.runs import Run
from nldisco_core.selection import Selection

# Bokeh 3.9 calls pandas in a way that pandas 3.1 has deprecated; it is not ours to change.


class Host:
    """An explorer over some runs that shows a view whatever it asks for."""

    def __init__(self, tile: Any, selection: Selection, *runs: Run) -> None:
        self.runs = {run.name: run for run in runs}
        self.tile, self.selection = tile, selection
        tile.join(self)
        tile.show(selection)

    def select(self, **changes: Any) -> None:
        self.selection = replace(self.selection, **changes)
        self.tile.show(self.selection)


@pytest.fixture
def changed(reach_run_again: Run, monkeypatch: pytest.MonkeyPatch) -> Callable[[Binned], Readings]:
    """The other run with other data."""

    def change(data: Binned) -> Readings:
        other = Readings(Run(Path(reach_run_again.folder)))
        monkeypatch.setattr(
            Run, "counts", property(lambda run: data if run is other.run else Run.__dict__["_own"](run))
        )
        return other

    own = Run.__dict__["counts"].func
    monkeypatch.setattr(Run, "_own", staticmethod(own), raising=False)
    return change


def test_latents_of_two_seeds_find_their_twins(reach_run: Run, reach_run_again: Run) -> None:
    found = pairing(Side(readings(reach_run), "model", 0), Side(readings(reach_run_again), "model", 0))
    assert found.measure == "r"
    assert len(found.table) == 31  # the last latent is dead in both
    twins = found.table[~found.table["latent"].isin([0, 16])]  # the child's bins are drawn from its parent's
    assert (twins["latent"] == twins["partner"]).all()
    codes = [run.latents.main.csc(0).toarray() for run in (reach_run, reach_run_again)]
    for latent, similarity in twins[["latent", "similarity"]].itertuples(index=False):
        assert similarity == pytest.approx(np.corrcoef(codes[0][:, latent], codes[1][:, latent])[0, 1])
    assert len(found.most_by_chance) == N_DRAWS
    assert twins["similarity"].min() > found.most_by_chance.max()
    np.testing.assert_allclose(twins["p"], 1 / (N_DRAWS + 1))
    assert found.table["null"].abs().max() < 0.2
    assert found.table["similarity"].is_monotonic_decreasing


def test_signed_control_is_matched_by_size_on_its_own_bins(reach_run: Run) -> None:
    reads = readings(reach_run)
    found = pairing(Side(reads, "model", 0), Side(reads, "pca", 0))
    assert found.measure == "|r|"
    assert len(found.table) == 4
    codes = reach_run.latents.main.csc(0).toarray(), reach_run.part("pca").latents.main.dense(0)
    for latent, partner, similarity in found.table[["latent", "partner", "similarity"]].itertuples(index=False):
        expected = abs(np.corrcoef(codes[0][:, latent], codes[1][:, partner])[0, 1])
        assert similarity == pytest.approx(expected, abs=1e-6)


def test_bins_are_shared_by_session_and_start(reach_run: Run, changed: Any) -> None:
    data = reach_run.counts
    second = replace(data.sessions[1].rows(np.arange(100, 900)), session_id="reach-2")
    other = changed(replace(data, sessions=(second,)))
    rows, partner_rows = shared_bins(readings(reach_run), other)
    assert rows.tolist() == list(range(data.row_offsets[1] + 100, data.row_offsets[1] + 900))
    assert partner_rows.tolist() == list(range(800))


def test_other_bin_width_and_other_sessions_are_reasons(reach_run: Run, changed: Any) -> None:
    data = reach_run.counts
    with pytest.raises(DataError, match=r"0\.02 s in one and 0\.05 s in the other"):
        shared_bins(readings(reach_run), changed(replace(data, bin_s=0.05)))
    renamed = tuple(replace(session, session_id=f"other-{i}") for i, session in enumerate(data.sessions))
    with pytest.raises(DataError, match="no session in common"):
        shared_bins(readings(reach_run), changed(replace(data, sessions=renamed)))


def test_runs_of_other_bins_are_matched_on_weights_to_shared_units(reach_run: Run, changed: Any) -> None:
    data = reach_run.counts
    other = changed(replace(data, bin_s=0.05))
    found = pairing(Side(readings(reach_run), "model", 0), Side(other, "model", 0))
    assert found.measure == "cosine"
    assert len(found.rows) == 0
    assert "0.05 s in the other" in found.note
    assert ((found.table["latent"] % 8) == (found.table["partner"] % 8)).all()
    assert reach_run.dictionary is not None
    assert other.run.dictionary is not None
    a, b = reach_run.dictionary.values[0], other.run.dictionary.values[0]
    latent, partner, similarity = found.table.iloc[0][["latent", "partner", "similarity"]]
    expected = a[int(latent)] @ b[int(partner)] / np.linalg.norm(a[int(latent)]) / np.linalg.norm(b[int(partner)])
    assert similarity == pytest.approx(float(expected), rel=1e-5)


def test_smaller_side_has_a_null_for_each_of_its_pairs(reach_run: Run) -> None:
    found = pairing(Side(readings(reach_run), "pca", 0), Side(readings(reach_run), "model", 0))
    assert len(found.table) == 4
    assert found.table["null"].notna().all()
    assert found.table["null"].is_monotonic_decreasing
    assert found.table["null"].max() <= found.most_by_chance.max()


def test_runs_that_share_nothing_say_why(reach_run: Run, written_run: Run) -> None:
    tile: Any = Matches().build(reach_run)
    selection = Selection(run=reach_run.name, model="pca", latent=3, sign=1, against=written_run.name)
    Host(tile, selection, reach_run, written_run)
    assert tile.drawing.panels == ()
    assert "cannot be compared: bins are 0.02 s in one and 0.05 s in the other" in tile.drawing.summary
    assert "no decoder weights" in tile.drawing.summary
    assert not tile.table.visible


def test_run_with_nothing_beside_it_says_so(reach_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    tile: Any = Matches().build(reach_run)
    monkeypatch.setitem(vars(readings(reach_run)), "models", ("model",))
    tile.show(Selection(run=reach_run.name, latent=3))
    assert "Nothing to compare with" in tile.drawing.summary


def test_pair_is_drawn_on_the_same_bins(reach_run: Run, reach_run_again: Run) -> None:
    tile: Any = Matches().build(reach_run)
    selection = Selection(run=reach_run.name, latent=3, variable="target", against=reach_run_again.name)
    host = Host(tile, selection, reach_run, reach_run_again)
    found = {panel["id"]: panel for panel in unpacked(tile.drawing.packed)["panels"]}
    assert found["latent 3"]["x"] == found["partner 3"]["x"] | {"label": "", "shown": False}
    code = reach_run_again.latents.main.csc(0)[:, [3]].toarray()[:, 0]
    tile.done({"kind": "range", "link": "time", "low": 10.0, "high": 16.0})
    found = {panel["id"]: panel for panel in unpacked(tile.drawing.packed)["panels"]}
    line = found["partner 3"]["layers"][2]["arrays"]
    start = reach_run.counts.start_s
    session = reach_run.counts.session_of_bin
    shown = [np.flatnonzero(session == index) for index in (0, 1)]
    expected = [code[mine[np.searchsorted(start[mine], line["x"] - 1e-3)]] for mine in shown]
    differ = [float(np.abs(line["y"] - each).max()) for each in expected]
    assert min(differ) < 1e-5 < max(differ)
    assert host.selection.latent == 3


def test_table_row_and_dot_select_the_latent_of_the_pair(reach_run: Run, reach_run_again: Run) -> None:
    tile: Any = Matches().build(reach_run)
    selection = Selection(run=reach_run.name, latent=3, against=reach_run_again.name)
    host = Host(tile, selection, reach_run, reach_run_again)
    assert tile.table.value["latent"].iloc[tile.table.selection[0]] == 3
    tile.done({"kind": "click", "panel": "pairs", "item": 8, "x": 0, "y": 0})
    assert host.selection.latent == 8
    assert tile.table.value["latent"].iloc[tile.table.selection[0]] == 8


def test_choosing_another_run_changes_the_selection(reach_run: Run, reach_run_again: Run) -> None:
    tile: Any = Matches().build(reach_run)
    host = Host(tile, Selection(run=reach_run.name, latent=3), reach_run, reach_run_again)
    assert list(tile._pickers["model"].options) == ["pca (control)"]
    tile._pickers["run"].value = reach_run_again.name
    assert host.selection.against == f"{reach_run_again.name}/model/0"
    tile._pickers["model"].value = "pca"
    assert host.selection.against == f"{reach_run_again.name}/pca/0"
    assert "|r|" in tile.drawing.summary
    tile._pickers["run"].value = reach_run.name
    assert host.selection.against == f"{reach_run.name}/pca/0"
    assert "4 of 32 latents" in tile.drawing.summary


@pytest.mark.parametrize("variable", ["hand", "speed", "direction", "target", "no such variable"])
def test_pair_of_every_kind_of_variable_can_be_drawn(reach_run: Run, reach_run_again: Run, variable: str) -> None:
    tile: Any = Matches().build(reach_run)
    selection = Selection(run=reach_run.name, latent=3, variable=variable, against=reach_run_again.name)
    Host(tile, selection, reach_run, reach_run_again)
    found = [panel for panel in unpacked(tile.drawing.packed)["panels"] if panel["id"] == "tuning"]
    assert len(found) == 1
    kind, array = {"hand": ("image", "image"), "direction": ("line", "mean"), "target": ("bars", "top")}.get(
        variable, ("image", "image") if variable == "no such variable" else ("points", "y")
    )
    assert sum(layer["kind"] == kind and array in layer["arrays"] for layer in found[0]["layers"]) == 2


def test_curves_of_a_pair_are_means_of_a_loop(reach_run: Run, reach_run_again: Run) -> None:
    tile: Any = Matches().build(reach_run)
    selection = Selection(run=reach_run.name, latent=3, variable="target", split="test", against=reach_run_again.name)
    Host(tile, selection, reach_run, reach_run_again)
    panel = next(each for each in unpacked(tile.drawing.packed)["panels"] if each["id"] == "tuning")
    bars = [layer["arrays"]["top"] for layer in panel["layers"] if layer["kind"] == "bars"]
    target, test = reach_run.counts.covariate("target").values[:, 0], reach_run.counts.split == 2
    for drawn, run in zip(bars, (reach_run, reach_run_again), strict=True):
        code = run.latents.main.csc(0)[:, [3]].toarray()[:, 0]
        expected = np.array([code[test & (target == value)].mean() for value in range(8)])
        np.testing.assert_allclose(drawn, expected / expected.max(), rtol=1e-5)
