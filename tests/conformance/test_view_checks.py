"""Each check of a view passes a correct one and fails one that is wrong in its way."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import panel as pn
import pytest
from bokeh.models import ColumnDataSource
from bokeh.plotting import figure

from nldisco_core.conformance import check_view
from nldisco_core.conformance.toys import toy_binned, toy_latents
from nldisco_core.errors import RunNotFound
from nldisco_core.runs import Run
from nldisco_core.selection import Selection

DATA = toy_binned()


def run(*mappings: str) -> Any:
    """As much of a run as these views read."""
    offers = frozenset({"linear", "circular", "discrete", "position", "trials", *(["mapping"] if mappings else [])})
    return SimpleNamespace(name="toy", counts=DATA, latents=toy_latents(DATA), mappings=mappings, offers=offers)


class Live:
    def __init__(self, run: Run, source: ColumnDataSource) -> None:
        self._run = run
        self._source = source
        plot = figure(width=100, height=100)
        plot.line("x", "y", source=source)
        self.panel = pn.Column(pn.pane.Bokeh(plot))

    def show(self, selection: Selection) -> None:
        if selection.latent is not None:
            activity = self._run.latents.main.dense()[:50, selection.latent] + selection.latent
            self._source.data = {"x": np.arange(50), "y": activity}


class Right:
    """Activity of the selected latent over its first 50 bins."""

    title: ClassVar[str] = "Activity"
    page: ClassVar[str] = "latent"
    needs: ClassVar[frozenset[str]] = frozenset()

    def build(self, run: Run) -> Any:
        return Live(run, ColumnDataSource({"x": [], "y": []}))


class NeedsAMapping(Right):
    needs: ClassVar[frozenset[str]] = frozenset({"mapping"})

    def build(self, run: Run) -> Any:
        if not run.mappings:
            raise RunNotFound("no mapping")
        return super().build(run)


class NeedsAMappingUnsaid(NeedsAMapping):
    needs: ClassVar[frozenset[str]] = frozenset()


class NeedsAList(Right):
    needs: ClassVar[Any] = []


class NoPage(Right):
    page: ClassVar[str] = ""


class NoLiveView(Right):
    def build(self, run: Run) -> Any:
        return pn.Column()


class CannotShowNothing(Right):
    def build(self, run: Run) -> Any:
        live = super().build(run)
        show = live.show
        live.show = lambda selection: show(Selection(run="toy", latent=int(selection.latent)))
        return live


class SharedSource(Right):
    def __init__(self) -> None:
        self._source = ColumnDataSource({"x": [], "y": []})

    def build(self, run: Run) -> Any:
        return Live(run, self._source)


class SharedBuild(Right):
    def __init__(self) -> None:
        self._live = super().build(run())

    def build(self, run: Run) -> Any:
        return self._live


class SharedSubscribers(Right):
    def __init__(self) -> None:
        self._all: list[Any] = []

    def build(self, run: Run) -> Any:
        live = super().build(run)
        self._all.append(live.show)
        live.show = lambda selection: [show(selection) for show in self._all]
        return live


WRONG = {
    NeedsAList: ("needs_are_declared", "expected a frozenset of names"),
    NoPage: ("needs_are_declared", "NoPage.page is ''"),
    CannotShowNothing: ("builds_and_shows", "raised TypeError"),
    NeedsAMappingUnsaid: ("builds_without_mappings", "raised RunNotFound: no mapping"),
    SharedSource: ("two_builds_share_no_state", "Bokeh models; make figures and data sources inside build"),
    SharedBuild: ("two_builds_share_no_state", "build gave the same object twice"),
    SharedSubscribers: ("two_builds_share_no_state", "showing a latent in one build changed the other"),
}
ALSO = {CannotShowNothing: {"builds_without_mappings"}}


def outcomes(view: type[Right]) -> dict[str, tuple[str, str]]:
    results = check_view(lambda _: view(), run=run("selectivity"), bare_run=run())
    return {result.name: (result.status, result.reason) for result in results}


def test_a_correct_view_passes() -> None:
    assert {status for status, _ in outcomes(Right).values()} == {"passed"}


def test_a_view_that_says_what_it_needs_is_not_built_without_it() -> None:
    found = outcomes(NeedsAMapping)
    assert found["builds_without_mappings"] == (
        "skipped",
        "this run has no mapping: the host shows why the view is absent",
    )
    assert {status for status, _ in found.values()} == {"passed", "skipped"}


@pytest.mark.parametrize("view", WRONG)
def test_a_wrong_view_fails_its_check(view: type[Right]) -> None:
    check, reason = WRONG[view]
    found = {name: why for name, (status, why) in outcomes(view).items() if status == "failed"}
    assert reason in found[check]
    assert set(found) == {check} | ALSO.get(view, set())


def test_a_build_that_is_no_live_view_is_told_so() -> None:
    status, reason = outcomes(NoLiveView)["builds_and_shows"]
    assert (status, reason) == ("failed", "build gave Column, which lacks panel or show; see LiveView")
