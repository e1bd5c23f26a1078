"""``nldisco demo`` reaches what the README says, prints it, and says what it is worth."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from nldisco_core.composition import mapper_named
from nldisco_core.runs import Run
from nldisco_core.summary import Findings, comparison

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def promises() -> Callable[..., dict[str, bool]]:
    """What `benchmarks/demo.py` holds the demo to."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        specification = importlib.util.spec_from_file_location("demo_benchmark", BENCHMARKS / "demo.py")
        assert specification is not None
        assert specification.loader is not None
        module: ModuleType = importlib.util.module_from_spec(specification)
        specification.loader.exec_module(module)
    finally:
        sys.path.remove(str(BENCHMARKS))
    found: Callable[..., dict[str, bool]] = module.promises
    return found


def test_the_autoencoder_reaches_what_is_promised(
    demo: tuple[Run, str], promises: Callable[..., dict[str, bool]]
) -> None:
    kept = promises(comparison(Findings.of(demo[0])))
    assert len(kept) == 8
    assert [promise for promise, held in kept.items() if not held] == []


def test_every_figure_comes_from_five_seeds(demo: tuple[Run, str]) -> None:
    table = comparison(Findings.of(demo[0]))
    r2 = table[
        (table["quantity"] == "r2") & table["model"].isin(["model", "nmf", "random-encoder", "unit-shuffled-sae"])
    ]
    assert r2["n_instances"].tolist() == [5] * 4


def test_the_demo_prints_where_the_run_is_and_every_model_with_its_figures(demo: tuple[Run, str]) -> None:
    run, printed = demo
    assert str(run.folder) in printed
    for model in ("matryoshka-sae", "units-omp", "nmf", "pca", "random-encoder", "raw-units", "unit-shuffled-sae"):
        assert f"\n{model} " in printed
    for figure in (
        "R²",
        "L0",
        "decoding R²",
        "median error °",
        "q < .05",
        "copies",
        "seed match",
        "seed match null gaussian",
    ):
        assert figure in printed


def test_the_demo_says_in_plain_words_what_it_cannot_show(demo: tuple[Run, str]) -> None:
    said = " ".join(demo[1].split())
    assert "do not tell more than raw-units" in said
    assert "sharp tuning alone is no evidence" in said
    assert "copy a single unit" in said
    assert "at least 20 are needed for a p value" in said


def test_shuffled_behaviour_gives_no_tuned_latents(demo: tuple[Run, str]) -> None:
    run = demo[0]
    data = run.binned
    session = data.sessions[0]
    heading = session.covariates["head_direction"]
    rng = np.random.default_rng(0)
    defined = np.flatnonzero(heading.defined)
    blocks = np.array_split(defined, 60)
    values = np.full_like(heading.values, np.nan)
    values[defined] = heading.values[np.concatenate([blocks[block] for block in rng.permutation(60)])]
    shuffled = replace(session, covariates={"head_direction": replace(heading, values=values)})
    _, mapper, _ = mapper_named("selectivity", {"n_shifts": 200})
    result: Any = mapper.map(run.latents, replace(data, sessions=(shuffled,)), seed=0)
    whole = result.table[result.table["condition"].isna() & (result.table["split"] == "test")]
    assert (whole["q"] < 0.05).sum() == 0


def test_the_run_opens_and_compares_without_the_plugins_that_made_it(
    demo: tuple[Run, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from nldisco_core import plugins
    from nldisco_core.errors import PluginNotFound

    monkeypatch.setenv("NLDISCO_PLUGINS", "")
    plugins.use(None)
    run = Run(demo[0].folder)
    assert run.latents.main.n_instances == 5
    assert run.dictionary is not None
    assert len(comparison(Findings.of(run))) > 50
    assert run.binned.n_bins == run.latents.main.n_rows
    with pytest.raises(PluginNotFound, match="needs nldisco-core"):
        run.model.load_model()
