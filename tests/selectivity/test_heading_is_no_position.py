"""Simulated cells on a real walk, from the mappers to the verdict: what heading explains is no position latent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from nldisco_core import plugins
from nldisco_core.binned import Binned, BinnedSession
from nldisco_core.binning import bin_session
from nldisco_core.discoveries import found
from nldisco_core.latents import Latents, LatentSpace
from nldisco_core.mapping import MapperResult
from nldisco_core.splits import assign_splits
from nldisco_core.summary import Findings, comparison, top_mappings
from nldisco_core.verdict import verdict

N_CELLS = 10
HEADING, PLACE = range(N_CELLS), range(N_CELLS, 2 * N_CELLS)


def forth_and_back(walk: BinnedSession) -> BinnedSession:
    rows = np.concatenate([np.arange(walk.n_bins), np.arange(walk.n_bins)[::-1]])
    start_ns = walk.start_ns[0] + np.arange(len(rows)) * 50_000_000
    return replace(walk.rows(rows), start_ns=start_ns, observed=None)


@pytest.fixture(scope="module")
def results() -> Mapping[str, MapperResult]:
    """Ten cells that know heading alone and ten that know position alone.

    The walk is that of the bundled recording, forth and back and twice so: once forth it offers 17 effective shifts of
    the position, too few for a p, and drifts.
    """
    dataset = plugins.make("dataset", "head-direction", {})
    session = dataset.load(dataset.session_ids()[0])
    binned = bin_session(session, bin_s=0.05, epoch="wake", signals=("head_direction", "position"))
    walks = tuple(replace(forth_and_back(binned), session_id=f"walk {number}") for number in range(2))
    shares = {"train": 0.5, "validation": 0.1, "test": 0.4}
    data = assign_splits(Binned(sessions=walks, bin_s=0.05, activity_kind="counts"), by="blocks", **shares)
    rng = np.random.default_rng(0)
    heading, place = (np.nan_to_num(data.covariate(name).values) for name in ("head_direction", "position"))
    centres = place[rng.choice(np.flatnonzero(data.covariate("position").defined), N_CELLS)]
    headed = np.exp(rng.uniform(1, 8, N_CELLS) * (np.cos(heading - rng.random(N_CELLS) * 2 * np.pi) - 1))
    placed = np.exp(-np.square(place[:, None] - centres).sum(axis=2) / 2 / 0.08**2)
    counts = rng.poisson(0.02 + np.concatenate([headed, placed], axis=1)).astype(np.float32)
    session_ids = tuple(walk.session_id for walk in walks)
    space = LatentSpace(codes=(sparse.csc_array(counts),), session_ids=session_ids, row_offsets=data.row_offsets)
    mappers = {
        "selectivity": plugins.make("mapper", "selectivity", {"n_shifts": 199}),
        "spatial": plugins.make("mapper", "spatial", {"n_shifts": 199, "n_pixels": 12, "variables": ["position"]}),
    }
    return {name: mapper.map(Latents.of(space), data, seed=0) for name, mapper in mappers.items()}


@pytest.fixture(scope="module")
def findings(results: Mapping[str, MapperResult]) -> Findings:
    metrics = pd.DataFrame({"model": ["model"], "instance": [0], "level": [0], "split": ["test"]})
    return Findings(metrics=metrics, mappings={"model": tuple(result.table for result in results.values())})


@pytest.mark.parametrize(("mapper", "statistic"), [("selectivity", "max mcc"), ("spatial", "spatial information")])
def test_heading_cells_have_small_p_for_position_and_are_marked(
    results: Mapping[str, MapperResult], mapper: str, statistic: str
) -> None:
    table = results[mapper].table
    tested = table[(table["split"] == "test") & (table["statistic"] == statistic) & table["supported"]]
    tested = tested[tested["variable"] == "position"].set_index("latent")
    of_heading = tested[tested.index.isin(HEADING)]
    called = of_heading[of_heading["p"] <= 0.05]
    assert len(called) >= 8
    assert (called["better_explained_by"] == "head_direction").all()
    assert not found(called).any()
    assert found(tested[tested.index.isin(PLACE)]).mean() >= 0.8
    assert any("mappings are better explained by head_direction" in note for note in results[mapper].notes)


def test_heading_cells_are_found_for_heading(results: Mapping[str, MapperResult]) -> None:
    table = results["selectivity"].table
    mapped = table[found(table) & (table["variable"] == "head_direction")]
    assert set(mapped["latent"]) & set(HEADING) == set(HEADING)


def test_no_heading_cell_is_reported_as_a_position_latent(findings: Findings) -> None:
    best = top_mappings(findings, n=50)
    position = best[(best["variable"] == "position") & best["found"]]
    assert not position["latent"].isin(HEADING).any()
    assert position["latent"].isin(PLACE).sum() >= 8
    figures = comparison(findings).set_index(["quantity", "variable"])["mean"]
    assert figures["n_tuned", "position"] <= N_CELLS
    assert figures["n_explained", "position"] >= 8


def test_the_verdict_says_so(findings: Findings) -> None:
    said = next(sentence for sentence in verdict(findings, {}) if "are tuned to position at" in sentence)
    assert "more not reported: another variable explains them better" in said
