from __future__ import annotations

from dataclasses import replace

import pytest
from nldisco_explorer.links import place_of, query_of, start_place
from nldisco_explorer.live import LiveSelection, Place
from nldisco_explorer.readings import Readings, readings

from nldisco_core.runs import Run


@pytest.fixture
def reads(written_run: Run) -> Readings:
    return readings(written_run)


def test_start_is_the_first_row_of_the_ranking(reads: Readings) -> None:
    place = start_place(reads)
    table = reads.mapping("model", "selectivity").table
    rows = table[
        (table["instance"] == 0) & (table["variable"] == "heading") & table["condition"].isna() & table["supported"]
    ]
    best = rows.sort_values(["q", "mutual_information"], ascending=[True, False]).iloc[0]
    assert place.selection.latent == best["latent"]
    selection = place.selection
    assert (selection.variable, selection.split, selection.mapper) == ("heading", "test", "selectivity")


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"latent": 0, "instance": 1, "split": "all"},
        {"model": "pca", "latent": 47, "sign": -1, "variable": "light"},
        {"model": "random-encoder", "latent": 3, "variable": "position", "split": "validation"},
        {"pinned": (9, 3, 4, 5, 47), "lasso": (1, 2, 3, 30), "window_s": (-1.5, 12.25), "by": "light"},
        {"against": "model:pca"},
        {"against": "instance:1"},
    ],
)
def test_link_and_place_are_inverse(reads: Readings, changes: dict[str, object]) -> None:
    start = start_place(reads)
    place = replace(start, page="mappings", selection=replace(start.selection, **changes))
    assert place_of(query_of(place), reads) == (place, [])


def test_condition_survives_a_link(reads: Readings) -> None:
    place = start_place(reads)
    place = replace(place, selection=replace(place.selection, condition="0 to 90°"))
    assert place_of(query_of(place), reads) == (place, [])


@pytest.mark.parametrize(
    ("query", "word"),
    [
        ("latent=abc", "'abc'"),
        ("latent=48", "0 to 47"),
        ("latent=-1", "'-1'"),
        ("latent=", "''"),
        ("latent=²", "'²'"),
        ("instance=7", "0 to 1"),
        ("variable=headng", "did you mean 'heading'"),
        ("page=later", "overview"),
        ("model=pac", "did you mean 'pca'"),
        ("split=tset", "did you mean 'test'"),
        ("mapper=x", "selectivity"),
        ("condition=0+to+91°", "did you mean '0 to 90°'"),
        ("sign=-1", "nonnegative"),
        ("pinned=3,48", "0 to 47"),
        ("lasso=9-3", "'9-3'"),
        ("lasso=0-99999999999", "0 to 47"),
        ("window=5,2", "two times"),
        ("window=0,inf", "two times"),
        ("align=go_cue", "'go_cue'"),
        ("by=speed", "Known: light"),
        ("against=other", "'other'"),
        ("latnet=3", "did you mean 'latent'"),
    ],
)
def test_bad_value_is_named_and_leaves_its_default(reads: Readings, query: str, word: str) -> None:
    place, complaints = place_of(f"?{query}", reads)
    assert len(complaints) == 1
    assert word in complaints[0]
    assert place == start_place(reads)


def test_run_without_mappings_has_a_start(bare_run: Run) -> None:
    place = start_place(readings(bare_run))
    assert (place.selection.mapper, place.selection.latent, place.selection.variable) == (None, 0, "heading")


def test_observers_hear_of_changes_and_only_of_changes(reads: Readings) -> None:
    live = LiveSelection(start_place(reads))
    heard: list[tuple[Place, Place]] = []
    live.observe(lambda old, new: heard.append((old, new)))
    live.go(live.place)
    live.select(latent=5)
    live.turn_to("overview")
    assert [(old.selection.latent, new.selection.latent) for old, new in heard][1] == (5, 5)
    assert len(heard) == 2
    assert live.place.page == "overview"
