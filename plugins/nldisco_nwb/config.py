"""Settings of the NWB dataset: where the files are, and what they leave unsaid."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, PositiveFloat

from nldisco_core.config import Config

__all__ = ["NWBConfig"]


class NWBConfig(Config):
    """One NWB file or a folder of them, and a mapping for what the files leave unsaid.

    Attributes
    ----------
    path : a ``.nwb`` file, or a folder that holds some at any depth
    rename : name in the file to the name wanted, for signals; the settings below use the new names
    circular : length of one turn, in the signal's own unit, of signals that wrap
    kinds : kind of signals that the neurodata type does not tell
    physical_units : unit of signals whose file leaves it blank or wrong
    unit_region_column, unit_kind_column : columns of the unit table to take region and kind from
    roi_series : which series of fluorescence is the activity, in files without spike times
    species : for the card, where the file leaves it blank
    """

    path: Path
    rename: dict[str, str] = Field(default_factory=dict)
    circular: dict[str, PositiveFloat] = Field(default_factory=dict)
    kinds: dict[str, Literal["linear", "discrete", "position"]] = Field(default_factory=dict)
    physical_units: dict[str, str] = Field(default_factory=dict)
    unit_region_column: str | None = None
    unit_kind_column: str | None = None
    roi_series: str | None = None
    species: str | None = None
