"""The ledger of a run: who looked at its test split, when and by which plan. Lines are added, never changed."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nldisco_core.errors import RunError
from nldisco_core.runs import Run

__all__ = ["LEDGER", "Opening", "append", "openings", "standing"]

LEDGER = "openings.jsonl"

Opening = Mapping[str, Any]


def append(folder: Path, entry: Mapping[str, Any]) -> None:
    """Add a line to the ledger in a run's folder, with the time and the SHA-256 of the line before, and sync it.

    Raises
    ------
    RunError
        The ledger was changed, or cannot be written.
    """
    lines = _lines(folder)
    stamped = {**entry, "time": datetime.now(UTC).isoformat(timespec="seconds"), "previous": _digest(lines)}
    try:
        with (folder / LEDGER).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(stamped, sort_keys=True) + "\n")
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        raise RunError(f"{folder / LEDGER} cannot be written ({error}); the test split stays closed") from error


def openings(run: Run) -> tuple[Opening, ...]:
    """The openings of a run's test split, first one first; ``finished`` says whether each came to its end.

    Each holds ``opening`` (its number), ``time``, ``kind`` (confirmatory or exploratory), ``why``, ``plan_sha256`` and
    ``plan`` (both null where there was none).

    Raises
    ------
    RunError
        A line was changed or taken out.
    """
    entries = [json.loads(line) for line in _lines(run.folder)]
    finished = {entry["finished"] for entry in entries if "finished" in entry}
    return tuple({**entry, "finished": entry["opening"] in finished} for entry in entries if "opening" in entry)


def standing(run: Run) -> str:
    """What the test split of a run is good for, in one sentence."""
    if run.sealed:
        return "The test split is sealed: every figure is of training and validation bins, and exploratory."
    if not run.about.get("config", {}).get("sealed", False):
        return "The test split was open from the start: everything here is exploratory."
    confirmatory = [entry for entry in openings(run) if entry["kind"] == "confirmatory"]
    if not confirmatory:
        return "The test split was opened without a plan: everything here is exploratory."
    first = confirmatory[-1]
    return (
        f"The test split was opened on {first['time'][:10]} by plan {first['plan_sha256'][:12]}: its "
        f"{len(first['plan']['hypotheses'])} hypotheses are confirmatory, everything else is exploratory."
    )


def _lines(folder: Path) -> list[str]:
    path = folder / LEDGER
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    for number, line in enumerate(lines):
        try:
            previous = json.loads(line)["previous"]
        except (ValueError, KeyError, TypeError):
            previous = None
        if previous != _digest(lines[:number]):
            raise RunError(
                f"{path}, line {number + 1}: it does not follow the line before; the ledger was changed after it was "
                "written, so nothing in this run counts as planned. Restore the file from a copy"
            )
    return lines


def _digest(lines: list[str]) -> str:
    return hashlib.sha256(lines[-1].encode()).hexdigest() if lines else ""
