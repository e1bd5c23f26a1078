"""Files of the DANDI archive: listed, fetched with resume and checksum, or read in parts over the network."""

from __future__ import annotations

import errno
import hashlib
import http.client
import io
import json
import shutil
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, Final

import h5py
from filelock import FileLock

from nldisco_core.errors import DatasetUnavailable
from nldisco_core.interfaces import Progress

__all__ = ["ARCHIVE", "Archive", "Asset", "fetch_assets", "remote_file"]

ARCHIVE: Final = "https://api.dandiarchive.org/api"

ANSWER_WITHIN_S = 15.0  # of a question to the archive, looking up its name included
STALLED_S = 30.0  # without a byte of a file
ATTEMPTS = 5
CHUNK = 1 << 20
REMOTE_BLOCK, REMOTE_BLOCKS = 1 << 20, 64

_FAILURES = (OSError, http.client.HTTPException)  # URLError, HTTPError and timeouts are OSErrors


@dataclass(frozen=True, kw_only=True)
class Asset:
    """One file of a dandiset.

    Attributes
    ----------
    path : inside the dandiset
    size : bytes
    url : of what the archive says about it; its content is at ``<url>download/``
    """

    path: str
    size: int
    url: str


@dataclass(frozen=True, kw_only=True)
class _Checksum:
    algorithm: str
    value: str


class Archive:
    """One dandiset of an archive: its last published version, or its draft where none was published."""

    def __init__(self, address: str, dandiset: str) -> None:
        self._address, self._dandiset = address.rstrip("/"), dandiset

    def assets(self, otherwise: str) -> Iterator[Asset]:
        """Every file of the dandiset.

        Parameters
        ----------
        otherwise : what the user can do instead, for the message when the archive cannot be reached

        Raises
        ------
        DatasetUnavailable
            The archive does not answer within 15 s, or not as expected.
        """
        base = f"{self._address}/dandisets/{self._dandiset}"
        about = _answer(f"{base}/", otherwise)
        version = (about.get("most_recent_published_version") or {}).get("version", "draft")
        page: str | None = f"{base}/versions/{version}/assets/?page_size=1000"
        while page:
            listed = _answer(page, otherwise)
            for entry in listed.get("results", ()):
                url = f"{self._address}/assets/{entry['asset_id']}/"
                yield Asset(path=str(entry["path"]), size=int(entry["size"]), url=url)
            page = listed.get("next")


def fetch_assets(assets: Sequence[Asset], folder: Path, progress: Progress) -> tuple[Path, ...]:
    """Download what is not there yet; a file has its name only when it is whole and its checksum is right.

    Parameters
    ----------
    progress : told bytes done, bytes in all, and the file at hand

    Raises
    ------
    DatasetUnavailable
        No room, no connection, or a checksum that is not the archive's. What arrived is kept and gone on with the next
        time, unless its checksum was wrong.
    """
    targets = [folder.joinpath(*_safe(asset.path)) for asset in assets]
    wanted = [(asset, target) for asset, target in zip(assets, targets, strict=True) if not _is_there(asset, target)]
    _require_room(wanted, folder)
    total, before = sum(asset.size for asset, _ in wanted), 0
    for asset, target in wanted:
        done = before

        def tell(own: int, asset: Asset = asset, done: int = done) -> None:
            progress(done + own, total, asset.path)

        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{target}.lock"):
                if not _is_there(asset, target):
                    _fetch(asset, target, tell)
        except OSError as error:
            reason = "no room is left" if error.errno == errno.ENOSPC else str(error)
            raise DatasetUnavailable(
                f"{asset.path}: cannot be written to {target.parent} ({reason}); free some, or set NLDISCO_CACHE to "
                "another folder, and fetch again: what arrived is kept"
            ) from error
        before += asset.size
    return tuple(targets)


def remote_file(asset: Asset) -> h5py.File:
    """The HDF5 file behind an asset, of which only what is read travels over the network."""
    return h5py.File(_RemoteFile(asset), "r")


def _fetch(asset: Asset, target: Path, tell: Callable[[int], None]) -> None:
    checksum = _checksum(asset)
    partial = target.with_name(f"{target.name}.partial")
    reason: object = "nothing arrived"
    for attempt in range(ATTEMPTS):
        time.sleep(0.25 * (2**attempt - 1))
        try:
            _go_on(asset, partial, tell)
        except urllib.error.HTTPError as error:
            error.close()
            raise DatasetUnavailable(f"{asset.path}: the archive answers {error.code} {error.reason}") from error
        except _FAILURES as error:
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT):
                raise
            reason = error
        if partial.is_file() and partial.stat().st_size >= asset.size:
            break
    else:
        arrived = partial.stat().st_size if partial.is_file() else 0
        raise DatasetUnavailable(
            f"{asset.path}: the connection broke {ATTEMPTS} times ({reason}) with {arrived} of {asset.size} bytes "
            "here; fetch again to go on from there"
        )
    found = _digest(partial, checksum.algorithm)
    if found != checksum.value:
        partial.unlink()
        raise DatasetUnavailable(
            f"{asset.path}: {checksum.algorithm} is {found}, the archive states {checksum.value}; removed, fetch again"
        )
    partial.replace(target)


def _go_on(asset: Asset, partial: Path, tell: Callable[[int], None]) -> None:
    """Append what is missing, from the start where the server gives no parts."""
    here = partial.stat().st_size if partial.is_file() else 0
    if here > asset.size:
        partial.unlink()
        here = 0
    if here == asset.size and here:
        return
    request = urllib.request.Request(f"{asset.url}download/", headers={"Range": f"bytes={here}-"} if here else {})
    with urllib.request.urlopen(request, timeout=STALLED_S) as answer:
        if answer.status != http.HTTPStatus.PARTIAL_CONTENT:
            here = 0
        with partial.open("ab" if here else "wb") as file:
            while chunk := answer.read(CHUNK):
                file.write(chunk)
                here += len(chunk)
                tell(min(here, asset.size))


def _checksum(asset: Asset) -> _Checksum:
    digests = _answer(asset.url, asset.path).get("digest") or {}
    for algorithm in ("dandi:sha2-256", "dandi:dandi-etag"):
        if algorithm in digests:
            return _Checksum(algorithm=algorithm, value=str(digests[algorithm]))
    raise DatasetUnavailable(f"{asset.path}: the archive states no checksum, so nobody could tell a whole file")


def _digest(path: Path, algorithm: str) -> str:
    """SHA-256 of a file, or the archive's etag: MD5 of the MD5s of its parts of 64 MiB, and how many there are."""
    with path.open("rb") as file:
        if algorithm == "dandi:sha2-256":
            return hashlib.file_digest(file, "sha256").hexdigest()
        parts = list(iter(lambda: file.read(64 << 20), b""))
    inner = b"".join(hashlib.md5(part, usedforsecurity=False).digest() for part in parts)
    return f"{hashlib.md5(inner, usedforsecurity=False).hexdigest()}-{len(parts)}"


def _answer(url: str, about: str) -> dict[str, Any]:
    """What the archive answers, as JSON."""
    try:
        content = json.loads(_within(ANSWER_WITHIN_S, lambda: _read(url)))
    except urllib.error.HTTPError as error:
        error.close()
        raise DatasetUnavailable(f"the archive answers {error.code} {error.reason} for {url}; {about}") from error
    except (*_FAILURES, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise DatasetUnavailable(f"the archive cannot be reached at {url} ({reason}); {about}") from error
    if not isinstance(content, dict):
        raise DatasetUnavailable(f"{url} is no archive of the expected kind; {about}")
    return content


def _read(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=ANSWER_WITHIN_S) as answer:
        content: bytes = answer.read()
    return content


def _within(seconds: float, work: Callable[[], bytes]) -> bytes:
    """The result of `work`, or `TimeoutError`: looking up a name can hang longer than any timeout of a connection."""
    outcome: list[bytes | BaseException] = []

    def run() -> None:
        try:
            outcome.append(work())
        except (*_FAILURES, ValueError) as error:
            outcome.append(error)

    worker = threading.Thread(target=run, daemon=True)
    worker.start()
    worker.join(seconds)
    if not outcome:
        raise TimeoutError(f"no answer within {seconds:g} s")
    if isinstance(outcome[0], BaseException):
        raise outcome[0]
    return outcome[0]


def _is_there(asset: Asset, target: Path) -> bool:
    return target.is_file() and target.stat().st_size == asset.size


def _safe(path: str) -> tuple[str, ...]:
    parts = PurePosixPath(path).parts
    if not parts or PurePosixPath(path).is_absolute() or ".." in parts:
        raise DatasetUnavailable(f"the archive names a file {path!r}, which is no path inside a folder")
    return parts


def _require_room(wanted: Sequence[tuple[Asset, Path]], folder: Path) -> None:
    missing = 0
    for asset, target in wanted:
        partial = target.with_name(f"{target.name}.partial")
        missing += asset.size - (partial.stat().st_size if partial.is_file() else 0)
    existing = next((place for place in (folder, *folder.parents) if place.is_dir()), Path())
    free = shutil.disk_usage(existing).free
    if missing > free:
        raise DatasetUnavailable(
            f"{missing / 1e9:.1f} GB are needed in {folder} and {free / 1e9:.1f} GB are free; free some, or set "
            "NLDISCO_CACHE to a folder on another disk"
        )


class _RemoteFile(io.RawIOBase):
    """A file that is read over the network in blocks, the last ones of which are kept."""

    def __init__(self, asset: Asset) -> None:
        self._asset, self._at = asset, 0
        self._block = lru_cache(REMOTE_BLOCKS)(self._fetch_block)

    def readable(self) -> bool:
        """It can be read."""
        return True

    def seekable(self) -> bool:
        """It can be read anywhere."""
        return True

    def tell(self) -> int:
        """Where the next byte is read."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a byte, from the start, from here or from the end."""
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._asset.size}[whence]
        self._at = origin + offset
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer as far as the file goes."""
        view = memoryview(buffer).cast("B")
        filled = 0
        while filled < len(view) and self._at < self._asset.size:
            number, offset = divmod(self._at, REMOTE_BLOCK)
            piece = self._block(number)[offset : offset + len(view) - filled]
            view[filled : filled + len(piece)] = piece
            filled += len(piece)
            self._at += len(piece)
        return filled

    def _fetch_block(self, number: int) -> bytes:
        first = number * REMOTE_BLOCK
        last = min(first + REMOTE_BLOCK, self._asset.size) - 1
        request = urllib.request.Request(f"{self._asset.url}download/", headers={"Range": f"bytes={first}-{last}"})
        with urllib.request.urlopen(request, timeout=STALLED_S) as answer:
            if answer.status != http.HTTPStatus.PARTIAL_CONTENT:
                raise OSError("the server gives no parts of files; fetch the whole file instead")
            content: bytes = answer.read()
        if len(content) != last - first + 1:
            raise OSError(f"{len(content)} bytes arrived of {last - first + 1}")
        return content
