"""The bundled recording: head-direction cells of a mouse, with its heading and position."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from nldisco_core.errors import DatasetUnavailable, unknown_name
from nldisco_core.interfaces import Dataset, DatasetCard
from nldisco_core.plugins import make
from nldisco_core.session import Session

__all__ = ["BUNDLED", "SESSION_ID", "HeadDirection"]

SESSION_ID = "A2929-200711"
BUNDLED = Path(__file__).with_name("data") / f"head_direction_{SESSION_ID}.nwb"

_CARD = DatasetCard(
    title="Head-direction cells of a mouse, asleep and awake (A2929-200711)",
    species="mouse (Mus musculus)",
    area="anterodorsal nucleus of the thalamus (ADN, 7 units) and hippocampal CA1 (8 units)",
    licence="MIT, Copyright (c) pynapple authors",
    citation=(
        "Viejo G, Levenstein D, Skromne Carrasco S, Mehrotra D, Mahallati S, Vite GR, Denny H, Sjulson L, "
        "Battaglia FP, Peyrache A. Pynapple, a toolbox for data analysis in neuroscience. eLife 2023;12:RP85786, "
        "https://doi.org/10.7554/eLife.85786"
    ),
    source=(
        "source distribution of pynapple 0.11.4 on PyPI: tests/nwbfilestest/neurosuite/pynapplenwb/A2929-200711.nwb"
    ),
    sizes={"sessions": 1, "units": 15, "spikes": 98_794},
    left_out=(
        "height (Position/y); electrode table and device texts, which the source leaves blank; "
        "two interval tables that repeat the extent of the tracking and of sleep"
    ),
    description=(
        "20 minutes: sleep 0-600 s with 594 ripples, wake 600-1,200 s with tracking at 120 Hz from 670.6 s on. "
        "Heading (rad), two tilts of the head (rad) and horizontal position (unit not stated by the source, probably "
        "m). No trials."
    ),
    defaults={"bin.epoch": "wake", "bin.signals": ["head_direction", "position"]},
)

_SETTINGS = {
    "path": str(BUNDLED),
    "rename": {"ry": "head_direction", "rx": "tilt_x", "rz": "tilt_z", "Position": "position"},
    "physical_units": {"head_direction": "rad", "tilt_x": "rad", "tilt_z": "rad"},
}


class HeadDirection:
    """One session of 15 units (ADN and CA1) with ``head_direction``, ``position``, ``tilt_x`` and ``tilt_z``."""

    def card(self) -> DatasetCard:
        """Title, species, area, licence, citation, source, sizes and what was left out."""
        return _CARD

    def session_ids(self) -> Sequence[str]:
        """The one session."""
        return (SESSION_ID,)

    def load(self, session_id: str) -> Session:
        """The session, read by whichever plugin offers the dataset ``nwb``."""
        if session_id != SESSION_ID:
            raise DatasetUnavailable(f"head-direction: {unknown_name('session', session_id, self.session_ids())}")
        reader: Dataset = make("dataset", "nwb", _SETTINGS)
        return replace(reader.load(BUNDLED.stem), session_id=SESSION_ID)
