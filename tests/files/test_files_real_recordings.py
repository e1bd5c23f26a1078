"""Every real recording opens with at most a ten-line TOML and runs end to end."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nldisco_explorer.host import Tile, offered
from nldisco_explorer.shell import Shell

from nldisco_core.conformance.datasets import check_dataset
from nldisco_core.plugins import make
from nldisco_core.runs import find_run

LAYOUTS = Path(__file__).with_name("layouts")
HEAD_DIRECTION, HUMAN = "head_direction_A2929-200711.nwb", "human_recognition_sub-4_ses-4.nwb"
TRACK, REACH, MAZE = "ca1_linear_track.npz", "m1_centre_out_reach.npz", "mc_maze_trials"
WORM, SONGBIRD = "worm_calcium_2022-08-02-01.npz", "songbird_hvc.mat"
RECORDINGS = (HEAD_DIRECTION, HUMAN, TRACK, REACH, MAZE, WORM, SONGBIRD)


def settings_of(shared_data: Path, name: str) -> dict[str, str]:
    layout = LAYOUTS / f"{Path(name).stem}.toml"
    return {"path": str(shared_data / name), **({"layout": str(layout)} if layout.exists() else {})}


def test_no_real_recording_is_left_out(shared_data: Path) -> None:
    assert {entry.name for entry in shared_data.iterdir()} == {*RECORDINGS, "README.md"}


@pytest.mark.parametrize("layout", sorted(LAYOUTS.glob("*.toml")), ids=lambda path: path.stem)
def test_a_layout_has_at_most_ten_lines(layout: Path) -> None:
    assert len([line for line in layout.read_text(encoding="utf-8").splitlines() if line.strip()]) <= 10


@pytest.mark.parametrize("name", RECORDINGS)
def test_real_recording_passes_the_conformance_kit(shared_data: Path, name: str) -> None:
    settings = settings_of(shared_data, name)
    results = check_dataset(lambda more: make("dataset", "files", {**settings, **more}))
    assert [str(result) for result in results if result.status != "passed"] == []


@pytest.mark.parametrize(
    ("name", "more"),
    [
        (HEAD_DIRECTION, ("bin.epoch=wake", "bin.bin_s=0.5")),
        (HUMAN, ("bin.bin_s=0.5", "bin.trials=recognition_table")),
        (TRACK, ("bin.bin_s=0.5",)),
        (REACH, ()),
        (MAZE, ("split.block_s=0.5", "split.gap_s=0.05")),
        (WORM, ()),
        (SONGBIRD, ("split.block_s=2.0", "split.gap_s=0.1", "bin.signals=[]")),
    ],
)
def test_real_recording_runs_end_to_end(
    shared_data: Path, tmp_path: Path, nldisco: Callable[..., Any], name: str, more: tuple[str, ...]
) -> None:
    settings = settings_of(shared_data, name)
    layout = f"dataset.layout={settings['layout']}" if "layout" in settings else "threads=1"
    model = ("model.n_latents=8", "model.k=2", "model.epochs=2", "model.batch_size=256")
    words = [word for setting in (layout, *more, *model) for word in ("--set", setting)]
    done = nldisco(
        "run", "--dataset", "files", "--path", settings["path"], "--model", "topk-sae", "--mapper", "selectivity",
        "--set", "mappers.selectivity.n_shifts=20", "--runs-dir", tmp_path, *words
    )  # fmt: skip
    assert done.code == 0, done.err
    found = re.search(r"^run +(\S+)$", done.out, re.MULTILINE)
    assert found is not None
    run = find_run(found[1], tmp_path)
    metrics = run.metrics
    assert set(metrics["split"]) == {"train", "validation", "test"}
    assert np.isfinite(metrics[metrics["split"] == "test"]["r2"]).any()
    shell = Shell({run.name: run})
    tiles = [Tile(view, run, shell) for view in offered()]
    for tile in tiles:
        tile.show(shell.live.selection)
    assert {tile.title: tile.reason for tile in tiles if tile.state == "failed"} == {}


def test_the_bins_of_real_counts_are_the_files_own(shared_data: Path) -> None:
    session = make("dataset", "files", settings_of(shared_data, REACH)).load("m1_centre_out_reach")
    with np.load(shared_data / REACH) as file:
        trial = file["trial"]
        np.testing.assert_array_equal(session.prebinned.values(), file["rates_hz"])
    assert session.activity_kind == "rate"
    changes = np.flatnonzero(np.diff(trial))
    steps = np.diff(session.prebinned.start_s)
    np.testing.assert_allclose(steps[changes], 1.1)
    np.testing.assert_allclose(np.delete(steps, changes), 0.1)
    assert session.intervals["trials"].frame["label"].tolist() == sorted(set(trial))


def test_real_spikes_are_those_of_the_file_unit_by_unit(shared_data: Path) -> None:
    session = make("dataset", "files", settings_of(shared_data, TRACK)).load("ca1_linear_track")
    with np.load(shared_data / TRACK) as file:
        times, whose = file["spike_time_s"], file["spike_unit"]
    for row, unit in enumerate(session.units["id"]):
        np.testing.assert_array_equal(session.spike_times[row], times[whose == int(unit)])
    assert session.signals["position"].physical_unit == "px"


def test_real_traces_are_turned_to_samples_by_units(shared_data: Path) -> None:
    import scipy.io

    session = make("dataset", "files", settings_of(shared_data, SONGBIRD)).load("songbird_hvc")
    neural = scipy.io.loadmat(shared_data / SONGBIRD)["NEURAL"]
    np.testing.assert_array_equal(session.traces.values(), neural.T)
    assert session.activity_kind == "continuous"
    assert session.signals["song"].values.shape == (4440, 141)


def test_show_prints_a_card_of_a_path(shared_data: Path, nldisco: Callable[..., Any]) -> None:
    layout = f"dataset.layout={LAYOUTS / 'm1_centre_out_reach.toml'}"
    shown = nldisco("datasets", "show", shared_data / REACH, "--set", layout)
    assert shown.code == 0, shown.err
    for words in (
        "174: M1 174",
        "trials (159 rows)",
        "target 8 (0, 1",
        "position_cm (position, cm, 10 Hz",
        "11 of 174",
    ):
        assert words in shown.out
