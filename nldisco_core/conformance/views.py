"""Checks that any view must pass; each takes a `ViewSubject`: how the view is made, and the runs it is built on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from nldisco_core.conformance.checks import CheckResult, Make, NotApplicable, expect, run_checks
from nldisco_core.interfaces import JoinsExplorer, LiveView, View
from nldisco_core.selection import Selection

if TYPE_CHECKING:
    from nldisco_core.runs import Run

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
    """On a run with what it needs it builds, and shows no latent, the first and the last one."""
    _expect_shows(subject.make({}), subject.run)


def check_builds_without_mappings(subject: ViewSubject) -> None:
    """On a run that was never mapped it builds and shows all the same, unless it says that it needs a mapping."""
    _expect_shows(subject.make({}), subject.bare_run)


def _expect_shows(view: View, run: Run) -> None:
    _require_needs(view, run)
    live = _built(view, run)
    expect(isinstance(live, LiveView), f"build gave {type(live).__name__}, which lacks panel or show; see LiveView")
    rendered = _Rendered(live)
    for latent in (None, 0, run.latents.main.n_latents - 1):
        live.show(_selection(run, latent))
        expect(rendered.content, "the view draws nothing; give a panel")


def _require_needs(view: View, run: Run) -> None:
    missing = sorted(set(view.needs) - run.offers)
    if missing:
        raise NotApplicable(f"this run has no {', '.join(missing)}: the host shows why the view is absent")


def check_two_builds_share_no_state(subject: ViewSubject) -> None:
    """Two builds have no figure in common, and showing a latent in one leaves the other as it was."""
    view = subject.make({})
    _require_needs(view, subject.run)
    one, two = _built(view, subject.run), _built(view, subject.run)
    expect(one is not two, "build gave the same object twice; make a new one each time")
    rendered, other = _Rendered(one), _Rendered(two)
    shared = rendered.models & other.models
    expect(not shared, f"two builds share {len(shared)} Bokeh models; make figures and data sources inside build")
    for live in (one, two):
        live.show(_selection(subject.run, 0))
    before = other.content
    one.show(_selection(subject.run, subject.run.latents.main.n_latents - 1))
    expect(other.content == before, "showing a latent in one build changed the other; keep state on the live view")


def _built(view: View, run: Run) -> LiveView:
    """A live view as a host makes it: joined to its explorer before it is first shown."""
    live = view.build(run)
    if isinstance(live, JoinsExplorer):
        live.join(_Explorer(run))
    return live


class _Explorer:
    """Serves one run to nobody in particular, and takes no notice of what a view asks for."""

    may_write, visitor, link = True, "", ""

    def __init__(self, run: Run) -> None:
        self.runs: Mapping[str, Run] = {run.name: run}

    def select(self, *, page: str | None = None, **changes: Any) -> None:
        """Nothing, if `Selection` has these fields."""
        replace(_selection(next(iter(self.runs.values())), None), **changes)

    def refresh(self) -> None:
        """Nothing."""


def _selection(run: Run, latent: int | None) -> Selection:
    sign = 1 if run.latents.main.code_kind == "signed" else 0
    return Selection(run=run.name, latent=latent, sign=sign, variable=next(iter(run.counts.covariate_names), None))


class _Rendered:
    """A live view as one browser session holds it."""

    def __init__(self, live: LiveView) -> None:
        import panel
        from bokeh.document import Document

        drawn: Any = panel.panel(live.panel)
        self._document = Document()
        self._root: Any = drawn.get_root(doc=self._document)

    @property
    def models(self) -> set[Any]:
        return set(self._root.references())

    @property
    def content(self) -> str:
        """What the browser would be sent."""
        from bokeh.core.json_encoder import serialize_json

        if not self._document.roots:
            self._document.add_root(self._root)
        return str(serialize_json(self._document.to_json(deferred=False)))


VIEW_CHECKS = (
    check_needs_are_declared,
    check_builds_and_shows,
    check_builds_without_mappings,
    check_two_builds_share_no_state,
)
"""Every check of a view, in the order they are run."""
