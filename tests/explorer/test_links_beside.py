"""What a link may put beside the selected model: a run, its model and its instance."""

from __future__ import annotations

from dataclasses import replace

import pytest
from nldisco_explorer.links import place_of, query_of, start_place
from nldisco_explorer.readings import Readings, readings
from nldisco_explorer.sides import Side, name_of, named_side

from nldisco_core.runs import Run


@pytest.fixture
def reads(written_run: Run) -> Readings:
    return readings(written_run)


@pytest.fixture
def runs(written_run: Run, bare_run: Run, reach_run: Run) -> dict[str, Run]:
    return {run.name: run for run in (written_run, bare_run, reach_run)}


def test_every_instance_of_every_model_of_every_run_survives_a_link(reads: Readings, runs: dict[str, Run]) -> None:
    start = start_place(reads)
    one = Side(reads, start.selection.model, start.selection.instance)
    beside = [
        Side(other, model, instance)
        for other in map(readings, runs.values())
        for model in other.models
        for instance in range(other.space(model).n_instances)
    ]
    beside = [side for side in beside if name_of(side) != name_of(one)]
    assert len(beside) > 6
    for side in beside:
        place = replace(start, selection=replace(start.selection, against=name_of(side)))
        assert place_of(query_of(place), reads, runs=runs) == (place, [])
        assert named_side(name_of(side), one, runs) == side


def test_older_links_name_the_same_sides(reads: Readings, runs: dict[str, Run], bare_run: Run) -> None:
    one = Side(reads, "model", 1)
    short = {"model:pca": "pca/1", "model:random-encoder": "random-encoder/1", "instance:0": "model/0"}
    for name, whole in short.items():
        found = named_side(name, one, runs)
        assert found is not None
        assert name_of(found) == f"{reads.run.name}/{whole}"
    found = named_side(bare_run.name, one, runs)
    assert found is not None
    assert name_of(found) == f"{bare_run.name}/model/0"


@pytest.mark.parametrize(
    "wrong",
    [
        *("{own}", "{own}/model/0", "{own}/model/2", "{own}/pac/0", "{own}/model/x", "{own}/model/", "{own}/model"),
        *(
            "{other}/model/9",
            "{other}/ica/0",
            "{other}/model/0/0",
            "elsewhere/model/0",
            "model:",
            "instance:²",
            "/",
            "",
        ),
    ],
)
def test_what_cannot_stand_beside_is_complained_of(
    reads: Readings, runs: dict[str, Run], bare_run: Run, wrong: str
) -> None:
    wrong = wrong.format(own=reads.run.name, other=bare_run.name)
    place, complaints = place_of(f"?model=model&instance=0&against={wrong}", reads, runs=runs)
    assert place.selection.against is None
    assert len(complaints) == 1
    assert repr(wrong) in complaints[0]
