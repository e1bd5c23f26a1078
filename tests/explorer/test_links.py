from __future__ import annotations

from dataclasses import replace

import pytest
from nldisco_explorer.links import comparable, place_in, place_of, query_of, start_place
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
        {
            "pinned": tuple((each, 0) for each in (9, 3, 4, 5, 47)),
            "lasso": (1, 2, 3, 30),
            "window_s": (-1.5, 12.25),
            "by": "light",
        },
        {"model": "pca", "latent": 3, "sign": 1, "pinned": ((3, 1), (3, -1), (40, -1))},
        {"view": (("latent-map.colour", "speed & more"), ("table.search", "dense, or 4"))},
        {"against": "model:pca"},
        {"against": "instance:1"},
    ],
)
def test_link_and_place_are_inverse(reads: Readings, changes: dict[str, object]) -> None:
    start = start_place(reads)
    place = replace(start, page="mappings", selection=replace(start.selection, **changes))
    assert place_of(query_of(place), reads, tiles=("table", "latent-map")) == (place, [])


def test_bare_number_of_an_old_link_is_the_half_in_view(reads: Readings) -> None:
    for sign in (1, -1):
        place, complaints = place_of(f"?model=pca&latent=3&sign={sign}&pinned=5-6,2m", reads)
        assert (place.selection.pinned, complaints) == (((5, sign), (6, sign), (2, -1)), [])


def test_nothing_stands_beside_itself(reads: Readings) -> None:
    for model, instance in (("model", 0), ("model", 1), ("pca", 1)):
        sign = 1 if model == "pca" else 0
        known = comparable(reads, model, instance, [reads.run.name, "other"])
        assert known == [
            "other",
            *(f"model:{each}" for each in ("model", "pca", "random-encoder") if each != model),
            f"instance:{1 - instance}",
        ]
        own = f"?model={model}&instance={instance}&sign={sign}&against="
        for against in (f"model:{model}", f"instance:{instance}"):
            place, complaints = place_of(own + against, reads)
            assert place.selection.against is None
            assert len(complaints) == 1
            assert repr(against) in complaints[0]


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
        ("window=9000000,9000001", "between 0 and 600"),
        ("window=5,5.0001", "0.05 s apart"),
        ("pinned=3p", "0 to 47"),
        ("against=instance:0", "'instance:0'"),
        ("against=model:model", "'model:model'"),
        ("latent-mp.colour=speed", "did you mean 'latent-map'"),
        ("table.preset=best+held", "did you mean 'best held-out'"),
        ("table.sroted=latent", "did you mean 'table.sort'"),
        ("align=go_cue", "'go_cue'"),
        ("by=speed", "Known: light"),
        ("against=other", "'other'"),
        ("latnet=3", "did you mean 'latent'"),
    ],
)
def test_bad_value_is_named_and_leaves_its_default(reads: Readings, query: str, word: str) -> None:
    place, complaints = place_of(f"?{query}", reads, tiles=("table", "latent-map"))
    assert len(complaints) == 1
    assert word in complaints[0]
    assert place == start_place(reads)


def test_run_without_mappings_has_a_start(bare_run: Run) -> None:
    place = start_place(readings(bare_run))
    assert (place.selection.mapper, place.selection.latent, place.selection.variable) == (None, 0, "heading")


def test_another_run_keeps_the_page_and_what_it_has_too(reads: Readings, bare_run: Run) -> None:
    here = replace(start_place(reads), page="map")
    chosen = replace(here.selection, variable="light", split="train", condition="on", latent=11, pinned=((3, 0),))
    there = place_in(readings(bare_run), replace(here, selection=chosen))
    assert (there.page, there.selection.run, there.selection.variable) == ("map", bare_run.name, "light")
    assert (there.selection.split, there.selection.mapper, there.selection.condition) == ("train", None, None)
    assert there.selection.pinned == ()
    back = place_in(reads, replace(here, selection=replace(chosen, run=bare_run.name)))
    assert (back.selection.variable, back.selection.condition, back.page) == ("light", "on", "map")
    rows = reads.mapping("model", "selectivity").table
    ofs = rows[(rows["instance"] == 0) & (rows["variable"] == "light") & (rows["condition"] == "on")]
    best = ofs[ofs["supported"]].sort_values("youden", ascending=False).iloc[0]
    assert back.selection.latent == best["latent"]


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
