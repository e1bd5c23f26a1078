"""The table of images and the pages that show them name the same files."""

from __future__ import annotations

import re
import runpy
import shlex
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]
IMAGES = REPOSITORY / "docs" / "images"
TABLE: dict[str, Any] = runpy.run_path(str(REPOSITORY / "docs" / "make_screenshots.py"))
NAMED = re.compile(r"""(?:!\[[^\]]*\]\(|\bsrc=["']|\bsrcset=["'])([^)"']+)""")


def _shown() -> set[str]:
    """Images that a page names, whichever way it does."""
    named = [(page, name) for page in PAGES for name in NAMED.findall(page.read_text(encoding="utf-8"))]
    assert named
    return {str((page.parent / name).resolve().relative_to(REPOSITORY)) for page, name in named}


def _made() -> list[str]:
    names = [name for shot in TABLE["SHOTS"] for name in shot.files.values()]
    return [f"docs/images/{name}" for name in [*names, *TABLE["FIGURES"]]]


def test_every_image_of_the_pages_is_in_the_table_and_every_one_of_the_table_on_a_page() -> None:
    made = _made()
    assert len(made) == len(set(made))
    assert _shown() == set(made)


def test_every_image_is_there_and_none_lies_about() -> None:
    assert {f"docs/images/{file.name}" for file in IMAGES.iterdir()} == set(_made())


def test_readme_shows_light_and_dark() -> None:
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    (picture,) = re.findall(r"<picture>.*?</picture>", text, re.DOTALL)
    dark = re.search(r'<source media="\(prefers-color-scheme: dark\)" srcset="([^"]+)"', picture)
    light = re.search(r'<img [^>]*src="([^"]+)"', picture)
    assert dark is not None
    assert light is not None
    assert (Path(dark[1]).name, Path(light[1]).name) == ("explorer-dark.png", "explorer-light.png")
    assert re.search(r'<img [^>]*alt="[^"]{20,}"', picture)


def test_screenshots_are_as_large_as_the_table_says() -> None:
    for shot in TABLE["SHOTS"]:
        for name in shot.files.values():
            header = (IMAGES / name).read_bytes()[:24]
            assert (int.from_bytes(header[16:20]), int.from_bytes(header[20:24])) == shot.size


@pytest.mark.parametrize(("kind", "page"), [("maze-reach", "tutorial-maze.md")])
def test_run_is_made_as_the_page_says(kind: str, page: str) -> None:
    lines = (REPOSITORY / "docs" / page).read_text(encoding="utf-8").splitlines()
    said = [shlex.split(line) for line in lines if line.startswith("nldisco run ")]
    assert ["nldisco", *TABLE["RUNS"][kind]] in said
