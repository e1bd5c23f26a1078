"""A wheel, ``pip install .`` and an editable install hold the same: packages, data, entry points and the command."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]
PROJECT: dict[str, Any] = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
SOURCES = [REPOSITORY / path for path in PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]]
ENTRY_POINTS: dict[str, str] = PROJECT["project"]["entry-points"]["nldisco"]

HOME = """
import importlib.metadata, json
points = importlib.metadata.entry_points(group="nldisco")
own = [point for point in points if point.dist.name == "nldisco-core"]
print(json.dumps({point.name: [point.value, point.load().__file__] for point in own}))
"""
RECORDING = """
from nldisco_core.plugins import make
dataset = make("dataset", "head-direction")
(name,) = dataset.session_ids()
session = dataset.load(name)
print(session.n_units, sorted(session.signals))
"""


def files_of(package: Path) -> set[str]:
    """Files of a package, relative to the folder that holds it."""
    return {
        path.relative_to(package.parent).as_posix()
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.fixture(params=["from_wheel", "from_source"])
def installed(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


def test_top_level_names_are_the_packages_and_nothing_else(installed: Any) -> None:
    names = {path.name for path in installed.folder.iterdir() if path.suffix != ".dist-info"}
    assert names == {path.name for path in SOURCES} | {"bin"}
    assert not names & {"plugins", "datasets", "tests", "docs", "benchmarks"}


def test_every_file_of_every_package_is_installed(installed: Any) -> None:
    for source in SOURCES:
        assert files_of(installed.folder / source.name) == files_of(source)


def test_the_bundled_recording_and_the_presets_are_among_them(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    recordings = [name for name in names if name.endswith(".nwb")]
    assert [name.split("/")[0] for name in recordings] == ["nldisco_datasets"]
    presets = {path.name for source in SOURCES for path in source.rglob("presets/*.toml")}
    assert presets
    assert presets == {Path(name).name for name in names if "/presets/" in name and name.endswith(".toml")}
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
    assert {name.rsplit("/", 1)[0] for name in names if name.endswith("/py.typed")} == {path.name for path in SOURCES}


def test_entry_points_load_from_the_installed_copy(installed: Any) -> None:
    found = json.loads(installed.python("-c", HOME))
    assert {name: value for name, (value, _) in found.items()} == ENTRY_POINTS
    for _, file in found.values():
        assert Path(file).is_relative_to(installed.folder)


def test_the_bundled_recording_loads_from_the_installed_copy(installed: Any) -> None:
    n_units, signals = installed.python("-c", RECORDING).split(" ", 1)
    assert n_units == "15"
    assert "head_direction" in signals


def test_the_command_lists_every_provider_from_the_installed_copy(installed: Any) -> None:
    rows = json.loads(installed.python(installed.folder / "bin" / "nldisco", "plugins", "--json"))
    own = [row for row in rows if row["distribution"] == "nldisco-core"]
    assert {row["plugin"] for row in own} <= set(ENTRY_POINTS)
    assert ("model", "matryoshka-sae") in {(row["kind"], row["name"]) for row in own}


@pytest.fixture(scope="module")
def editable() -> importlib.metadata.Distribution:
    distribution = importlib.metadata.distribution("nldisco-core")
    if '"editable": true' not in (distribution.read_text("direct_url.json") or ""):
        pytest.skip("the tests run on an install that is not editable")
    return distribution


def test_the_editable_install_has_the_same_entry_points_and_command(editable: importlib.metadata.Distribution) -> None:
    points = {(point.group, point.name): point.value for point in editable.entry_points}
    assert points == {
        **{("nldisco", name): value for name, value in ENTRY_POINTS.items()},
        ("console_scripts", "nldisco"): PROJECT["project"]["scripts"]["nldisco"],
    }
    assert editable.version == PROJECT["project"]["version"]


def test_the_editable_install_finds_packages_in_the_repository_and_no_other_name(
    editable: importlib.metadata.Distribution, tmp_path: Path
) -> None:
    code = """
import importlib.util, json, sys
places = {}
for name in sys.argv[1:]:
    spec = importlib.util.find_spec(name)
    places[name] = [] if spec is None else list(spec.submodule_search_locations or [])
print(json.dumps(places))
"""
    names = [path.name for path in SOURCES]
    strangers = ["plugins", "datasets", "tests", "docs", "benchmarks"]
    done = subprocess.run(
        [sys.executable, "-c", code, *names, *strangers], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    places = json.loads(done.stdout)
    assert {name: places[name] for name in names} == {path.name: [str(path)] for path in SOURCES}
    for name in strangers:
        assert not any(Path(place).is_relative_to(REPOSITORY) for place in places[name])
