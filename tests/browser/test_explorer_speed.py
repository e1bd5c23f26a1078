"""The speed of the explorer, at full size and on the demo: fails at twice what `benchmarks/explorer.py` promises."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ROOT = Path(__file__).parents[2]
BENCHMARK: dict[str, Any] = runpy.run_path(str(ROOT / "benchmarks" / "explorer.py"))


@pytest.fixture(scope="module", params=["full_size_run", "demo"])
def figures(request: pytest.FixtureRequest, chromium: Browser) -> dict[str, float]:
    """Of the run of full size, and of the demo's, trained on the head-direction recording."""
    made = request.getfixturevalue(request.param)
    run = made[0] if request.param == "demo" else made
    with BENCHMARK["served"](run.folder.parent) as server:
        found: dict[str, float] = BENCHMARK["measure"](server, chromium)
    return found


def test_no_promise_is_missed_by_twice_its_value(figures: dict[str, float]) -> None:
    missed = [promise for promise, kept in BENCHMARK["held"](figures, slack=2.0).items() if not kept]
    assert missed == [], figures


def test_page_at_rest_leaves_the_processor_alone(explorer_url: str, chromium: Browser) -> None:
    context = chromium.new_context(viewport={"width": 1440, "height": 1000})
    context.add_init_script(BENCHMARK["WATCH"])
    page = BENCHMARK["opened"](context, explorer_url)
    session = context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})
    page.wait_for_timeout(1500)
    before = BENCHMARK["renderer_ms"](session)
    page.wait_for_timeout(2000)
    assert BENCHMARK["renderer_ms"](session) - before < 200  # a table that waits in a busy loop takes 800
    context.close()
