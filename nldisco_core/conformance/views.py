"""Checks that any view must pass; each takes a `ViewSubject`: how the view is made, and the runs it is built on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nldisco_core.conformance.checks import CheckResult, Make, NotApplicable, expect, run_checks
from nldisco_core.interfaces import LiveView, View
from nldisco_core.runs import Run
from nldisco_core.selection import Selection

__all__ = [
    "VIEW_CHECKS",
    "ViewSubject",
    "check_builds_and_shows",
    "check_builds_without_mappings",
    "check_needs_are_declared",
    "check_two_builds_share_no_state",
    "check_view",
]


@dataclass(frozen=True, kw_only=True)
class ViewSubject:
    """A view and the runs it is tried on.

    Attributes
    ----------
    make : the view from settings
    run : a run with trials, position, a dictionary and at least one mapping
    bare_run : a run that was never mapped
    """

    make: Make[View]
    run: Run
    bare_run: Run


def check_view(
    make: Make[View], *, run: Run, bare_run: Run, expected_failures: Mapping[str, str] | None = None
) -> tuple[CheckResult, ...]:
    """Run every check of this module; `expected_failures` gives the reason by name of a check known to fail."""
    subject = ViewSubject(make=make, run=run, bare_run=bare_run)
    return run_checks(VIEW_CHECKS, subject, expected_failures=expected_failures)


def check_needs_are_declared(subject: ViewSubject) -> None:
    """The class says its title, its page and what it needs of a run."""
    view = subject.make({})
    name = type(view).__name__
    expect(isinstance(view, View), f"{name} lacks title, page, needs or build; see interfaces.View")
    for field in ("title", "page"):
        text = getattr(view, field)
        expect(isinstance(text, str) and text.strip(), f"{name}.{field} is {text!r}; expected a text")
    needs = view.needs
    fine = isinstance(needs, frozenset) and all(isinstance(need, str) for need in needs)
    expect(fine, f"{name}.needs is {needs!r}; expected a frozenset of names, empty where it needs nothing")


def check_builds_and_shows(subject: ViewSubject) -> None:
    """On a run with everything it builds, and shows no latent, an active one and the last one."""
    _expect_shows(subject.make({}), subject.run)


def check_builds_without_mappings(subject: ViewSubject) -> None:
    """On a run that was never mapped it builds and shows all the same, unless it says that it needs a mapping."""
    view = subject.make({})
    if "mapping" in view.needs:
        raise NotApplicable("the view needs a mapping: the host shows why it is absent")
    _expect_shows(view, subject.bare_run)


def _expect_shows(view: View, run: Run) -> None:
    live = view.build(run)
    expect(isinstance(live, LiveView), f"build gave {type(live).__name__}, which lacks panel or show; see LiveView")
    _document(live)
    for latent in (None, 0, run.latents.main.n_latents - 1):
        live.show(_selection(run, latent))
        _document(live)


def check_two_builds_share_no_state(subject: ViewSubject) -> None:
    """Two builds have no figure in common, and showing a latent in one leaves the other as it was."""
    view = subject.make({})
    one, two = view.build(subject.run), view.build(subject.run)
    expect(one is not two, "build gave the same object twice; make a new one each time")
    shared = _models(one) & _models(two)
    expect(not shared, f"two builds share {len(shared)} Bokeh models; make figures and data sources inside build")
    one.show(_selection(subject.run, 0))
    two.show(_selection(subject.run, 0))
    before = _document(two)
    one.show(_selection(subject.run, subject.run.latents.main.n_latents - 1))
    expect(_document(two) == before, "showing a latent in one build changed the other; keep state on the live view")


def _selection(run: Run, latent: int | None) -> Selection:
    names = run.binned.covariate_names
    return Selection(run=run.name, latent=latent, variable=names[0] if names else None)


def _root(live: LiveView) -> Any:
    import panel

    drawn: Any = panel.panel(live.panel)
    return drawn.get_root()


def _models(live: LiveView) -> set[Any]:
    return set(_root(live).references())


def _document(live: LiveView) -> str:
    """What the browser would be sent, with the ids that Bokeh draws anew for every rendering taken out."""
    from bokeh.document import Document

    document = Document()
    document.add_root(_root(live))
    content: Any = document.to_json()
    return json.dumps(_without_ids(content["roots"]), sort_keys=True, default=str)


def _without_ids(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _without_ids(value) for key, value in content.items() if key != "id"}
    return [_without_ids(value) for value in content] if isinstance(content, list | tuple) else content


VIEW_CHECKS = (
    check_needs_are_declared,
    check_builds_and_shows,
    check_builds_without_mappings,
    check_two_builds_share_no_state,
)
"""Every check of a view, in the order they are run."""
