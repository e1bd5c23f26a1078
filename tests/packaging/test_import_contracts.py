"""The core imports no plugin, plugins never import each other, and the contracts that say so name every package."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]
PROJECT: dict[str, Any] = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
SOURCES = [REPOSITORY / path for path in PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]]
LINT = "from importlinter.cli import lint_imports_command; lint_imports_command()"


def lint(*options: str, packages: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Check the contracts on the installed packages, or on copies of them in a folder."""
    env = {**os.environ}
    words = [sys.executable]
    if packages is not None:
        words.append("-S")  # whose .pth files would put the editable install in front
        env["PYTHONPATH"] = os.pathsep.join([str(packages), sysconfig.get_paths()["purelib"]])
    words += ["-c", LINT, "--config", str(REPOSITORY / "pyproject.toml"), "--no-cache", *options]
    return subprocess.run(words, cwd=packages or REPOSITORY, env=env, capture_output=True, text=True, check=False)


def test_the_contracts_are_kept() -> None:
    done = lint()
    assert done.returncode == 0, done.stdout
    assert "Contracts: 3 kept, 0 broken." in done.stdout


def test_the_contracts_name_every_package() -> None:
    packages = {path.name for path in SOURCES}
    rules = PROJECT["tool"]["importlinter"]
    assert set(rules["root_packages"]) == packages
    forbidden, independent, _commands = rules["contracts"]
    assert set(forbidden["source_modules"]) | set(forbidden["forbidden_modules"]) == packages
    assert set(independent["modules"]) == packages - {"nldisco_core"}


@pytest.mark.parametrize(
    ("module", "stranger", "contract"),
    [
        ("nldisco_core/splits.py", "nldisco_sae", "The core imports no plugin and no dataset"),
        ("nldisco_datasets/plugin.py", "nldisco_nwb.dataset", "Plugins and datasets never import each other"),
    ],
)
def test_a_forbidden_import_breaks_its_contract(tmp_path: Path, module: str, stranger: str, contract: str) -> None:
    for source in SOURCES:
        shutil.copytree(source, tmp_path / source.name, ignore=shutil.ignore_patterns("*.nwb", "__pycache__"))
    with (tmp_path / module).open("a", encoding="utf-8") as file:
        file.write(f"\n\ndef late() -> None:\n    import {stranger}\n")
    done = lint(packages=tmp_path)
    assert done.returncode == 1
    assert f"{contract} BROKEN" in done.stdout
