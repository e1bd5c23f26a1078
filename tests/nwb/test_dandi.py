"""Fetching from the archive: against a local server that speaks its interface, cuts connections and tells lies."""

from __future__ import annotations

import hashlib
import json
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlparse

import numpy as np
import pytest
from nldisco_datasets.maze_reach import MazeReach, MazeReachConfig
from nldisco_nwb import dandi
from nldisco_nwb.dandi import Archive, Asset, fetch_assets
from nldisco_nwb.maze_config import MCMazeConfig
from nldisco_nwb.mc_maze import MCMaze

from nldisco_core.errors import DatasetUnavailable
from nldisco_core.interfaces import Downloads

NAMES = {
    "jenkins-20090912": "sub-Jenkins/sub-Jenkins_ses-20090912_behavior+ecephys.nwb",
    "nitschke-20090812": "sub-Nitschke/sub-Nitschke_ses-20090812_behavior+ecephys.nwb",
    "nitschke-20090819": "sub-Nitschke/sub-Nitschke_ses-20090819_behavior+ecephys.nwb",
    "nitschke-20100101": "sub-Nitschke/sub-Nitschke_ses-20100101_behavior+ecephys.nwb",
}


@dataclass
class Fake:
    """An archive of one dandiset.

    Attributes
    ----------
    cut_after : bytes after which each of the next answers breaks off
    checksum : what it states instead of the truth
    parts : whether it serves parts of files
    asked : (path, Range) of every request
    """

    files: dict[str, bytes]
    cut_after: list[int] = field(default_factory=list)
    checksum: str | None = None
    digest: str = "dandi:sha2-256"
    parts: bool = True
    missing: str = ""
    asked: list[tuple[str, str]] = field(default_factory=list)
    address: str = ""

    def downloads(self) -> list[str]:
        return [span for path, span in self.asked if path.endswith("/download/")]


class Handler(BaseHTTPRequestHandler):
    fake: Fake

    def log_message(self, *_: Any) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        url, fake = urlparse(self.path), self.fake
        fake.asked.append((url.path, self.headers.get("Range", "")))
        parts = url.path.strip("/").split("/")
        names = list(fake.files)
        if parts[:2] == ["api", "dandisets"] and len(parts) == 3:
            self.answer({"identifier": parts[2], "most_recent_published_version": {"version": "0.1"}})
        elif parts[:2] == ["api", "dandisets"]:
            page = int(parse_qs(url.query).get("page", ["1"])[0])  # two files a page
            shown = names[2 * page - 2 : 2 * page]
            following = f"{fake.address}{url.path}?page={page + 1}" if 2 * page < len(names) else None
            results = [
                {"asset_id": str(names.index(name)), "path": name, "size": len(fake.files[name])} for name in shown
            ]
            self.answer({"count": len(names), "next": following, "results": results})
        elif fake.missing and parts[2] == fake.missing:
            self.send_error(404)
        elif len(parts) == 3:
            content = fake.files[names[int(parts[2])]]
            truth = hashlib.sha256(content).hexdigest()
            if fake.digest == "dandi:dandi-etag":
                truth = f"{hashlib.md5(hashlib.md5(content).digest()).hexdigest()}-1"
            self.answer({"digest": {fake.digest: fake.checksum or truth}})
        else:
            self.send_file(fake.files[names[int(parts[2])]])

    def answer(self, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def send_file(self, content: bytes) -> None:
        span = self.headers.get("Range", "") if self.fake.parts else ""
        first, _, last = span.removeprefix("bytes=").partition("-")
        start = int(first) if span else 0
        body = content[start : int(last) + 1 if last else None]
        self.send_response(206 if span else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        cut = self.fake.cut_after.pop(0) if self.fake.cut_after else None
        self.wfile.write(body[:cut])
        if cut is not None:
            self.connection.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[..., Fake]]:
    """``serve(**attributes)``: a running archive; the cache is a folder of the test."""
    monkeypatch.setenv("NLDISCO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(dandi, "ATTEMPTS", 3)
    servers = []

    def start(**attributes: Any) -> Fake:
        rng = np.random.default_rng(0)
        files = attributes.pop("files", None) or {name: rng.bytes(300_000) for name in NAMES.values()}
        fake = Fake(files=files, **attributes)
        server = ThreadingHTTPServer(("127.0.0.1", 0), type("Own", (Handler,), {"fake": fake}))
        fake.address = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        servers.append(server)
        return fake

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def dataset(fake: Fake, **settings: Any) -> MCMaze:
    return MCMaze(MCMazeConfig(archive=f"{fake.address}/api", **settings))


def told() -> tuple[list[tuple[int, int, str]], Callable[[int, int, str], None]]:
    seen: list[tuple[int, int, str]] = []
    return seen, lambda *progress: seen.append(progress)


def whole_files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*.nwb"))


def test_the_first_session_of_an_animal_arrives_whole_under_its_name(serve: Any, tmp_path: Path) -> None:
    fake = serve()
    seen, tell = told()
    data = dataset(fake, subject="nitschke")
    assert isinstance(data, Downloads)
    (path,) = data.fetch(1, tell)
    assert path == tmp_path / "cache" / "dandi" / "000070" / NAMES["nitschke-20090812"]
    assert path.read_bytes() == fake.files[NAMES["nitschke-20090812"]]
    assert seen[-1] == (300_000, 300_000, NAMES["nitschke-20090812"])
    assert data.session_ids() == ("nitschke-20090812",)


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        (None, ["jenkins-20090912", "nitschke-20090812", "nitschke-20090819"]),  # those of the tutorial
        (2, ["jenkins-20090912", "nitschke-20090812"]),
        (["20100101"], ["nitschke-20100101"]),
        (["nitschke-20090819", "jenkins-20090912"], ["nitschke-20090819", "jenkins-20090912"]),
    ],
)
def test_sessions_are_chosen_by_number_by_id_or_as_the_tutorial_does(serve: Any, wanted: Any, names: list[str]) -> None:
    paths = dataset(serve()).fetch(wanted, told()[1])
    assert [path.name for path in paths] == [NAMES[name].split("/")[1] for name in names]


def test_an_unknown_session_names_the_nearest(serve: Any) -> None:
    with pytest.raises(DatasetUnavailable, match=r"did you mean .*'nitschke-20090812'"):
        dataset(serve()).fetch(["nitschke-20090813"], told()[1])


def test_nothing_is_downloaded_twice(serve: Any) -> None:
    fake = serve()
    first = dataset(fake).fetch(1, told()[1])
    made = first[0].stat().st_mtime_ns
    assert dataset(fake).fetch(1, told()[1]) == first
    assert len(fake.downloads()) == 1
    assert first[0].stat().st_mtime_ns == made


def test_a_cut_connection_goes_on_where_it_broke(serve: Any) -> None:
    fake = serve(cut_after=[100_000, 50_000])
    (path,) = dataset(fake).fetch(1, told()[1])
    assert path.read_bytes() == fake.files[NAMES["jenkins-20090912"]]
    starts = [int(span.removeprefix("bytes=").split("-")[0]) for span in fake.downloads()[1:]]
    assert starts == sorted(starts)
    assert starts[-1] > 0


def test_what_arrived_before_giving_up_is_kept_and_no_file_stands_under_its_name(serve: Any, tmp_path: Path) -> None:
    fake = serve(cut_after=[70_000, 10_000, 10_000])
    with pytest.raises(DatasetUnavailable, match=r"broke 3 times.*of 300000 bytes here; fetch again"):
        dataset(fake).fetch(1, told()[1])
    assert whole_files(tmp_path) == []
    (partial,) = tmp_path.rglob("*.partial")
    arrived = partial.stat().st_size
    assert 0 < arrived < 300_000
    (path,) = dataset(fake).fetch(1, told()[1])
    assert fake.downloads()[-1] == f"bytes={arrived}-"
    assert path.read_bytes() == fake.files[NAMES["jenkins-20090912"]]
    assert not list(tmp_path.rglob("*.partial"))


def test_a_server_without_parts_starts_over(serve: Any) -> None:
    fake = serve(cut_after=[100_000], parts=False)
    (path,) = dataset(fake).fetch(1, told()[1])
    assert path.read_bytes() == fake.files[NAMES["jenkins-20090912"]]


@pytest.mark.parametrize("digest", ["dandi:sha2-256", "dandi:dandi-etag"])
def test_a_wrong_checksum_removes_the_file_and_says_so(serve: Any, tmp_path: Path, digest: str) -> None:
    fake = serve(checksum="0" * 32, digest=digest)
    with pytest.raises(DatasetUnavailable, match=rf"{digest} is .*the archive states 0000"):
        dataset(fake).fetch(1, told()[1])
    assert whole_files(tmp_path) == []
    assert not list(tmp_path.rglob("*.partial"))
    fake.checksum = None
    assert len(dataset(fake).fetch(1, told()[1])) == 1


def test_an_archive_without_checksum_is_not_trusted(serve: Any) -> None:
    with pytest.raises(DatasetUnavailable, match="states no checksum"):
        dataset(serve(digest="dandi:other")).fetch(1, told()[1])


def test_damage_to_what_had_arrived_is_found(serve: Any, tmp_path: Path) -> None:
    fake = serve(cut_after=[70_000, 1, 1])
    with pytest.raises(DatasetUnavailable):
        dataset(fake).fetch(1, told()[1])
    (partial,) = tmp_path.rglob("*.partial")
    content = bytearray(partial.read_bytes())
    content[10] ^= 255
    partial.write_bytes(content)
    with pytest.raises(DatasetUnavailable, match="removed, fetch again"):
        dataset(fake).fetch(1, told()[1])
    assert len(dataset(fake).fetch(1, told()[1])) == 1


def test_a_missing_asset_is_one_line(serve: Any, tmp_path: Path) -> None:
    with pytest.raises(DatasetUnavailable, match="404"):
        dataset(serve(missing="0")).fetch(1, told()[1])
    assert whole_files(tmp_path) == []


def test_too_little_room_is_said_before_anything_is_fetched(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = serve()
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 9, 1))  # type: ignore[attr-defined]
    with pytest.raises(DatasetUnavailable, match=r"GB are needed in .* are free.*NLDISCO_CACHE"):
        dataset(fake).fetch(1, told()[1])
    assert fake.downloads() == []


def test_a_disk_that_fills_up_keeps_what_arrived(serve: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    fake = serve()
    with monkeypatch.context() as patch:
        patch.setattr(dandi, "_go_on", full)
        with pytest.raises(DatasetUnavailable, match="no room is left"):
            dataset(fake).fetch(1, told()[1])
    assert whole_files(tmp_path) == []
    assert len(dataset(fake).fetch(1, told()[1])) == 1


def test_a_file_that_would_lie_outside_the_folder_is_refused(tmp_path: Path) -> None:
    asset = Asset(path="../../evil.nwb", size=1, url="http://127.0.0.1:9/")
    with pytest.raises(DatasetUnavailable, match="no path inside"):
        fetch_assets([asset], tmp_path, told()[1])


def closed_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port


def test_without_a_network_the_command_says_what_to_fetch_and_where_to_put_it(
    nldisco: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("NLDISCO_CACHE", str(tmp_path))
    archive = f'dataset.archive="http://127.0.0.1:{closed_port()}/api"'
    outcome = nldisco("datasets", "get", "mc-maze", "--subject", "Nitschke", "--sessions", "1", "--set", archive)
    assert outcome.code == 1
    assert "nitschke-20090812" in outcome.err
    assert "dandiset/000070" in outcome.err
    assert str(tmp_path / "dandi" / "000070") in outcome.err
    assert outcome.err.count("\n") == 1


def test_an_archive_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dandi, "ANSWER_WITHIN_S", 0.3)
    assert 2 * 0.3 < 20
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        begun = time.monotonic()
        with pytest.raises(DatasetUnavailable, match=r"cannot be reached.*here is how"):
            next(Archive(f"http://127.0.0.1:{silent.getsockname()[1]}", "000070").assets("here is how"))
        assert time.monotonic() - begun < 10  # thirty times what was allowed


def test_a_name_that_is_looked_up_for_ever_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dandi, "ANSWER_WITHIN_S", 0.2)
    monkeypatch.setattr(dandi, "_read", lambda _: time.sleep(3) or b"{}")
    with pytest.raises(DatasetUnavailable, match=r"no answer within 0\.2 s"):
        next(Archive("http://somewhere", "000070").assets(""))


def test_the_command_fetches_and_prints_where_the_files_lie(serve: Any, nldisco: Any, tmp_path: Path) -> None:
    fake = serve()
    archive = f'dataset.archive="{fake.address}/api"'
    outcome = nldisco("datasets", "get", "mc-maze", "--sessions", "20090819,nitschke-20100101", "--set", archive)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.split() == [
        str(tmp_path / "cache" / "dandi" / "000070" / NAMES[name])
        for name in ("nitschke-20090819", "nitschke-20100101")
    ]


def test_datasets_that_are_not_downloaded_say_so(nldisco: Any) -> None:
    outcome = nldisco("datasets", "get", "place-cells-1d")
    assert outcome.code == 1
    assert "nothing to fetch" in outcome.err


def test_a_session_is_read_over_the_network_without_its_lfp_and_unread_signals(
    serve: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dandi, "REMOTE_BLOCK", 1 << 16)
    (path,) = MazeReach(MazeReachConfig(folder=tmp_path, n_trials=60, n_units=4, n_mazes=2)).files()
    fake = serve(files={NAMES["jenkins-20090912"]: path.read_bytes()})
    session = dataset(fake, stream=True).load("jenkins-20090912")
    fetched = len(set(fake.downloads())) << 16
    assert fetched < 0.2 * path.stat().st_size
    local = MCMaze(MCMazeConfig(path=path))
    same = local.load(local.session_ids()[0])
    assert session.spike_times is not None
    assert same.spike_times is not None
    np.testing.assert_array_equal(session.spike_times.flat(), same.spike_times.flat())
    np.testing.assert_array_equal(session.signals["hand"].values, same.signals["hand"].values)
    assert not (tmp_path / "cache").exists()
