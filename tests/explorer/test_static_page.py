"""The one file that shows a run without a server; what a browser makes of it is tested in tests/browser."""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import json
import re
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from nldisco_explorer.drawing.payload import unpacked
from nldisco_explorer.links import start_place
from nldisco_explorer.ranking import ranked
from nldisco_explorer.readings import readings
from nldisco_explorer.share.page import Shared, share

from nldisco_core.errors import RunError
from nldisco_core.notes import Notes
from nldisco_core.runs import Run

# Bokeh 3.9 calls pandas in a way that pandas 3.1 has deprecated; it is not ours to change.
SCRIPT = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"


def data_of(file: Path) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', file.read_text(), re.DOTALL)
    assert found is not None
    data: dict[str, Any] = json.loads(found[1])
    return data


def tiles_of(packed: str) -> list[dict[str, Any]]:
    """Tiles as the page's own script unpacks them."""
    whole = gzip.decompress(base64.b64decode(packed))
    (length,) = struct.unpack_from("<I", whole)
    tiles: list[dict[str, Any]] = json.loads(whole[4 : 4 + length])
    for tile in tiles:
        tile["drawings"] = [unpacked(whole[4 + length + at : 4 + length + at + size]) for at, size in tile["drawings"]]
    return tiles


@pytest.fixture(scope="module")
def noted_run(written_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A copy with a hostile note about the latent that stands first."""
    run = Run(shutil.copytree(written_run.folder, tmp_path_factory.mktemp("noted") / written_run.name))
    Notes(run.folder).add(start_place(readings(run)).selection, name=SCRIPT, text=SCRIPT, stars=3)
    return run


@pytest.fixture(scope="module")
def shared(noted_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Shared:
    return share(noted_run, tmp_path_factory.mktemp("shared") / "run.html", n_latents=4)


def test_file_holds_the_first_latents_of_the_table_and_says_how_many(shared: Shared, noted_run: Run) -> None:
    data = data_of(shared.file)
    first = ranked(readings(noted_run), start_place(readings(noted_run)).selection).head(4)
    assert [row[data["columns"].index("latent")] for row in data["rows"]] == first["latent"].tolist()
    assert data["chosen"].startswith("4 of 48 latents of instance 0 are in this file")
    assert (shared.n_latents, shared.n_all, len(data["latents"])) == (4, 48, 4)
    assert shared.n_bytes == shared.file.stat().st_size


def test_drawings_are_those_of_the_latent(shared: Shared, noted_run: Run) -> None:
    data = data_of(shared.file)
    reads = readings(noted_run)
    for name, packed in zip(data["names"], data["latents"], strict=True):
        tiles = {tile["name"]: tile for tile in tiles_of(packed)}
        assert name in tiles["latent-card"]["html"][0]
        selection = start_place(reads).selection
        active = reads.activations(type(selection)(run=selection.run, latent=int(name.split()[1]), split="test"))
        (histogram,) = tiles["activation-histogram"]["drawings"]
        assert f"{len(active.rows)} of" in histogram["summary"]


def test_overview_holds_the_verdict_and_the_controls(shared: Shared) -> None:
    tiles = {tile["name"]: tile for tile in tiles_of(data_of(shared.file)["overview"])}
    assert "untrained encoder" in tiles["verdict"]["html"][0]
    assert "random-encoder" in tiles["quality"]["html"][0]


def test_nothing_in_the_file_points_elsewhere(shared: Shared) -> None:
    text = shared.file.read_text()
    for found in re.findall(r'(?:src|href|url|action)\s*[=(]\s*["\']?([^"\'\s>)]+)', text.split('id="data"')[0]):
        assert found.startswith(("data:", "#"))
    assert not re.findall(r"\bimport\s*[({\"']|@import|importScripts|fetch\(|XMLHttpRequest|WebSocket", text)


def test_policy_allows_the_own_script_alone(shared: Shared) -> None:
    text = shared.file.read_text()
    policy = html.unescape(re.findall(r'http-equiv="Content-Security-Policy" content="([^"]+)"', text)[0])
    script = re.findall(r'<script type="module">(.*?)</script>', text, re.DOTALL)[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert "default-src 'none'" in policy
    assert f"script-src 'sha256-{digest}'" in policy


def test_script_in_a_note_stays_text(shared: Shared) -> None:
    text = shared.file.read_text()
    assert "alert(1)</script>" not in text
    assert text.count("</script>") == 2
    data = data_of(shared.file)
    assert SCRIPT in data["rows"][0]
    for packed in data["latents"]:
        for tile in tiles_of(packed):
            assert not re.search(r"<script|<img|onerror=(?!alert\(2\)&gt;)", "".join(tile["html"]))
    assert any("&lt;script&gt;" in "".join(tile["html"]) for tile in tiles_of(data["latents"][0]))


def test_run_without_mappings_is_shared_by_activity(bare_run: Run, tmp_path: Path) -> None:
    written = share(bare_run, tmp_path / "bare.html", n_latents=2)
    data = data_of(written.file)
    assert "those that are active most" in data["chosen"]
    shares = [row[data["columns"].index("active")] for row in data["rows"]]
    assert shares == sorted(shares, reverse=True)


def test_place_that_cannot_be_written_is_a_stated_error(bare_run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot write"):
        share(bare_run, tmp_path / "file" / "run.html", n_latents=1)


def test_command_says_what_it_wrote(bare_run: Run, tmp_path: Path, nldisco: Callable[..., Any]) -> None:
    outcome = nldisco("share", bare_run.folder, "--to", tmp_path / "run.html", "--latents", "1")
    assert outcome.code == 0
    assert re.search(r"run\.html: 1 of 48 latents, \d+\.\d MB", outcome.out)
