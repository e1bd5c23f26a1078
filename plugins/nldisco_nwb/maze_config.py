"""Settings of the MC_Maze dataset: which files, and which trials are kept."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from nldisco_core.config import Config
from nldisco_nwb.dandi import ARCHIVE

__all__ = ["CleaningConfig", "MCMazeConfig"]


class CleaningConfig(Config):
    """Steps of the public tutorial's cleaning, in this order; each is skipped where the file lacks its columns.

    Attributes
    ----------
    typed : drop trials whose `trial_type` is 0
    valid : drop those that were discarded, without success, or marked as not valid
    familiar : drop those of novel mazes
    regular : drop those whose `trial_version` is 3 or more
    min_after_onset_s : drop those that end sooner than this after the movement begins (s); None keeps them
    correct : drop those whose reach does not fit their condition's others
    """

    typed: bool = True
    valid: bool = True
    familiar: bool = True
    regular: bool = True
    min_after_onset_s: float | None = Field(default=0.8, ge=0, allow_inf_nan=False)
    correct: bool = True


class MCMazeConfig(Config):
    """Which recordings of MC_Maze, and where they are.

    Attributes
    ----------
    path : one file, or a folder that holds some at any depth: NWB files of DANDI 000070 or of the benchmark, or
        ``.h5`` files made by brainsets; None: what ``nldisco datasets get mc-maze`` put into the cache
    dandiset : 000070 is the whole set, the others are the benchmark's versions (full, large, medium, small)
    subject : only sessions of this animal
    cleaning : which trials are dropped
    stream : read from the archive what is needed, without downloading whole files
    archive : address of the archive's interface
    """

    path: Path | None = None
    dandiset: Literal["000070", "000128", "000138", "000139", "000140"] = "000070"
    subject: Literal["jenkins", "nitschke"] | None = None
    cleaning: CleaningConfig = CleaningConfig()
    stream: bool = False
    archive: str = ARCHIVE
