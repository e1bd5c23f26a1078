"""The project as it is installed elsewhere: from a wheel, and by ``pip install .``; each built once."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-cache-dir")


def call(*words: str | Path, cwd: Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command; its output, with what it said where it fails."""
    done = subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(map(str, words))}\n{done.stdout}\n{done.stderr}"
    return done


def pip_install(source: Path, folder: Path) -> None:
    """Install without dependencies, without network and without isolation, into a folder of its own."""
    call(
        *PIP,
        "install",
        "--no-index",
        "--no-deps",
        "--no-build-isolation",
        "--target",
        folder,
        source,
        cwd=folder.parent,
    )


@dataclass(frozen=True)
class Installed:
    """A folder that holds an installed copy, and Python on it.

    Python starts without `site`, whose ``.pth`` files would put the editable install that runs the tests in front.
    """

    folder: Path

    @property
    def env(self) -> dict[str, str]:
        return {"PYTHONPATH": os.pathsep.join([str(self.folder), sysconfig.get_paths()["purelib"]])}

    def python(self, *words: str | Path) -> str:
        """What Python prints when it is called with these words, in another folder than the repository."""
        return call(sys.executable, "-S", *words, cwd=self.folder.parent, env=self.env).stdout


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    call(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, REPOSITORY, cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def from_wheel(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("from-wheel") / "site"
    pip_install(wheel, folder)
    return Installed(folder)


@pytest.fixture(scope="session")
def from_source(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("from-source") / "site"
    pip_install(REPOSITORY, folder)
    return Installed(folder)


@pytest.fixture(scope="session")
def example_plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder into which the third-party plugin of the documentation is installed."""
    folder = tmp_path_factory.mktemp("example") / "site"
    pip_install(REPOSITORY / "docs" / "examples" / "nldisco-example-plugin", folder)
    return folder
