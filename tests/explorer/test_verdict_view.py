"""What a run shows and what it does not, as the tile writes it."""

from __future__ import annotations

import html
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from nldisco_explorer.export.drawn import drawn
from nldisco_explorer.style import CARD_CSS, THEMES
from nldisco_explorer.views.verdict import MARKS, UNCONTROLLED, Verdict

from nldisco_core.files import read_json, write_json
from nldisco_core.runs import Run

SAID = [
    ("Tuning", "a control is as good or better", "5 of 9 latents are tuned to x (pca 7)."),
    ("Decoding", "not shown", "y < 0 is not told & pca tells it (0.40)."),
    ("Tuning", "above every control compared", "The best latent for x (0.77) is above pca (0.50)."),
    ("Reconstruction", "not compared", "All latents are alive."),
]


@pytest.fixture
def judged(written_run: Run, tmp_path: Path) -> Any:
    """A copy of the written run with other statements in its record."""

    def judge(said: list[tuple[str, str, str]], **about: Any) -> Run:
        folder = tmp_path / written_run.folder.name
        shutil.copytree(written_run.folder, folder)
        findings = [{"topic": topic, "standing": standing, "text": text} for topic, standing, text in said]
        kept = {"verdict": [text for *_, text in said], "findings": findings}
        write_json(folder / "run.json", {**read_json(folder / "run.json"), **kept, **about})
        return Run(folder)

    return judge


def test_statements_stand_by_topic_the_strongest_first_with_their_standing_in_words(judged: Any) -> None:
    (table,) = drawn(Verdict().build(judged(SAID)).panel).tables.values()
    assert table.columns.tolist() == ["about", "beside the controls", "finding"]
    expected = [SAID[3], SAID[1], SAID[2], SAID[0]]
    marked = [(topic, f"{MARKS[standing][0]} {standing}", text) for topic, standing, text in expected]
    assert list(table.itertuples(index=False, name=None)) == marked


def test_a_topic_is_written_once_and_read_out_in_every_row(judged: Any) -> None:
    content = Verdict().build(judged(SAID)).panel.object
    assert re.findall(r'<th scope="row">(.*?)</th>', content) == [
        "Reconstruction",
        "Decoding",
        "Tuning",
        '<span class="unseen">Tuning</span>',
    ]
    assert "display: none" not in CARD_CSS.split(".unseen")[1].split("}")[0]


def test_every_kind_is_counted_at_the_top_those_that_do_not_occur_too(judged: Any) -> None:
    content = Verdict().build(judged([each for each in SAID if each[1] != "not shown"])).panel.object
    line = re.search(r'<p class="counted">(.*?)</p>', content)
    assert line is not None
    words = html.unescape(re.sub(r"<[^>]+>", "", line[1]))
    assert re.findall(r"([a-z][a-z ]+) (\d)", words) == [
        ("above every control compared", "1"),
        ("a control is as good or better", "1"),
        ("not compared", "1"),
        ("not shown", "0"),
    ]


def test_no_word_is_lost_between_marks_and_figures_that_stand_back(judged: Any) -> None:
    content = Verdict().build(judged(SAID)).panel.object
    plain = html.unescape(re.sub(r"<[^>]+>", "", content))
    for *_, text in SAID:
        assert text in plain


def test_sentences_recorded_without_a_standing_are_shown_without_a_mark(written_run: Run) -> None:
    content = Verdict().build(written_run).panel.object
    assert "As recorded" in content
    assert "An untrained encoder makes as many sharply tuned latents." in content
    assert 'class="mark' not in content


def test_a_run_without_controls_says_so_once(judged: Any) -> None:
    assert UNCONTROLLED in Verdict().build(judged([], controls={})).panel.object


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_marks_stand_out_from_what_they_are_written_on(theme: str) -> None:
    """WCAG 2.2, 1.4.3: a contrast of 4.5 to 1 or more; marks without a ground of their own stand on the tile's."""
    palette = THEMES[theme]["palette"]
    for _, name in MARKS.values():
        own = re.search(rf"\.mark\.{name} {{ background: (#\w+);.*; color: (#\w+);", CARD_CSS)
        pair = own.groups() if own else (palette["background"]["paper"], palette["text"]["primary"])
        low, high = sorted(map(_luminance, pair))
        assert (high + 0.05) / (low + 0.05) >= 4.5


def _luminance(colour: str) -> float:
    """Relative luminance of an sRGB colour (WCAG 2.2)."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
