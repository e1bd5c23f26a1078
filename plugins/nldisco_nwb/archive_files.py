"""The files of one dandiset: those that are here, those of the archive, and how to get the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nldisco_core.cache import cache_folder
from nldisco_core.errors import DatasetUnavailable, InvalidRecording, unknown_name
from nldisco_core.interfaces import Progress
from nldisco_nwb.dandi import Archive, Asset, fetch_assets

__all__ = ["ArchiveFiles"]


@dataclass(frozen=True, kw_only=True)
class ArchiveFiles:
    """Sessions of a public dataset as files.

    Attributes
    ----------
    name : of the dataset
    dandiset, archive : where the files come from
    path : a file or folder of the user's; None is the cache
    subject : only files of this animal
    id_of : id of the session in a file of this name, ``<subject>-…``; None for other files
    options : what has to stand behind the name on a command line
    usual : ids that are fetched when nothing else is said, in that order; all where there are none
    """

    name: str
    dandiset: str
    archive: str
    path: Path | None
    subject: str | None
    id_of: Callable[[str], str | None]
    usual: tuple[str, ...] = ()
    options: str = ""

    @property
    def folder(self) -> Path:
        """Where fetched files lie."""
        return cache_folder("dandi", self.dandiset)

    def local(self) -> dict[str, Path]:
        """Files that are here by session id; opens none. A file that the user names is taken whatever it is called.

        Raises
        ------
        DatasetUnavailable
            There are none; the message says what to fetch and where to put it.
        InvalidRecording
            Two files of one session.
        """
        base = self.folder if self.path is None else self.path.expanduser()
        if base.is_file():
            return {self.id_of(base.name) or base.stem: base}
        every = sorted(file for pattern in ("*.nwb", "*.h5") for file in base.rglob(pattern)) if base.is_dir() else []
        found: dict[str, Path] = {}
        for file in every:
            session_id = self.id_of(file.name)
            if session_id is None or not self._wanted(session_id):
                continue
            if session_id in found:
                raise InvalidRecording(f"{found[session_id]} and {file} hold the same session; keep one of them")
            found[session_id] = file
        if not found:
            raise DatasetUnavailable(f"{base} holds no recording of {self.name}; {self._how_to_get()}")
        return dict(sorted(found.items()))

    def remote(self, sessions: Sequence[str] | int | None) -> dict[str, Asset]:
        """Files of the archive by session id: those named, the first so many of the usual and then of the others, or
        the usual ones.
        """
        assets: dict[str, Asset] = {}
        for asset in Archive(self.archive, self.dandiset).assets(self._by_hand(sessions)):
            session_id = self.id_of(asset.path.rsplit("/", 1)[-1])
            if session_id is not None and self._wanted(session_id):
                assets[session_id] = asset
        usual = [session_id for session_id in self.usual if session_id in assets]
        if sessions is None:
            return {session_id: assets[session_id] for session_id in usual or sorted(assets)}
        if isinstance(sessions, int):
            others = sorted(set(assets) - set(usual))
            return {session_id: assets[session_id] for session_id in [*usual, *others][:sessions]}
        return {session_id: assets[session_id] for each in sessions for session_id in self._full_ids(each, assets)}

    def fetch(self, sessions: Sequence[str] | int | None, progress: Progress) -> tuple[Path, ...]:
        """Download what is not here yet; see `nldisco_nwb.dandi.fetch_assets`."""
        return fetch_assets(list(self.remote(sessions).values()), self.folder, progress)

    def _wanted(self, session_id: str) -> bool:
        return self.subject in (None, session_id.split("-")[0])

    def _full_ids(self, wanted: str, assets: Mapping[str, Asset]) -> list[str]:
        fitting = [name for name in assets if wanted.lower() in (name, name.partition("-")[2])]
        if not fitting:
            raise DatasetUnavailable(f"{self.name}: {unknown_name('session', wanted, assets)}")
        return fitting

    def _how_to_get(self) -> str:
        given = self.options + ("" if self.subject is None else f" --subject {self.subject}")
        return (
            f"fetch some with `nldisco datasets get {self.name}{given} --sessions 1`, or put files of DANDI "
            f"{self.dandiset} into {self.folder} (or name their folder with --path)"
        )

    def _by_hand(self, sessions: Sequence[str] | int | None) -> str:
        usual = list(self.usual) or ["the files"]
        wanted = usual[:sessions] if isinstance(sessions, int) or sessions is None else sessions
        return (
            f"fetch {', '.join(wanted)} of https://dandiarchive.org/dandiset/{self.dandiset} on a machine that reaches "
            f"it (sub-<subject>_ses-<session>_….nwb) and put the files into {self.folder}"
        )
