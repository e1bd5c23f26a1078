"""Where downloaded and simulated files are kept, so that nothing is fetched or made twice."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["CACHE_VARIABLE", "cache_folder"]

CACHE_VARIABLE = "NLDISCO_CACHE"
"""Environment variable that names the folder."""


def cache_folder(*parts: str) -> Path:
    """A folder inside the cache; it is not made here.

    The cache is the folder in ``NLDISCO_CACHE``, else ``nldisco`` in ``XDG_CACHE_HOME``, else ``~/.cache/nldisco``.
    """
    named = os.environ.get(CACHE_VARIABLE)
    if named:
        return Path(named).expanduser().joinpath(*parts)
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser().joinpath("nldisco", *parts)
