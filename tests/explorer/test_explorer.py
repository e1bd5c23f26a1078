from __future__ import annotations

import logging
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pandas as pd
import pytest
from nldisco_explorer import app
from nldisco_explorer.drawing.tile import CanvasTile
from nldisco_explorer.host import Tile, offered
from nldisco_explorer.links import start_place
from nldisco_explorer.readings import readings
from nldisco_explorer.server import ServeError, open_server
from nldisco_explorer.shell import Shell
from nldisco_explorer.views.verdict import Verdict

from nldisco_core import plugins
from nldisco_core.conformance import check_view
from nldisco_core.hookspecs import hookimpl
from nldisco_core.ledger import standing
from nldisco_core.plugins import registry
from nldisco_core.providers import Provider
from nldisco_core.runs import Run

OWN_VIEWS = [listed.name for listed in registry().providers("view") if listed.plugin.name == "explorer"]
plugins.use(None)
# Bokeh 3.9 calls pandas in a way that pandas 3.1 has deprecated; it is not ours to change.


class Failing:
    title: ClassVar[str] = "Failing"
    page: ClassVar[str] = "latent"
    needs: ClassVar[frozenset[str]] = frozenset()

    def build(self, run: Run) -> Any:
        return SimpleNamespace(panel="drawn", show=self.show)

    def show(self, selection: Any) -> None:
        if selection.latent == 3:
            raise SystemExit("stop")


class Exploding(Failing):
    def build(self, run: Run) -> Any:
        raise RuntimeError("<b>broken</b>")


class Wanting(Failing):
    needs: ClassVar[frozenset[str]] = frozenset({"trials", "unicorns"})


@pytest.fixture
def failing_views(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    class Plugin:
        @hookimpl
        def nldisco_views(self) -> Iterator[Provider]:
            for name in ("Failing", "Exploding", "Wanting"):
                yield Provider(name=name.lower(), target=f"failing_views:{name}", summary="A view of this test.")
            yield Provider(name="unimportable", target="no_such_module:View", summary="Cannot be imported.")

    views = SimpleNamespace(Failing=Failing, Exploding=Exploding, Wanting=Wanting)
    monkeypatch.setitem(sys.modules, "failing_views", views)
    registry().add("failing", Plugin(), distribution="test", version="")
    yield
    plugins.use(None)


def every_tile(run: Run) -> list[Tile]:
    shell = Shell({run.name: run})
    return [Tile(view, run, shell) for view in offered()]


@pytest.fixture
def tiles(failing_views: None, written_run: Run) -> dict[str, Tile]:
    made = {str(tile.panel.name): tile for tile in every_tile(written_run)}
    for tile in made.values():
        tile.show(start_place(readings(written_run)).selection)
    return made


@pytest.mark.parametrize("name", OWN_VIEWS)
def test_own_view_passes_the_conformance_kit(name: str, written_run: Run, bare_run: Run) -> None:
    results = check_view(registry().listed("view", name).make, run=written_run, bare_run=bare_run)
    assert [str(result) for result in results if not result.passed] == []


def test_broken_view_is_a_card_and_own_views_are_shown(tiles: dict[str, Tile]) -> None:
    assert tiles["exploding"].state == "failed"
    card = tiles["exploding"].panel[1][0].object
    assert "RuntimeError: &lt;b&gt;broken&lt;/b&gt;" in card
    assert "no_such_module cannot be imported" in tiles["unimportable"].reason
    assert {name: tiles[name].reason for name in OWN_VIEWS if tiles[name].state == "failed"} == {}
    assert sum(tiles[name].state == "shown" for name in OWN_VIEWS) > 15


def test_absent_tile_says_why(tiles: dict[str, Tile]) -> None:
    assert tiles["wanting"].state == "absent"
    assert tiles["wanting"].reason == "this run was binned without a table of trials; no run offers 'unicorns'"


def test_view_that_failed_once_comes_back(tiles: dict[str, Tile], written_run: Run) -> None:
    selection = start_place(readings(written_run)).selection
    states = []
    for latent in (1, 3, 2):
        tiles["failing"].show(type(selection)(run=selection.run, latent=latent))
        states.append(tiles["failing"].state)
    assert states == ["shown", "failed", "shown"]


def test_hidden_pages_compute_nothing(written_run: Run) -> None:
    shell = Shell({written_run.name: written_run})
    built = {name: page._tiles is not None for name, page in shell._pages.items()}
    assert [name for name, there in built.items() if there] == ["latent"]
    shell.live.turn_to("overview")
    before = shell._pages["latent"]._tiles._drawn  # type: ignore[union-attr]  # built above
    shell.live.select(latent=8)
    assert shell._pages["latent"]._tiles._drawn == before  # type: ignore[union-attr]  # built above
    shell.live.turn_to("latent")
    assert shell._pages["latent"]._tiles._drawn.latent == 8  # type: ignore[union-attr]  # built above


def test_moving_the_window_redraws_only_tiles_that_draw_it(written_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    shell = Shell({written_run.name: written_run})
    drawn = list[str]()

    def watch(tile: Tile) -> None:
        live: Any = tile._live
        show = live.show
        monkeypatch.setattr(live, "show", lambda selection: (drawn.append(tile.name), show(selection)))

    for tile in shell._pages["latent"].tiles:
        if isinstance(tile._live, CanvasTile):
            watch(tile)
    shell.live.select(window_s=(3.0, 9.0))
    assert drawn == ["activation-trace"]
    shell.live.select(latent=8)
    assert len(set(drawn)) > 5


def test_what_is_asked_for_before_the_browser_is_ready_waits_for_it(written_run: Run) -> None:
    shell = Shell({written_run.name: written_run})
    card: Any = shell._pages["latent"].tiles[0]._live
    shell._loaded = False  # as on a server until the page says that it stands
    shell.live.select(latent=8)
    assert "Latent 8" not in card.panel.object
    shell._begin()
    assert "Latent 8" in card.panel.object


def test_overview_opens_with_the_standing_of_the_test_split(written_run: Run) -> None:
    assert standing(written_run) in Verdict().build(written_run).panel.object


def test_closed_pages_make_no_noise_and_other_warnings_do(written_run: Run, caplog: pytest.LogCaptureFixture) -> None:
    open_server([written_run], port=0)
    log = logging.getLogger("bokeh.server.views.ws")
    log.warning("Failed sending message as connection was closed")
    log.warning("something else")
    assert [record.getMessage() for record in caplog.records if record.name == log.name] == ["something else"]


def test_sessions_share_no_selection(written_run: Run) -> None:
    session = app(written_run)
    one, other = (Shell({written_run.name: written_run}) for _ in range(2))
    one.live.select(latent=11)
    assert other.live.selection.latent != 11
    assert session() is not session()


def test_click_selects_by_key_and_not_by_position(written_run: Run) -> None:
    shell = Shell({written_run.name: written_run})
    ranked_table = shell._pages["latent"]._table
    assert ranked_table is not None
    frame = ranked_table.table.value
    for position in (0, 7, len(frame) - 1):
        ranked_table._clicked(SimpleNamespace(row=position))
        assert shell.live.selection.latent == frame["latent"].iloc[position]
    shuffled = frame.sample(frac=1, random_state=0)
    ranked_table.table.value = shuffled
    ranked_table._clicked(SimpleNamespace(row=5))
    assert shell.live.selection.latent == shuffled["latent"].iloc[5]


def test_choosing_a_signed_control_selects_one_of_its_halves(written_run: Run) -> None:
    shell = Shell({written_run.name: written_run})
    ranked_table = shell._pages["latent"]._table
    assert ranked_table is not None
    ranked_table._pickers["model"].value = "pca"
    assert shell.live.selection.model == "pca"
    assert shell.live.selection.sign in (1, -1)
    ranked_table._pickers["model"].value = "model"
    assert shell.live.selection.sign == 0


def test_csv_holds_what_is_shown(written_run: Run) -> None:
    shell = Shell({written_run.name: written_run})
    ranked_table = shell._pages["latent"]._table
    assert ranked_table is not None
    ranked_table._supported.value = True
    saved = pd.read_csv(ranked_table._csv())
    assert saved["latent"].tolist() == ranked_table.table.value["latent"].tolist()
    assert 0 < len(saved) < 48
    assert f"{len(saved)} of 48 latents" in ranked_table._count.object


def test_another_run_is_opened_with_its_own_start(written_run: Run, bare_run: Run) -> None:
    shell = Shell({run.name: run for run in (written_run, bare_run)})
    shell._run_picker.value = bare_run.name
    assert shell.live.selection.run == bare_run.name
    assert shell.live.selection.mapper is None


def test_bad_link_is_complained_of(written_run: Run) -> None:
    shell = Shell({written_run.name: written_run}, query="?run=nothing&latent=x")
    assert shell._notice.visible
    assert "'nothing'" in shell._notice.object
    assert "'x'" in shell._notice.object


def test_app_gives_something_panel_draws(written_run: Run) -> None:
    assert app(written_run)().get_root() is not None


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "192.168.1.4", "example.org"])
def test_public_bind_is_refused(written_run: Run, address: str) -> None:
    with pytest.raises(ServeError, match="other machines"):
        open_server([written_run], address=address, port=0)


def test_serving_nothing_is_refused() -> None:
    with pytest.raises(ServeError, match="at least one"):
        open_server([], port=0)


def test_port_in_use_is_one_line_and_exit_1(written_run: Run, nldisco: Callable[..., Any]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        outcome = nldisco("serve", written_run.folder, "--no-browser", "--port", taken.getsockname()[1])
    assert outcome.code == 1
    assert "choose another with --port" in outcome.err
    assert len(outcome.err.strip().splitlines()) == 1


def test_unknown_run_is_one_line_and_exit_1(tmp_path: Path, nldisco: Callable[..., Any]) -> None:
    outcome = nldisco("serve", "nothing", "--runs-dir", tmp_path)
    assert outcome.code == 1
    assert "unknown run 'nothing'" in outcome.err


def test_plugin_module_is_light() -> None:
    code = (
        "import sys, nldisco_explorer, nldisco_explorer.plugin; "
        "print([name for name in ('numpy', 'pandas', 'panel', 'bokeh') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_two_runs_of_one_name_are_refused_and_one_given_twice_is_one(written_run: Run, tmp_path: Path) -> None:
    copy = tmp_path / written_run.name
    copy.mkdir()
    (copy / "run.json").write_bytes((written_run.folder / "run.json").read_bytes())
    with pytest.raises(ServeError, match="two runs are named"):
        app([written_run, Run(copy)])
    assert app([written_run, Run(written_run.folder)]) is not None


def test_view_that_asks_for_what_is_not_there_is_told_and_nothing_moves(written_run: Run) -> None:
    shell = Shell({written_run.name: written_run})
    shell.select(latent=7, page="map")
    assert (shell.live.selection.latent, shell.live.place.page) == (7, "map")
    assert not shell._notice.visible
    shell.select(latent=4000)
    assert shell._notice.visible
    assert "0 to 47" in shell._notice.object
    assert (shell.live.selection.latent, shell.live.place.page) == (7, "map")
    shell.select(lasso=(3, 8, 40))
    assert not shell._notice.visible
    assert shell.live.selection.lasso == (3, 8, 40)


def test_lasso_fills_the_table_and_a_click_in_it_is_that_latent(written_run: Run) -> None:
    shell = Shell({written_run.name: written_run})
    shell.select(lasso=(3, 8, 40))
    ranked_table = shell._pages["latent"]._table
    assert ranked_table is not None
    assert sorted(ranked_table.table.value["latent"]) == [3, 8, 40]
    assert "3 of 48 latents" in ranked_table._count.object
    for position in range(3):
        ranked_table._clicked(SimpleNamespace(row=position))
        assert shell.live.selection.latent == ranked_table.table.value["latent"].iloc[position]
    ranked_table._all.clicks += 1
    assert len(ranked_table.table.value) == 48


def test_search_finds_by_number_and_by_note(written_run: Run) -> None:
    shell = Shell({written_run.name: written_run})
    ranked_table = shell._pages["latent"]._table
    assert ranked_table is not None
    ranked_table._search.value_input = "47"
    assert ranked_table.table.value["latent"].tolist() == [47]
    ranked_table._search.value_input = "dense"
    assert ranked_table.table.value["latent"].tolist() == [46]
    ranked_table._search.value_input = ""
    assert len(ranked_table.table.value) == 48


def test_keys_move_pin_and_say_where_they_cannot(written_run: Run) -> None:
    shell = Shell({written_run.name: written_run})
    ranked_table = shell._pages["latent"]._table
    assert ranked_table is not None
    order = ranked_table.table.value["latent"].tolist()
    for by, expected in ((1, order[1]), (3, order[4]), (-99, order[0])):
        shell._done({"kind": "step", "by": by})
        assert shell.live.selection.latent == expected
    assert shell._browser.handled == 3
    assert shell._browser.replaces
    shell._done({"kind": "latent", "number": "12"})
    assert shell.live.selection.latent == 12
    assert not shell._browser.replaces
    shell._done({"kind": "pin"})
    assert shell.live.selection.pinned == ((12, 0),)
    shell._done({"kind": "latent", "number": "twelve"})
    assert "'twelve'" in shell._notice.object
    assert shell.live.selection.latent == 12
    shell._done({"kind": "pin"})
    assert shell.live.selection.pinned == ()
    shell._done({"kind": "visit", "search": f"?run={written_run.name}&latent=5&page=overview"})
    assert (shell.live.selection.latent, shell.live.place.page) == (5, "overview")


def test_signed_codes_are_stepped_half_by_half(written_run: Run) -> None:
    shell = Shell({written_run.name: written_run}, query="?model=pca&latent=0&sign=1")
    seen = {(shell.live.selection.latent, shell.live.selection.sign)}
    shell._done({"kind": "step", "by": -999})
    for _ in range(95):
        shell._done({"kind": "step", "by": 1})
        seen.add((shell.live.selection.latent, shell.live.selection.sign))
    assert len(seen) >= 95
