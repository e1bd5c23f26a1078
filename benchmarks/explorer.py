"""The explorer in headless Chromium on a run of full size or on ``--run``: clicks, keys, panning, paint and memory."""

from __future__ import annotations

import argparse
import os
import re
import runpy
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle, repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, CDPSession, Page

ROOT = Path(__file__).parents[1]
CHROMIUM_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
GOALS = {
    "click_ms": 150.0,
    "click_server_ms": 60.0,
    "latents_per_s": 8.0,
    "pan_ms": 150.0,
    "pan_sharp_ms": 150.0,
    "zoom_ms": 150.0,
    "zoom_sharp_ms": 150.0,
    "first_paint_s": 3.0,
    "session_mb": 10.0,
}
"""At most, but for latents a second, which are at least so many."""

N_CLICKS, N_LOADS, N_SESSIONS, SCRUB_S, N_PANS, REST_S = 15, 3, 5, 4.0, 8, 3.0
PAGES = ("Mappings", "Session", "Map", "Compare", "Overview", "Latent")
BUSY_S = 0.1
"""CPU time in a second of a server that is at work for somebody; at rest it takes a thirtieth of it."""
QUIET_MS = 300

WATCH = """
(() => {
  const state = {from: 0, first: 0, last: 0}
  for (const proto of [CanvasRenderingContext2D.prototype]) {
    for (const name of ["stroke", "fill", "drawImage", "putImageData", "fillText", "fillRect", "clearRect"]) {
      const own = proto[name]
      proto[name] = function (...given) {
        state.last = performance.now()
        if (!state.first) { state.first = state.last }
        return own.apply(this, given)
      }
    }
  }
  const begin = event => { Object.assign(state, {from: event.timeStamp, first: 0, last: 0}) }
  for (const kind of ["click", "keydown", "wheel"]) { document.addEventListener(kind, begin, true) }
  window.watched = () => ({...state, now: performance.now()})
})()
"""
"""Notes when canvases were drawn on after the last thing a person did."""


SCRUB = """canvases => {
  const inView = canvas => { const box = canvas.getBoundingClientRect(); return box.top < innerHeight && box.width > 0 }
  const plots = canvases.filter(inView).map(canvas => ({canvas, stamp: canvas.dataset.painted, n: 0}))
  const look = () => {
    for (const plot of plots) {
      if (plot.canvas.dataset.painted !== plot.stamp) { plot.stamp = plot.canvas.dataset.painted; plot.n += 1 }
    }
    window.looking = requestAnimationFrame(look)
  }
  window.scrubbed = () => { cancelAnimationFrame(window.looking); return Math.min(...plots.map(plot => plot.n)) }
  look()
}"""
"""Counts, frame by frame, how often the plot in view that was painted anew the least has been."""


@dataclass(frozen=True, kw_only=True)
class Served:
    """A server of the explorer in a process of its own."""

    url: str
    pid: int

    def cpu_s(self) -> float:
        """CPU time it has used (s)."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory_mb(self) -> float:
        """Memory it holds (MB)."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


@contextmanager
def served(runs_dir: Path) -> Iterator[Served]:
    """The explorer of all runs of a folder."""
    names = sorted(path.name for path in runs_dir.iterdir())
    command = [sys.executable, "-c", "import sys; from nldisco_core.cli import main; main(sys.argv[1:])"]
    command += ["serve", *names, "--runs-dir", str(runs_dir), "--port", "0", "--no-browser"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout is not None
        line = next(line for line in process.stdout if "http://" in line)
        yield Served(url=next(word for word in line.split() if word.startswith("http://")), pid=process.pid)
    finally:
        process.terminate()
        process.wait(timeout=20)
        if process.stdout is not None:
            process.stdout.close()


def chromium() -> str | None:
    """Where the system's Chromium is."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((found for found in map(shutil.which, names) if found), None)


def settled(page: Page, *, timeout_ms: float = 60_000) -> dict[str, float]:
    """When canvases were drawn on first and last, once they were left alone."""
    left_alone = "quiet => { const s = watched(); return s.last > s.from && s.now - s.last > quiet }"
    page.wait_for_function(left_alone, arg=QUIET_MS, timeout=timeout_ms, polling=50)
    found: dict[str, float] = page.evaluate("watched()")
    return found


def opened(context: BrowserContext, url: str, waiting_for: str = ".page-latent section h2") -> Page:
    """A page that has drawn everything."""
    page = context.new_page()
    page.goto(url)
    page.locator(waiting_for).first.wait_for(timeout=120_000)
    settled(page, timeout_ms=120_000)
    return page


def renderer_ms(session: CDPSession) -> float:
    """CPU time of the page's main thread (ms)."""
    metrics = session.send("Performance.getMetrics")["metrics"]
    return 1000 * next(float(each["value"]) for each in metrics if each["name"] == "TaskDuration")


def measure(server: Served, browser: Browser) -> dict[str, float]:
    """Every figure, by name; `GOALS` names those that are promised."""
    context = browser.new_context(viewport={"width": 1440, "height": 1000})
    context.add_init_script(WATCH)
    cold = measure_load(server, context, n_loads=1)  # nobody has asked this server, and this browser has nothing
    found = {f"{name.removesuffix('_s')}_cold_s": value for name, value in cold.items()}
    found |= measure_load(server, context, n_loads=N_LOADS)
    page = opened(context, server.url)
    session = context.new_cdp_session(page)
    found |= measure_clicks(server, page, session)
    found |= measure_scrubbing(page)
    found |= measure_rest(server, page, session)
    page.close()
    found |= measure_panning(server, context)
    found |= measure_memory(server, context)
    context.close()
    return found


def measure_load(server: Served, context: BrowserContext, *, n_loads: int) -> dict[str, float]:
    """From asking for the page to its last plot."""
    painted, cpu, renderer = [], [], []
    for _ in range(n_loads):
        page = context.new_page()
        session = context.new_cdp_session(page)
        session.send("Performance.enable", {"timeDomain": "threadTicks"})
        before = server.cpu_s()
        page.goto(server.url)
        page.locator(".page-latent section h2").first.wait_for(timeout=120_000)
        painted.append(settled(page)["last"] / 1000)
        cpu.append(server.cpu_s() - before)
        renderer.append(renderer_ms(session) / 1000)
        page.close()
    return {
        "first_paint_s": statistics.median(painted),
        "first_paint_server_s": statistics.median(cpu),
        "first_paint_renderer_s": statistics.median(renderer),
    }


def measure_clicks(server: Served, page: Page, session: CDPSession) -> dict[str, float]:
    """From a click on a row to the last stroke of every visible plot."""
    session.send("Performance.enable", {"timeDomain": "threadTicks"})
    cells = page.locator(".page-latent .tabulator-row .tabulator-cell[tabulator-field=latent]")
    painted, before, busy = [], server.cpu_s(), renderer_ms(session)
    for row in range(1, N_CLICKS + 1):
        cells.nth(row).click()
        times = settled(page)
        painted.append(times["last"] - times["from"])
    return {
        "click_ms": statistics.median(painted),
        "click_slowest_ms": max(painted),
        "click_server_ms": 1000 * (server.cpu_s() - before) / N_CLICKS,
        "click_renderer_ms": (renderer_ms(session) - busy) / N_CLICKS,
    }


def measure_scrubbing(page: Page) -> dict[str, float]:
    """Latents drawn each second while a key is held down, from the first row on; at an end of the table, back."""
    page.locator(".page-latent .tabulator-row .tabulator-cell[tabulator-field=latent]").first.click()
    settled(page)
    counted = page.locator(".page-latent").get_by_text(re.compile(r"\d+ of \d+ latents of instance"))
    steps = int(counted.first.inner_text().split()[0]) - 1
    keys = cycle([*repeat("j", steps), *repeat("k", steps)])
    page.locator(".page-latent section h2").first.click()
    page.locator(".page-latent canvas[data-painted]").evaluate_all(SCRUB)
    began = time.perf_counter()
    while time.perf_counter() - began < SCRUB_S:
        page.keyboard.press(next(keys))
        page.wait_for_timeout(25)
    spent = time.perf_counter() - began
    n_drawn = int(page.evaluate("scrubbed()"))
    settled(page)
    return {"latents_per_s": n_drawn / spent}


def measure_panning(server: Served, context: BrowserContext) -> dict[str, float]:
    """From a turn of the wheel over the whole session to the first stroke at the new place, and to the last."""
    page = opened(context, f"{server.url}?page=session", ".page-session canvas")
    page.get_by_role("button", name="whole session").click()
    settled(page)
    page.locator(".page-session canvas").first.hover(position={"x": 600, "y": 110})  # over the activation
    times: dict[str, list[dict[str, float]]] = {"zoom": [], "pan": []}
    for _ in range(N_PANS // 2):
        for what, across, along in (("zoom", 0, -120), ("pan", 120, 0), ("pan", -120, 0), ("zoom", 0, 240)):
            if what == "zoom":
                page.keyboard.down("Shift")
            page.mouse.wheel(across, along)
            times[what].append(settled(page))
            page.keyboard.up("Shift")
    page.close()
    return {
        f"{what}{name}_ms": statistics.median(each[end] - each["from"] for each in found)
        for what, found in times.items()
        for name, end in (("", "first"), ("_sharp", "last"))
    }


def measure_memory(server: Served, context: BrowserContext) -> dict[str, float]:
    """Memory that one more browser session takes in the server, as it opens and once it has turned to every page.

    The first that turns to a page brings in what all sessions share, so the others are counted.
    """
    before = server.memory_mb()
    pages = [opened(context, server.url) for _ in range(N_SESSIONS)]
    opened_mb = (server.memory_mb() - before) / N_SESSIONS
    first, *others = pages
    turn_to_all(server, first)
    before = server.memory_mb()
    for page in others:
        turn_to_all(server, page)
    turned_mb = (server.memory_mb() - before) / len(others)
    for page in pages:
        page.close()
    return {"session_mb": opened_mb, "session_all_pages_mb": opened_mb + turned_mb}


def turn_to_all(server: Served, page: Page) -> None:
    """Look at every page in turn, each until the server has worked out all that is on it."""
    for name in PAGES:
        page.get_by_role("button", name=name, exact=True).first.click()
        page.locator(f".page-{name.lower()}").first.wait_for(timeout=120_000)
        page.wait_for_function("() => Bokeh.documents[0].is_idle", timeout=120_000)
        spent = 1.0
        while spent > BUSY_S:
            before = server.cpu_s()
            page.wait_for_timeout(1000)
            spent = server.cpu_s() - before


def measure_rest(server: Served, page: Page, session: CDPSession) -> dict[str, float]:
    """CPU time of a page that nobody touches, and of its server, for each second (ms)."""
    page.wait_for_timeout(1500)
    before, busy = server.cpu_s(), renderer_ms(session)
    page.wait_for_timeout(1000 * REST_S)
    return {
        "rest_renderer_ms_per_s": (renderer_ms(session) - busy) / REST_S,
        "rest_server_ms_per_s": 1000 * (server.cpu_s() - before) / REST_S,
    }


def held(found: dict[str, float], *, slack: float = 1.0) -> dict[str, bool]:
    """Which of the goals were reached, or reached by `slack` times their value."""
    kept = {}
    for name, goal in GOALS.items():
        value = found[name]
        kept[f"{name} {value:.3g} (goal {goal:g})"] = (
            value >= goal / slack if name == "latents_per_s" else value <= goal * slack
        )
    return kept


def main() -> None:
    """Write the run, serve it, and print every figure."""
    from playwright.sync_api import sync_playwright
    from reporting import announce, conclude

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, help="folder of a finished run; without it one of full size is written")
    given = parser.parse_args().run
    announce(f"explorer, {given.name if given else 'run of full size'}; load {os.getloadavg()[0]:.1f}")
    executable = chromium()
    if executable is None:
        sys.exit("no Chromium on this machine")
    write: Any = runpy.run_path(str(ROOT / "tests" / "explorer" / "full_size_run.py"))["write_full_size_run"]
    with tempfile.TemporaryDirectory() as folder:
        if given:
            shutil.copytree(given, Path(folder) / given.resolve().name)
        else:
            write(Path(folder) / "2026-03-01T10-22-05_maze_matryoshka-sae_7f3a")
        with served(Path(folder)) as server, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=executable, args=list(CHROMIUM_FLAGS))
            found = measure(server, browser)
            browser.close()
    for name, value in found.items():
        print(f"{name:24s} {value:8.3g}")
    print(f"load at the end {os.getloadavg()[0]:.1f}")
    conclude(held(found))


if __name__ == "__main__":
    main()
