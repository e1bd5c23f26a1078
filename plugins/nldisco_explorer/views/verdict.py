"""The tile of what a run shows and what it does not, each statement with its standing beside the controls."""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Iterable
from typing import ClassVar

from nldisco_core.ledger import standing
from nldisco_core.runs import Run
from nldisco_core.statements import Standing, Statement, grouped, recorded
from nldisco_explorer.views.overview import WrittenTile

__all__ = ["Verdict"]

UNCONTROLLED = "This run has no controls, so nothing here says that the model did better than a simpler one."

MARKS: dict[Standing, tuple[str, str]] = {
    "above every control compared": ("▲", "above"),
    "a control is as good or better": ("=", "equalled"),
    "not compared": ("–", "uncompared"),
    "not shown": ("○", "unshown"),
}
"""Sign and class of each standing, the strongest first."""

UNSEEN = 'class="unseen"'


class Verdict:
    """View: the standing of the test split, and what this run shows and does not, as the pipeline wrote it down."""

    title: ClassVar[str] = "What this run shows, and what it does not"
    page: ClassVar[str] = "overview"
    needs: ClassVar[frozenset[str]] = frozenset()
    wide: ClassVar[bool] = True

    def build(self, run: Run) -> WrittenTile:
        """A new tile."""
        said = list(recorded(run.about))
        if not run.controls and all(each.topic != "Controls" for each in said):
            said.append(Statement(topic="Controls", standing="not compared", text=UNCONTROLLED))
        content = f'<p class="standing">{html.escape(standing(run))}</p>'
        content += _counted(said) + _statements(said) if said else "<p>This run holds no verdict.</p>"
        if notes := list(run.about.get("notes", [])):
            items = "".join(f"<li>{html.escape(note)}</li>" for note in notes)
            content += f"<details><summary>Notes of the models ({len(notes)})</summary><ul>{items}</ul></details>"
        return WrittenTile(content)


def _counted(said: Iterable[Statement]) -> str:
    """How many statements stand how."""
    counts = Counter(each.standing for each in said if each.standing is not None)
    kinds = (f"{_mark(kind)} <b>{counts[kind]}</b>" for kind in MARKS)
    return f'<p class="counted">{" ".join(f"<span>{kind}</span>" for kind in kinds)}</p>' if counts else ""


def _mark(kind: Standing) -> str:
    """A mark for the eye and the words of a standing; no standing is told by its colour alone."""
    sign, name = MARKS[kind]
    return f'<span class="mark {name}"><span aria-hidden="true">{sign}</span> {html.escape(kind)}</span>'


def _statements(said: Iterable[Statement]) -> str:
    """Topic, standing and words of each statement; a topic is written once, and read out in every row."""
    head = "".join(f'<th scope="col">{name}</th>' for name in ("about", "beside the controls", "finding"))
    body = ""
    for topic, held in grouped(said):
        rows = (
            f'<tr><th scope="row">{topic if each is held[0] else f"<span {UNSEEN}>{topic}</span>"}</th>'
            f"<td>{'' if each.standing is None else _mark(each.standing)}</td><td>{_read(each.text)}</td></tr>"
            for each in held
        )
        body += f"<tbody>{''.join(rows)}</tbody>"
    return f'<table class="verdict"><thead><tr>{head}</tr></thead>{body}</table>'


def _read(text: str) -> str:
    """A statement whose figures in brackets stand back."""
    return re.sub(r"\([^()]*\)", r"<small>\g<0></small>", html.escape(text))
