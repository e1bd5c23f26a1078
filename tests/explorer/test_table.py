from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from nldisco_explorer.evidence import OFTEN
from nldisco_explorer.links import start_place
from nldisco_explorer.presets import PRESETS
from nldisco_explorer.ranking import ranked
from nldisco_explorer.readings import readings
from nldisco_explorer.scored import Scored
from nldisco_explorer.shell import Shell
from nldisco_explorer.table import RankedTable
from nldisco_explorer.views.card import LatentCard

from nldisco_core.files import write_table
from nldisco_core.mapping import MapperResult, mapping_table
from nldisco_core.runs import Run

# Panel sorts its table in a way that pandas 3.1 has deprecated; it is not ours to change.
pytestmark = pytest.mark.filterwarnings("ignore:The inplace keyword in DataFrame.drop is deprecated")


@pytest.fixture
def shell(written_run: Run) -> Shell:
    return Shell({written_run.name: written_run})


def table(shell: Shell, page: str = "latent") -> RankedTable:
    shell.live.turn_to(page)
    found = shell._pages[page]._table
    assert found is not None
    return found


def latents(ranked_table: RankedTable) -> list[int]:
    return [int(each) for each in ranked_table.table.current_view["latent"]]


def press(button: Any) -> None:
    button.clicks += 1


def test_link_with_a_pin_opens_its_own_latent_and_the_pin_is_one_press_away(written_run: Run) -> None:
    shell = Shell({written_run.name: written_run}, query="?latent=6&pinned=3")
    ranked_table = table(shell)
    assert shell.live.selection.latent == 6
    (button,) = ranked_table._pins
    assert (button.label, button.variant) == ("⚑ 3", "outlined")
    press(button)
    assert shell.live.selection.latent == 3
    assert button.variant == "contained"


def test_two_halves_of_a_latent_are_two_pins(written_run: Run) -> None:
    shell = Shell({written_run.name: written_run}, query="?model=pca&latent=0&sign=1")
    shell._done({"kind": "pin"})
    shell.live.select(sign=-1)
    shell._done({"kind": "pin"})
    assert shell.live.selection.pinned == ((0, 1), (0, -1))
    plus, minus = table(shell)._pins
    assert (plus.label, minus.label) == ("⚑ 0+", "⚑ 0−")
    press(plus)
    assert (shell.live.selection.latent, shell.live.selection.sign) == (0, 1)
    shell._done({"kind": "pin"})
    assert shell.live.selection.pinned == ((0, -1),)


def test_click_that_names_a_latent_of_a_signed_code_shows_the_half_that_ranks_first(written_run: Run) -> None:
    shell = Shell({written_run.name: written_run}, query="?model=pca&latent=0&sign=1&variable=heading")
    rows = ranked(readings(written_run), shell.live.selection)
    first = rows.drop_duplicates("latent").set_index("latent")["sign"]
    assert set(first) == {1, -1}
    for latent in (4, 9, 17, 30):
        shell.select(latent=latent)
        assert (shell.live.selection.latent, shell.live.selection.sign) == (latent, first[latent])
        shell.select(latent=latent, sign=-int(first[latent]))
        assert shell.live.selection.sign == -first[latent]


def test_half_is_dense_or_not_by_its_own_bins(written_run: Run) -> None:
    selection = replace(start_place(readings(written_run)).selection, model="pca", sign=1)
    code = written_run.part("pca").latents.main.dense(0)
    rows = ranked(readings(written_run), selection)
    for latent, sign, active, note in rows[["latent", "sign", "active", "note"]].itertuples(index=False):
        share = float((code[:, latent] * sign > 0).mean())
        assert active == pytest.approx(share)
        assert ("active in over half the time" in note) == (share > OFTEN)
        assert ("dead" in note) == (share == 0)
    assert 0 < rows["note"].str.contains("over half").sum() < len(rows)


def test_complaint_about_a_link_goes_with_the_next_selection(written_run: Run) -> None:
    shell = Shell({written_run.name: written_run}, query="?latent=abc")
    assert shell._notice.visible
    shell.live.select(latent=9)
    assert not shell._notice.visible
    shell._done({"kind": "visit", "search": f"?run={written_run.name}&latent=999"})
    assert shell._notice.visible
    assert "'999'" in shell._notice.object
    shell.live.turn_to("overview")
    assert not shell._notice.visible


def test_word_that_the_run_has_changed_stays(shell: Shell) -> None:
    shell._complain(["Reload the page."], "The run on disk has changed.")
    shell.live.select(latent=9)
    assert shell._notice.visible


def test_saved_table_is_in_the_order_on_screen_and_says_whose_it_is(shell: Shell, written_run: Run) -> None:
    shell.live.select(split="train")  # scored on test alone
    ranked_table = table(shell, "mappings")
    ranked_table.table.sorters = [{"field": "mutual_information", "dir": "asc"}]
    saved = pd.read_csv(ranked_table._csv())
    assert saved["latent"].tolist() == latents(ranked_table)
    assert saved["mutual_information"].is_monotonic_increasing
    of_row = {"run": written_run.name, "model": "model", "instance": 0, "variable": "heading", "split": "test"}
    for name, value in of_row.items():
        assert set(saved[name]) == {value}
    written = written_run.mapping("selectivity").table
    assert {"instance", "latent", "sign", "variable", "split", "q", "n_active", "mutual_information"} <= set(saved)
    assert set(saved) - set(written) == {"run", "model", "active", "note"}
    keys = ["instance", "latent", "sign", "variable", "split"]
    own = written[written["condition"].isna()].set_index(keys)["q"].astype(float)
    for row in saved.head(10).to_dict("records"):
        assert row["q"] == pytest.approx(own[tuple(row[key] for key in keys)])
    assert ranked_table._download.filename == f"{written_run.name}_heading_test.csv"


def test_file_of_a_value_is_named_after_it(shell: Shell, written_run: Run) -> None:
    ranked_table = table(shell)
    shell.live.select(condition="0 to 90°")
    assert ranked_table._download.filename == f"{written_run.name}_heading_0-to-90-_test.csv"
    saved = pd.read_csv(ranked_table._csv())
    assert set(saved["condition"]) == {"0 to 90°"}


def test_another_run_is_shown_on_the_page_in_view(written_run: Run, bare_run: Run) -> None:
    shell = Shell({run.name: run for run in (written_run, bare_run)}, query="?page=map&variable=light&split=train")
    shell._run_picker.value = bare_run.name
    place = shell.live.place
    assert (place.page, place.selection.run, place.selection.variable) == ("map", bare_run.name, "light")
    assert place.selection.split == "train"
    assert not shell._notice.visible
    shell._run_picker.value = written_run.name
    assert (shell.live.place.page, shell.live.selection.variable) == ("map", "light")


def test_search_turns_to_the_page_with_a_table(written_run: Run) -> None:
    shell = Shell({written_run.name: written_run}, query="?page=session")
    shell._done({"kind": "search"})
    assert shell.live.place.page == "mappings"


def test_wish_to_name_waits_for_the_tile_of_notes(written_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    shell = Shell({written_run.name: written_run}, query="?page=overview")
    page = shell._pages["latent"]
    monkeypatch.setattr(page, "_go_on", lambda: None)  # what is further down is not built yet
    page._loaded = False
    shell._done({"kind": "name"})
    notes = next(tile for tile in page.tiles if tile.name == "latent-notes")
    assert notes._live is None
    page._tiles.go_on(100)  # type: ignore[union-attr]  # built above
    live: Any = notes._live
    assert live.form is not None
    shell.live.select(latent=9)
    assert notes._told is None


def test_bins_of_the_variable_are_called_so(shell: Shell) -> None:
    titles = table(shell, "mappings").table.titles
    assert titles["n_active"] == "active bins of the variable"


def test_settings_of_the_table_are_in_the_link_and_on_every_page(shell: Shell, written_run: Run) -> None:
    ranked_table = table(shell)
    ranked_table._search.value_input = "4"
    ranked_table._supported.value = True
    ranked_table.table.sorters = [{"field": "latent", "dir": "desc"}]
    for part in ("table.search=4", "table.supported=1", "table.sort=-latent"):
        assert part in shell.link
    assert shell._browser.replaces
    other = Shell({written_run.name: written_run}, query=f"{shell.link}&page=mappings")
    mine = table(other, "mappings")
    assert latents(mine) == latents(ranked_table)
    assert (mine._search.value_input, mine._supported.value) == ("4", True)
    assert mine.table.sorters == [{"field": "latent", "dir": "desc"}]
    assert not other._notice.visible


def test_preset_is_a_filter_and_an_order_and_pressed_again_it_is_gone(shell: Shell, written_run: Run) -> None:
    ranked_table = table(shell, "mappings")
    before = latents(ranked_table)
    ranked_table.table.sorters = [{"field": "latent", "dir": "desc"}]
    press(ranked_table._presets["best held-out"])
    rows = written_run.mapping("selectivity").table
    rows = rows[(rows["instance"] == 0) & (rows["variable"] == "heading") & rows["condition"].isna()]
    rows = rows[rows["supported"].astype(bool) & (rows["q"] < 0.05)].sort_values("mutual_information", ascending=False)
    assert latents(ranked_table) == rows["latent"].tolist()
    assert f"{48 - len(rows)} hidden by the preset “best held-out”" in ranked_table._count.object
    assert "table.preset=best+held-out" in shell.link
    press(ranked_table._presets["best held-out"])
    assert latents(ranked_table) == before


def rows_of(**columns: Any) -> pd.DataFrame:
    n = len(next(iter(columns.values())))
    plain = {"latent": np.arange(n), "flags": [""] * n, "active": np.full(n, 0.1), "supported": [True] * n}
    return pd.DataFrame({**plain, **columns})


@pytest.mark.parametrize(
    ("name", "columns", "kept"),
    [
        ("most selective", {"mutual_information": [0.1, 0.4, np.nan, 0.3]}, [1, 3, 0]),
        ("most selective", {"youden": [0.1, 0.4, 0.2], "supported": [True, False, True]}, [2, 0]),
        ("beyond every control", {"score": [0.5, 0.305, 0.9, 0.2], "best_control_score": [0.3] * 4}, [2, 0]),
        ("no copy of a unit", {"score": [1, 2, 3], "copy": [0, 1, 0], "flags": ["dense", "dense, copy", ""]}, [2, 0]),
        ("unstable", {"stability": [0.9, 0.3, np.nan, -0.2]}, [3, 1]),
        ("named", {"name": ["", "left turn", ""]}, [1]),
    ],
)
def test_preset_keeps_what_it_says(name: str, columns: dict[str, Any], kept: list[int]) -> None:
    rows = rows_of(**columns)
    assert PRESETS[name].fits(rows)
    assert PRESETS[name].of(rows)["latent"].tolist() == kept


def test_preset_without_its_columns_is_not_offered(shell: Shell) -> None:
    shown = set(table(shell, "mappings")._presets)
    assert shown == {"most selective", "best held-out"}


def test_table_beside_plots_shows_a_preset_that_was_taken_and_no_other(shell: Shell) -> None:
    press(table(shell, "mappings")._presets["best held-out"])
    shown = list(table(shell)._presets)
    assert shown == ["best held-out"]


def test_mapped_variables_come_first_under_their_own_heading(shell: Shell) -> None:
    groups = table(shell)._pickers["variable"].groups
    assert groups == {"mapped by selectivity": ["heading", "light", "speed"], "not mapped": ["position"]}


def of_ps(*ps: float) -> Scored:
    n = len(ps)
    columns = {"instance": [0] * n, "latent": range(n), "sign": [0] * n, "variable": ["x"] * n, "split": ["test"] * n}
    return Scored(MapperResult(table=mapping_table({**columns, "p": ps})))


def test_least_p_is_read_from_the_table_and_where_it_cannot_be_it_is_not() -> None:
    rng = np.random.default_rng(0)
    for n in (19, 99, 1000):
        ps = (1 + np.append(rng.integers(0, n, 200), 0)) / (n + 1)
        assert of_ps(*ps).least_p == (pytest.approx(1 / (n + 1)), n)
    assert of_ps(3 / 1001, 5 / 1001, 0.5).least_p is None
    assert of_ps(np.nan).least_p is None


def test_smallest_q_there_can_be_is_said_once_above_the_table(shell: Shell, written_run: Run) -> None:
    rows = written_run.mapping("selectivity").table
    mine = rows[(rows["instance"] == 0) & (rows["variable"] == "heading") & rows["condition"].isna()]
    said = f"{(mine['q'] == 0.004).sum()} have q ≤ 0.004, the least that 499 relabellings can give."
    for page in ("latent", "mappings"):
        ranked_table = table(shell, page)
        assert said in ranked_table._count.object
        assert ranked_table.table.header_tooltips == {"q": said}


def test_table_of_a_value_says_why_it_has_no_q(shell: Shell) -> None:
    ranked_table = table(shell)
    shell.live.select(condition="0 to 90°")
    assert "No q: selectivity tests whole variables, not single values." in ranked_table._count.object


def card(run: Run, **fields: Any) -> str:
    tile: Any = LatentCard().build(run)
    tile.show(replace(start_place(readings(run)).selection, **fields))
    return str(tile.panel.object)


def test_card_gives_the_values_own_scores_and_says_whose_the_others_are(written_run: Run) -> None:
    rows = written_run.mapping("selectivity").table
    own = rows[(rows["instance"] == 0) & (rows["latent"] == 7) & (rows["condition"].fillna("") == "0 to 90°")].iloc[0]
    said = card(written_run, latent=7, condition="0 to 90°")
    scores = f"coverage {own['coverage']:.2f}, specificity {own['specificity']:.2f}, AUROC {own['auroc']:.2f}"
    assert f"<dt>0 to 90° alone</dt><dd>{scores}, not tested by value (test)</dd>" in said
    assert "<dt>Tuned to heading, all values</dt>" in said
    whole = card(written_run, latent=7)
    assert "alone" not in whole
    assert "all values" not in whole


@pytest.fixture
def matched_run(written_run: Run, tmp_path: Path) -> Callable[..., Run]:
    def make(**nulls: float) -> Run:
        folder = tmp_path / f"{written_run.name}{len(nulls)}"
        shutil.copytree(written_run.folder, folder)
        (folder / "tables").mkdir()
        found = {"decoder_similarity": 0.99, "decoder_consensus": True, "activation_similarity": 0.4}
        write_table(folder / "tables" / "stability.parquet", pd.DataFrame([{"model": "model", **KEY, **found}]))
        if nulls:
            write_table(folder / "tables" / "seed_match.parquet", pd.DataFrame([{"model": "model", **nulls}]))
        return Run(folder)

    return make


KEY = {"instance": 0, "latent": 7}


def test_agreement_of_instances_stands_beside_its_nulls(matched_run: Callable[..., Run]) -> None:
    run = matched_run(null_gaussian=0.22, null_permuted=0.23, activation_null_shifted=0.03, median=0.9)
    said = card(run, latent=7)
    assert "decoder cosine 0.99 (median by chance: gaussian 0.22, permuted 0.23)" in said
    assert "activation r 0.4 (median by chance: shifted 0.03); consensus" in said


def test_agreement_without_a_null_says_so(matched_run: Callable[..., Run]) -> None:
    assert "decoder cosine 0.99 (no null kept)" in card(matched_run(), latent=7)


def test_click_in_a_preset_is_the_row_clicked(shell: Shell) -> None:
    press(table(shell, "mappings")._presets["most selective"])
    ranked_table = table(shell)
    for position in (0, 5):
        ranked_table._clicked(SimpleNamespace(row=position))
        assert shell.live.selection.latent == ranked_table.table.value["latent"].iloc[position]
