"""The documentation's plugin, installed as a stranger would, is found and keeps every rule."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "nldisco-example-plugin"
PROVIDERS = {
    ("dataset", "example-track"),
    ("model", "example-projection"),
    ("mapper", "example-correlation"),
}


def python(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *words], cwd=folder.parent, env=env, capture_output=True, text=True, check=False
    )


def test_it_is_listed_beside_the_own_plugins(example_plugin: Path) -> None:
    done = python(example_plugin, "-m", "nldisco_core.cli", "plugins", "--json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    offered = [row for row in rows if row["distribution"] == "nldisco-example-plugin"]
    assert {(row["kind"], row["name"]) for row in offered} == PROVIDERS
    assert {(row["plugin"], row["state"]) for row in offered} == {("example", "ok")}
    assert len(rows) > len(offered)


def test_its_own_tests_pass_on_the_installed_copy(example_plugin: Path) -> None:
    done = python(
        example_plugin,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-c",
        str(EXAMPLE / "pyproject.toml"),
        str(EXAMPLE / "tests"),
    )
    assert done.returncode == 0, done.stdout
    assert "4 passed" in done.stdout


def test_the_command_line_checks_it(example_plugin: Path) -> None:
    done = python(example_plugin, "-m", "nldisco_core.cli", "check", "example-track")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "dataset example-track (nldisco-example-plugin 0.1.0)" in done.stdout


def test_the_three_make_a_run_as_its_readme_says(example_plugin: Path) -> None:
    readme = (EXAMPLE / "README.md").read_text(encoding="utf-8")
    command = "nldisco run --dataset example-track --model example-projection --mapper example-correlation"
    assert command in readme
    done = python(example_plugin, "-m", "nldisco_core.cli", *command.split()[1:], "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    (folder,) = (example_plugin.parent / "runs").glob("*_example-track_example-projection_*")
    mapping = pd.read_parquet(folder / "mappings" / "example-correlation" / "table.parquet")
    assert set(mapping["variable"]) == {"position"}
    assert (mapping["p"] <= 0.05).mean() > 0.5


def test_it_is_imported_from_where_it_was_installed(example_plugin: Path) -> None:
    done = python(example_plugin, "-c", "import nldisco_example; print(nldisco_example.__file__)")
    assert Path(done.stdout.strip()).is_relative_to(example_plugin)
    assert not list(example_plugin.glob("tests*"))
