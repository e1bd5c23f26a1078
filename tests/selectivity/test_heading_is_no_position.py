"""Simulated cells on a real walk, from the mappers to the verdict: what heading explains is no position latent."""

from __future__ import annotations


import numpy as np
import pytest
from scipy import sparse

from nldisco_core import pipeline
from nldisco_core.composition import compose, plan
from nldisco_core.discoveries import found
from nldisco_core.latents import Latents, LatentSpace
from nldisco_core.runs import Run
from nldisco_core.summary import Findings, comparison, top_mappings

N_CELLS = 10
HEADING, PLACE = range(N_CELLS), range(N_CELLS, 2 * N_CELLS)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Ten cells that know heading alone and ten that know position alone, on the walk of the bundled recording."""
    config = compose(
        dataset="head-direction",
        model="raw-units",
        mappers=("selectivity", "spatial"),
        settings={
            "bin": {"epoch": "wake", "signals": ["head_direction", "position"]},
            "mappers": {"selectivity": {"n_shifts": 199}, "spatial": {"n_shifts": 199, "n_pixels": 12}},
        },
    )
    data = pipeline.load_binned(plan(config))[1]
    rng = np.random.default_rng(0)
    heading, place = (np.nan_to_num(data.covariate(name).values) for name in ("head_direction", "position"))
    centres = place[rng.choice(np.flatnonzero(data.covariate("position").defined), N_CELLS)]
    headed = np.exp(rng.uniform(1, 8, N_CELLS) * (np.cos(heading - rng.random(N_CELLS) * 2 * np.pi) - 1))
    placed = np.exp(-np.square(place[:, None] - centres).sum(axis=2) / 2 / 0.08**2)
    counts = rng.poisson(0.02 + np.concatenate([headed, placed], axis=1)).astype(np.float32)
    session_ids = tuple(session.session_id for session in data.sessions)
    space = LatentSpace(codes=(sparse.csc_array(counts),), session_ids=session_ids, row_offsets=data.row_offsets)
    runs_dir = tmp_path_factory.mktemp("runs")
    return pipeline.map_activations(Latents.of(space), config, source="simulated cells", runs_dir=runs_dir)


@pytest.mark.parametrize(("mapper", "statistic"), [("selectivity", "max mcc"), ("spatial", "spatial information")])
def test_heading_cells_have_small_p_for_position_and_are_marked(run: Run, mapper: str, statistic: str) -> None:
    table = run.mapping(mapper).table
    tested = table[(table["split"] == "test") & (table["statistic"] == statistic) & table["supported"]]
    tested = tested[(tested["variable"] == "position") & tested["condition"].isna()].set_index("latent")
    of_heading = tested[tested.index.isin(HEADING)]
    assert (of_heading["p"] <= 0.05).mean() >= 0.8
    called = of_heading[of_heading["p"] <= 0.05]
    assert (called["better_explained_by"] == "head_direction").all()
    assert not found(called).any()
    of_place = tested[tested.index.isin(PLACE)]
    assert found(of_place).mean() >= 0.7


def test_heading_cells_are_found_for_heading(run: Run) -> None:
    table = run.mapping("selectivity").table
    mapped = table[found(table) & (table["variable"] == "head_direction")]
    assert set(mapped["latent"]) >= set(HEADING)


def test_no_heading_cell_is_reported_as_a_position_latent(run: Run) -> None:
    findings = Findings.of(run)
    best = top_mappings(findings, n=50)
    position = best[best["variable"] == "position"]
    assert not position[position["found"]]["latent"].isin(HEADING).any()
    assert position[position["found"]]["latent"].isin(PLACE).sum() >= 7
    figures = comparison(findings).set_index(["quantity", "variable"])["mean"]
    assert figures["n_tuned", "position"] <= N_CELLS
    assert figures["n_explained", "position"] >= 8


def test_the_verdict_says_so(run: Run) -> None:
    said = next(sentence for sentence in run.about["verdict"] if "are tuned to position at" in sentence)
    assert "more are not reported: another variable explains them better" in said
    notes = " ".join(run.about["notes"])
    assert "mappings are better explained by head_direction" in notes
