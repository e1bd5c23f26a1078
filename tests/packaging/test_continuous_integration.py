"""Tests that need a browser are not left out unseen where `.ci/run` runs them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
SKIPPING = """
import pytest

@pytest.fixture
def browser():
    pytest.skip("no Chromium on this machine")

def test_by_fixture(browser): pass

def test_by_import(): pytest.importorskip("playwright.no_such_module")

def test_of_something_else(): pytest.skip("the real recordings are not on this machine")
"""


@pytest.mark.parametrize(("ci", "status", "said"), [("", 0, "3 skipped"), ("1", 1, "1 failed, 1 skipped, 1 error")])
def test_want_of_a_browser_fails_where_ci_is_set(tmp_path: Path, ci: str, status: int, said: str) -> None:
    shutil.copy(REPOSITORY / "tests" / "conftest.py", tmp_path)
    (tmp_path / "test_skipping.py").write_text(SKIPPING)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        str(tmp_path),
        str(tmp_path),
    ]
    done = subprocess.run(command, env=os.environ | {"CI": ci}, capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, said in done.stdout) == (status, True), done.stdout + done.stderr


def test_ci_sets_it() -> None:
    assert "CI=1 make test" in (REPOSITORY / ".ci" / "run").read_text(encoding="utf-8")
