"""Sealed runs: until it is opened, such a run holds no activity, no variable and no latent of any test bin."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from nldisco_core.binned import SPLITS, Binned
from nldisco_core.provenance import fingerprint

__all__ = ["identity", "on_validation", "split_fingerprint", "without_test"]


def split_fingerprint(data: Binned) -> str:
    """SHA-256 over sessions, and time, trial and split of every bin: which bins are for fitting and which for testing.

    Unlike `nldisco_core.provenance.fingerprint` it does not depend on the units.
    """
    digest = hashlib.sha256()
    for session in data.sessions:
        digest.update(f"{session.session_id}\0{session.n_bins}\0".encode())
        for array, kind in ((session.start_ns, "<i8"), (session.trial, "<i4"), (session.split, "i1")):
            digest.update(np.ascontiguousarray(array, dtype=kind).data)
    return digest.hexdigest()


def identity(counts: Binned) -> dict[str, Any]:
    """What a plan and a run must agree on: both fingerprints of all bins, and bins per split."""
    return {
        "fingerprint": fingerprint(counts),
        "split_fingerprint": split_fingerprint(counts),
        "n_bins": {name: int((counts.split == code).sum()) for code, name in enumerate(SPLITS)},
    }


def without_test(counts: Binned) -> Binned:
    """The bins of a sealed run: all but those of the test split. Tables of trials keep their rows."""
    return counts.rows(counts.split != SPLITS.index("test"))


def on_validation(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a mapper in a sealed run: what it would score on test bins it scores on validation bins.

    Mappers name the bins they score in ``splits``; one without that setting finds no test bins in the run.

    >>> on_validation({"n_shifts": 99, "splits": ["train", "test"]})
    {'n_shifts': 99, 'splits': ['train', 'validation']}
    """
    if not isinstance(settings.get("splits"), (list, tuple)):
        return dict(settings)
    moved = ["validation" if split == "test" else split for split in settings["splits"]]
    return {**settings, "splits": list(dict.fromkeys(moved))}
