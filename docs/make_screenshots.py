"""Make every screenshot of README and docs: ``make screenshots``, or ``python docs/make_screenshots.py``.

Runs are made as the pages say, which takes a quarter of an hour; finished ones may be given instead.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import which
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser

IMAGES = Path(__file__).parent / "images"
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
SETTLED_MS = 4000  # for fonts, the tables' own layout and tiles that follow, which tell nobody when they are done
NLDISCO = (sys.executable, "-c", "import sys; from nldisco_core.cli import main; main(sys.argv[1:])")
BOTH = ("light", "dark")

RUNS = {
    "head-direction": ("demo", "--no-serve"),
    "maze-reach": (
        *("run", "--dataset", "maze-reach", "--model", "matryoshka-sae", "--preset", "nldisco-tutorial"),
        *("--control", "raw-units", "--control", "units-omp", "--control", "random-encoder"),
        *("--set", 'mappers.selectivity.variables=["event", "hand_speed"]'),
        *("--set", "mappers.selectivity.n_quantiles=12"),
    ),
}
"""The command that makes each kind of run."""


@dataclass(frozen=True, kw_only=True)
class Shot:
    """One place of the explorer, saved as ``NAME-light.png`` and ``NAME-dark.png``, or one of them.

    Attributes
    ----------
    name : of the images
    run : one of `RUNS`
    link : what follows the explorer's address
    size : width and height of the window (px)
    themes : those that a page shows
    """

    name: str
    run: str
    link: str = ""
    size: tuple[int, int] = (1440, 1000)
    themes: tuple[str, ...] = BOTH

    @property
    def files(self) -> dict[str, str]:
        """Name of the image, by theme."""
        return {theme: f"{self.name}-{theme}.png" for theme in self.themes}


SHOTS = (
    Shot(name="explorer", run="head-direction"),
    Shot(name="overview", run="head-direction", link="?page=overview", themes=("dark",)),
    Shot(name="maze", run="maze-reach", link="?variable=event", size=(1440, 1100), themes=("light",)),
    Shot(
        name="maze-session", run="maze-reach", link="?page=session&variable=event", size=(1440, 1100), themes=("light",)
    ),
    Shot(name="maze-map", run="maze-reach", link="?page=map&variable=event", size=(1440, 1100), themes=("dark",)),
)
"""Every image of the explorer that a page shows."""

FIGURES = {"recovery.png": "python benchmarks/recovery.py --seeds 10 --figure docs/images/recovery.png"}
"""The other images of the pages, and the command that makes each."""


def main() -> None:
    """Make or take one run of each kind, and save every place of the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for kind in RUNS:
        parser.add_argument(f"--{kind}", type=Path, metavar="RUN", help="folder of a finished run of this kind")
    parser.add_argument("--only", action="append", choices=[shot.name for shot in SHOTS], help="save these alone")
    given = vars(parser.parse_args())
    executable = which("chromium") or which("google-chrome")
    if executable is None:
        parser.error("no Chromium on this machine; install it and try again")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(executable_path=executable, args=FLAGS)
        for kind in RUNS:
            shots = [shot for shot in SHOTS if shot.run == kind and shot.name in (given["only"] or shot.name)]
            if shots:
                save(browser, given[kind.replace("-", "_")] or made(kind, Path(folder)), shots)
        browser.close()


def made(kind: str, folder: Path) -> Path:
    """A new run of a kind."""
    subprocess.run([*NLDISCO, *RUNS[kind], "--runs-dir", str(folder / kind)], check=True)
    (run,) = (folder / kind).iterdir()
    return run


def save(browser: Browser, run: Path, shots: list[Shot]) -> None:
    """Serve a run and save the places that are shown of it, each theme in a window that asks for it."""
    with serving(run) as url:
        for shot in shots:
            for theme, file in shot.files.items():
                width, height = shot.size
                page = browser.new_page(viewport={"width": width, "height": height})
                page.goto(url + shot.link)
                page.locator(".tile").first.wait_for(timeout=120_000)
                page.wait_for_timeout(SETTLED_MS)
                if theme == "dark":
                    page.get_by_role("button", name="Toggle theme").click()
                page.mouse.move(10, height - 10)
                page.wait_for_timeout(SETTLED_MS)
                page.screenshot(path=IMAGES / file)
                page.close()


@contextmanager
def serving(run: Path) -> Iterator[str]:
    """Address of the explorer of a run."""
    command = [*NLDISCO, "serve", str(run), "--port", "0", "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None  # piped above
        try:
            words = (word for line in server.stdout for word in line.split())
            url = next((word for word in words if word.startswith("http://")), None)
            if url is None:
                sys.exit(f"{run} was not served; the reason stands above")
            yield url
        finally:
            server.terminate()


if __name__ == "__main__":
    main()
