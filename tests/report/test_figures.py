"""Figures for publication show the means of the run's own bins, in every kind of variable and in three formats."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from nldisco_report import save_figure, tuning_figure
from nldisco_report.figures import tuning

from nldisco_core.binned import SPLITS
from nldisco_core.condition_curves import cut
from nldisco_core.errors import DataError, RunError
from nldisco_core.runs import Run

VARIABLES = ["heading", "speed", "place", "side"]
pytestmark = pytest.mark.usefixtures("toys")


@pytest.mark.parametrize("variable", ["speed", "side"])
@pytest.mark.parametrize("split", ["test", "all"])
def test_means_and_times_are_those_of_a_plain_loop(run: Run, variable: str, split: str) -> None:
    shown = tuning(run, latent=2, variable=variable, split=split)
    data, codes = run.counts, cut(run.counts.covariate(variable)).codes
    activation = run.latents.main.dense(0)[:, 2]
    for condition in range(shown.conditions.n_conditions):
        rows = [
            row
            for row in range(data.n_bins)
            if codes[row] == condition and (split == "all" or data.split[row] == SPLITS.index(split))
        ]
        assert shown.curve.occupancy_s[condition] == pytest.approx(len(rows) * data.bin_s)
        expected = np.mean([activation[row] for row in rows]) if rows else np.nan
        np.testing.assert_allclose(shown.curve.mean[condition], expected, rtol=1e-5)
        if rows:
            assert shown.curve.low[condition] <= expected * (1 + 1e-6)
            assert shown.curve.high[condition] >= expected * (1 - 1e-6)


def test_the_reported_split_is_drawn_unless_another_is_named(run: Run, sealed_run: Run) -> None:
    assert tuning(run, latent=0, variable="heading").split == "test"
    assert tuning(sealed_run, latent=0, variable="heading").split == "validation"


@pytest.mark.parametrize("variable", VARIABLES)
def test_every_kind_of_variable_has_its_figure_with_units_and_text_as_text(
    run: Run, tmp_path: Path, variable: str
) -> None:
    figure = tuning_figure(run, latent=1, variable=variable)
    svg, pdf, png = save_figure(figure, tmp_path / variable, ("svg", "pdf", "png"))
    root = ElementTree.fromstring(svg.read_text(encoding="utf-8"))
    words = " ".join("".join(element.itertext()) for element in root.iter() if element.tag.endswith("}text"))
    expected = {"heading": "90°", "speed": "speed (rad/s)", "place": "x (cm)", "side": "left"}[variable]
    assert expected in words
    assert "time" in words or "cells visited" in words
    assert re.search(r"20\d\d-\d\d-\d\d", svg.read_text(encoding="utf-8")) is None
    assert b"/FontFile2" in pdf.read_bytes()
    assert b"/CreationDate" not in pdf.read_bytes()
    assert png.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_drawing_leaves_the_settings_of_matplotlib_alone(run: Run, tmp_path: Path) -> None:
    before = dict(mpl.rcParams)
    save_figure(tuning_figure(run, latent=0, variable="heading"), tmp_path / "figure", ("svg",))
    assert dict(mpl.rcParams) == before


def test_halves_of_a_signed_code_are_drawn_apart(signed_run: Run) -> None:
    code = signed_run.latents.main.dense(0)[:, 0]
    test = signed_run.counts.split == SPLITS.index("test")
    for sign in (1, -1):
        shown = tuning(signed_run, latent=0, variable="side", sign=sign)
        seen = test & signed_run.counts.covariate("side").defined
        assert shown.n_active == (code[seen] * sign > 0).sum()
        total = np.nansum(shown.curve.mean * shown.curve.occupancy_s) / signed_run.counts.bin_s
        assert total == pytest.approx(np.maximum(code[seen] * sign, 0).sum(), rel=1e-5)


def test_controls_can_be_drawn_like_the_model(run: Run) -> None:
    assert tuning(run, latent=0, variable="heading", model="pca", sign=-1).n_active > 0


@pytest.mark.parametrize(
    ("settings", "error", "said"),
    [
        ({"latent": 0, "variable": "headin"}, DataError, "did you mean 'heading'"),
        ({"latent": 0, "variable": "heading", "split": "tset"}, DataError, "did you mean 'test'"),
        ({"latent": 5, "variable": "heading"}, RunError, "2 instances of 5 latents, counted from 0"),
        ({"latent": 0, "variable": "heading", "instance": 2}, RunError, "2 instances of 5 latents"),
        ({"latent": 0, "variable": "heading", "model": "pac"}, RunError, "did you mean 'pca'"),
    ],
)
def test_what_is_not_there_is_named(run: Run, settings: dict[str, Any], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        tuning_figure(run, **settings)


def test_a_split_without_bins_is_named(sealed_run: Run) -> None:
    with pytest.raises(DataError, match="heading has no value on any test bin"):
        tuning_figure(sealed_run, latent=0, variable="heading", split="test")


def test_the_command_writes_three_formats(run: Run, tmp_path: Path, nldisco: Callable[..., Any]) -> None:
    done = nldisco("figures", run.folder, "--latent", "1", "--variable", "heading", "--to", tmp_path / "figures")
    assert done.code == 0, done.err
    assert [Path(line).name for line in done.out.splitlines()] == [
        f"model-0-latent-1-heading.{kind}" for kind in ("svg", "pdf", "png")
    ]
    assert all(Path(line).stat().st_size > 1000 for line in done.out.splitlines())


def test_the_direction_drawn_is_that_of_the_unsmoothed_means_and_smoothing_is_said(run: Run) -> None:
    shown = tuning(run, latent=2, variable="heading")
    figure = tuning_figure(run, latent=2, variable="heading")
    axes = figure.axes[0]
    line = next(line for line in axes.get_lines() if len(line.get_xdata()) == 2)
    edges = shown.conditions.edges[0] * 2 * np.pi / (shown.covariate.period or 1.0)
    means = np.nan_to_num(shown.curve.unsmoothed)
    expected = np.angle((means * np.exp(1j * (edges[:-1] + edges[1:]) / 2)).sum())
    assert line.get_xdata()[0] == pytest.approx(expected)
    said = {name: tuning_figure(run, latent=2, variable=name).get_supxlabel() for name in VARIABLES}
    assert ["smoothed" in said[name] for name in VARIABLES] == [True, False, True, False]
