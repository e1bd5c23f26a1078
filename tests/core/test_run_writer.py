"""A run appears whole or not at all."""

from __future__ import annotations

import errno
import threading
from pathlib import Path

import pytest

from nldisco_core.config import RunConfig, parse
from nldisco_core.errors import RunError, RunIncomplete, RunNotFound, SchemaTooNew
from nldisco_core.files import read_json, write_json, writing_failed
from nldisco_core.run_writer import RunWriter
from nldisco_core.runs import Run, find_run, list_runs, title_of

CONFIG = parse(RunConfig, {"dataset": {"name": "toy"}, "model": {"name": "pca"}})


def _write(runs_dir: Path) -> Run:
    with RunWriter.open(CONFIG, runs_dir=runs_dir, resume=False) as writer:
        writer.about["model"] = {"provider": "pca"}
    return writer.finished()


def test_a_finished_run_is_renamed_and_says_so(tmp_path: Path) -> None:
    run = _write(tmp_path)
    assert run.about["status"] == "finished"
    assert [path.name for path in tmp_path.iterdir()] == [run.name]


def test_an_error_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), RunWriter.open(CONFIG, runs_dir=tmp_path, resume=False):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_after_a_checkpoint_stays_as_partial_and_can_be_resumed(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), RunWriter.open(CONFIG, runs_dir=tmp_path, resume=False) as writer:
        (writer.checkpoints("model") / "last").mkdir(parents=True)
        (writer.folder / "binned").mkdir()
        raise KeyboardInterrupt
    (folder,) = tmp_path.iterdir()
    assert folder.name.endswith(".partial")
    assert read_json(folder / "run.json")["status"] == "interrupted"
    with pytest.raises(RunIncomplete, match="--resume"):
        Run(folder)
    with RunWriter.open(CONFIG, runs_dir=tmp_path, resume=True) as writer:
        assert (writer.checkpoints("model") / "last").is_dir()
        assert not (writer.folder / "binned").exists()
        writer.about["model"] = {"provider": "pca"}
    assert writer.finished().folder == folder.with_name(folder.name.removesuffix(".partial"))
    assert len(list(tmp_path.iterdir())) == 1


def test_resuming_nothing_is_a_stated_problem(tmp_path: Path) -> None:
    with pytest.raises(RunIncomplete, match="without --resume"), RunWriter.open(CONFIG, runs_dir=tmp_path, resume=True):
        pass


def test_two_processes_cannot_resume_the_same_run(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), RunWriter.open(CONFIG, runs_dir=tmp_path, resume=False) as writer:
        (writer.checkpoints("model") / "last").mkdir(parents=True)
        raise KeyboardInterrupt
    with RunWriter.open(CONFIG, runs_dir=tmp_path, resume=True):
        with pytest.raises(RunError, match="another process"), RunWriter.open(CONFIG, runs_dir=tmp_path, resume=True):
            pass
        assert len(list(tmp_path.glob("*.partial"))) == 1


def test_two_runs_at_once_in_one_folder_get_their_own_names(tmp_path: Path) -> None:
    together = threading.Barrier(4)
    names = []

    def write() -> None:
        together.wait()
        names.append(_write(tmp_path).name)

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(names)) == 4
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)


def test_a_folder_that_cannot_be_made_is_a_stated_problem(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(RunError, match="cannot write"),
        RunWriter.open(CONFIG, runs_dir=tmp_path / "file" / "runs", resume=False),
    ):
        pass


def test_runs_are_found_by_folder_name_and_unique_start(tmp_path: Path) -> None:
    first, second = _write(tmp_path), _write(tmp_path)
    assert find_run(first.folder).name == first.name
    assert find_run(second.name, tmp_path).name == second.name
    with pytest.raises(RunNotFound, match="fits 2 runs"):
        find_run(first.name[:10], tmp_path)
    with pytest.raises(RunNotFound, match="did you mean"):
        find_run(f"x{first.name}", tmp_path)
    assert [folder.name for folder, _ in list_runs(tmp_path)] == sorted([first.name, second.name])


def test_what_is_no_run_or_too_new_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunNotFound, match=r"no run\.json"):
        Run(tmp_path)
    run = _write(tmp_path)
    write_json(run.folder / "run.json", {**run.about, "schema_version": 99})
    with pytest.raises(SchemaTooNew):
        Run(run.folder)


def test_a_full_disk_after_a_checkpoint_is_a_stated_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with (
        pytest.raises(RunError, match="disk is full"),
        RunWriter.open(CONFIG, runs_dir=tmp_path, resume=False) as writer,
    ):
        (writer.checkpoints("model") / "last").mkdir(parents=True)
        monkeypatch.setattr("nldisco_core.run_writer.write_json", full)
        full()
    (folder,) = tmp_path.iterdir()
    assert read_json(folder / "run.json")["status"] == "running"


def test_a_short_write_without_a_number_is_a_stated_problem() -> None:
    assert "disk is full" in str(writing_failed(Path("run"), OSError("180000 requested and 61312 written")))


def test_a_resumed_run_starts_its_record_anew(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), RunWriter.open(CONFIG, runs_dir=tmp_path, resume=False) as writer:
        (writer.checkpoints("model") / "last").mkdir(parents=True)
        writer.about.update(notes=["once"], fingerprint="f", timings_s={"fit": 1})
        raise KeyboardInterrupt
    with RunWriter.open(CONFIG, runs_dir=tmp_path, resume=True) as writer:
        assert writer.about["fingerprint"] == "f"
        assert not {"notes", "timings_s"} & set(writer.about)
        writer.about["model"] = {"provider": "pca"}


def test_a_damaged_run_is_listed_as_such_and_harms_no_other(tmp_path: Path) -> None:
    run = _write(tmp_path)
    for name, content in (("broken", "{"), ("newer", '{"schema_version": 99}'), ("odd", '{"schema_version": "x"}')):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text(content)
    assert [about["status"] for _, about in list_runs(tmp_path)].count("damaged") == 3
    assert find_run(run.name, tmp_path).name == run.name
    with pytest.raises(RunError, match="damaged"):
        Run(tmp_path / "odd")


def test_a_run_without_a_model_is_damaged(tmp_path: Path) -> None:
    run = _write(tmp_path)
    write_json(run.folder / "run.json", {"status": "finished"})
    with pytest.raises(RunIncomplete, match="names no model"):
        Run(run.folder)


def test_an_empty_name_fits_no_run(tmp_path: Path) -> None:
    _write(tmp_path)
    with pytest.raises(RunNotFound, match="no run is named"):
        find_run("", tmp_path)


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("2026-11-22T14-37-44_maze-reach_topk-sae_74ea", "maze-reach, topk-sae, 2026-11-22 14:37, 74ea"),
        ("what I called it", "what I called it"),
        ("another_name", "another_name"),
    ],
)
def test_title_says_first_what_a_run_is_about(name: str, title: str) -> None:
    assert title_of(name) == title
