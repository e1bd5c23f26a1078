from __future__ import annotations

from typing import Any

import pytest
from nldisco_explorer.shell import Shell

from nldisco_core.runs import Run
from nldisco_core.selection import Selection


@pytest.mark.parametrize(
    ("page", "tile", "setting", "field", "value", "said"),
    [
        ("map", "latent-map", "colour", "_colour", "density", "density"),
        ("map", "latent-map", "layout", "_method", "t-SNE", "t-SNE"),
        ("session", "session-timeline", "behaviour", "_variables", ["speed", "hand"], "speed,hand"),
        ("latent", "state-space", "colour", "_colour", "time", "time"),
        ("latent", "state-space", "flow", "_second", 2, "2"),
    ],
)
def test_what_is_set_on_a_tile_is_in_the_link_and_comes_back(
    reach_run: Run, page: str, tile: str, setting: str, field: str, value: Any, said: str
) -> None:
    query = f"?page={page}&model=pca&latent=0&sign=1&variable=target"
    one = Shell({reach_run.name: reach_run}, query=query)
    getattr(live(one, page, tile), field).value = value
    assert one.live.selection.setting(f"{tile}.{setting}") == said
    assert one._browser.replaces
    other = Shell({reach_run.name: reach_run}, query=one.link)
    assert getattr(live(other, page, tile), field).value == value
    assert other.live.place == one.live.place
    assert not other._notice.visible


def live(shell: Shell, page: str, name: str) -> Any:
    shell.live.turn_to(page)
    return next(tile for tile in shell._pages[page].tiles if tile.name == name)._live


@pytest.mark.parametrize(
    ("page", "setting", "word"),
    [
        ("map", "latent-map.colour=densiti", "did you mean 'density'"),
        ("map", "latent-map.layout=MDS", "'MDS'"),
        ("session", "session-timeline.behaviour=speed,sped", "did you mean 'speed'"),
        ("latent", "state-space.flow=999", "'999'"),
    ],
)
def test_setting_that_a_tile_has_not_is_said_below_its_drawing(
    reach_run: Run, page: str, setting: str, word: str
) -> None:
    shell = Shell(
        {reach_run.name: reach_run}, query=f"?page={page}&model=pca&latent=0&sign=1&variable=target&{setting}"
    )
    assert word in live(shell, page, setting.partition(".")[0]).drawing.summary


def test_settings_of_other_tiles_redraw_nothing(reach_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    shell = Shell({reach_run.name: reach_run}, query="?page=latent&latent=3")
    drawn = list[str]()

    def watch(tile: Any) -> None:
        show = tile._live.show
        monkeypatch.setattr(tile._live, "show", lambda selection: (drawn.append(tile.name), show(selection)))

    for tile in shell._pages["latent"].tiles:
        if tile._live is not None:
            watch(tile)
    selection = shell.live.selection
    shell.select(view=selection.set_to({"table.search": "4", "latent-map.colour": "density"}).view)
    assert drawn == []
    shell.select(view=selection.set_to({"state-space.colour": "time"}).view)
    assert drawn == ["state-space"]


def test_settings_are_in_order_of_their_names_whatever_order_they_were_set_in() -> None:
    one = Selection(run="r").set_to({"b.x": "1"}).set_to({"a.y": "2", "b.x": "3"})
    assert one.view == (("a.y", "2"), ("b.x", "3"))
    assert one.set_to({"a.y": None, "b.x": None}) == Selection(run="r")
