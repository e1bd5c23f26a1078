"""Simulated calcium traces of a worm's neurons under labelled stimuli, with known responders."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field
from scipy.signal import lfilter

from nldisco_core.config import Config
from nldisco_core.errors import DatasetUnavailable, unknown_name
from nldisco_core.interfaces import DatasetCard
from nldisco_core.recovery import FeatureTruth
from nldisco_core.session import IntervalTable, Session, Signal, Traces

__all__ = ["STIMULI", "WormStimuli", "WormStimuliConfig"]

FRAME_HZ = 2.67
N_FRAMES = 4979
N_REPEATS, ON_FRAMES, BEFORE_FRAMES = 6, 80, 40
STIMULI = ("10 mM CuSO4", "control", "500 mM NaCl", "1 mM quinine", "food")
"""Each is presented six times for 80 frames; the control changes the fluid and nothing else."""

NONE = "none"
FLOW = "fluid change"
INDICATOR_TAU_S = 2.0
DRIFT_TAU_S, DRIFT_SD = 300.0, 0.5
SPONTANEOUS_HZ, SPONTANEOUS_SIZE = 0.02, 1.5

Floats = NDArray[np.float64]


class WormStimuliConfig(Config):
    """Size and difficulty of the simulation.

    Attributes
    ----------
    seed : of everything that is drawn: order of stimuli, responders, traces
    responders_per_stimulus : neurons that respond to each stimulus; a neuron may respond to several
    response : mean rise of a responder's trace, in standard deviations of the noise
    """

    seed: int = Field(default=0, ge=0)
    n_units: int = Field(default=190, ge=1)
    responders_per_stimulus: int = Field(default=12, ge=1)
    response: float = Field(default=2.0, ge=0, allow_inf_nan=False)


class WormStimuli:
    """One session of 4,979 frames at 2.67 Hz with five stimuli, each on for 480 frames in all."""

    def __init__(self, config: WormStimuliConfig) -> None:
        self._config = config

    def card(self) -> DatasetCard:
        """What is simulated, and settings that suit it."""
        return DatasetCard(
            title="Simulated calcium traces of a worm under labelled stimuli",
            species="simulated",
            area="none",
            licence="BSD-3-Clause",
            citation="none: simulated here",
            source="nldisco_datasets.worm_stimuli",
            sizes={"sessions": 1, "units": self._config.n_units, "frames": N_FRAMES},
            description=(
                f"{N_FRAMES} frames at {FRAME_HZ} Hz; {', '.join(STIMULI)}, each six times for 80 frames. Some neurons "
                "respond to one stimulus or several, some to any change of fluid; slow drift, spontaneous transients."
            ),
            defaults={"bin.bin_s": 1 / FRAME_HZ, "bin.trials": "trials", "preprocess.normalise": "z-score"},
        )

    def session_ids(self) -> Sequence[str]:
        """The one session, named by its seed."""
        return (f"worm-stimuli-{self._config.seed}",)

    def load(self, session_id: str) -> Session:
        """The simulated session.

        ``trials`` has a row per presentation with its ``stimulus`` and the times ``on_s`` and ``off_s``; the signal
        ``stimulus`` names the one that is on, or ``none``. ``truth["features"]`` holds the stimuli, and any change of
        fluid, as the indicator sees them, and their weights on the neurons.
        """
        if session_id not in self.session_ids():
            raise DatasetUnavailable(f"worm-stimuli: {unknown_name('session', session_id, self.session_ids())}")
        order_rng, unit_rng, trace_rng = map(np.random.default_rng, np.random.SeedSequence(self._config.seed).spawn(3))
        order = np.concatenate([order_rng.permutation(len(STIMULI)) for _ in range(N_REPEATS)])
        first_frame = np.rint(np.arange(len(order) + 1) * N_FRAMES / len(order)).astype(np.int64)
        shown = _stimulus_of_frame(order, first_frame)
        truth = _truth(shown, _mixing(self._config, unit_rng))
        traces = truth.activity @ truth.mixing + _background(self._config.n_units, trace_rng)
        ids = [f"neuron-{unit:03d}" for unit in range(self._config.n_units)]
        return Session(
            session_id=session_id,
            span_s=(0.0, N_FRAMES / FRAME_HZ),
            subject="simulated",
            units=pd.DataFrame({"id": ids, "region": "", "kind": ""}),
            traces=Traces(times_s=truth.times_s, source=traces, physical_unit="sd of noise"),
            intervals={"trials": _trials(order, first_frame)},
            signals={
                "stimulus": Signal(
                    name="stimulus",
                    times_s=truth.times_s,
                    values=shown,
                    kind="discrete",
                    categories=(*STIMULI, NONE),
                )
            },
            truth={"features": truth},
        )


def _stimulus_of_frame(order: NDArray[np.int64], first_frame: NDArray[np.int64]) -> NDArray[np.float64]:
    """(n_frames,) code of the stimulus that is on, one past the last code for none."""
    shown = np.full(N_FRAMES, float(len(STIMULI)))
    for code, first in zip(order, first_frame[:-1] + BEFORE_FRAMES, strict=True):
        shown[first : first + ON_FRAMES] = code
    return shown


def _trials(order: NDArray[np.int64], first_frame: NDArray[np.int64]) -> IntervalTable:
    on_frame = first_frame[:-1] + BEFORE_FRAMES
    return IntervalTable(
        pd.DataFrame(
            {
                "start_s": first_frame[:-1] / FRAME_HZ,
                "stop_s": first_frame[1:] / FRAME_HZ,
                "on_s": on_frame / FRAME_HZ,
                "off_s": (on_frame + ON_FRAMES) / FRAME_HZ,
                "stimulus": pd.Series([STIMULI[code] for code in order], dtype=object),
            }
        ),
        events=("on_s", "off_s"),
    )


def _mixing(config: WormStimuliConfig, rng: np.random.Generator) -> Floats:
    """(n_features, n_units): positive and negative responses; the control has none of its own, only those to flow."""
    mixing = np.zeros((len(STIMULI) + 1, config.n_units))
    n_responders = min(config.responders_per_stimulus, config.n_units)
    for feature, row in enumerate(mixing):
        if feature != STIMULI.index("control"):
            size = rng.uniform(0.5, 1.5, n_responders) * np.where(rng.random(n_responders) < 0.25, -1, 1)
            row[rng.permutation(config.n_units)[:n_responders]] = size
    return mixing * config.response


def _truth(shown: NDArray[np.float64], mixing: Floats) -> FeatureTruth:
    """Stimuli and any change of fluid, convolved with the indicator's decay."""
    on = np.column_stack([shown == code for code in range(len(STIMULI))] + [shown < len(STIMULI)]).astype(np.float64)
    table = pd.DataFrame(
        {
            "name": [*STIMULI, FLOW],
            "kind": ["stimulus"] * len(STIMULI) + ["flow"],
            "parent": [FLOW] * len(STIMULI) + [""],
        }
    )
    times_s = (np.arange(N_FRAMES, dtype=np.float64) + 0.5) / FRAME_HZ
    return FeatureTruth(features=table, times_s=times_s, activity=_indicator(on), mixing=mixing)


def _background(n_units: int, rng: np.random.Generator) -> Floats:
    """(n_frames, n_units) spontaneous transients, slow drift, and noise of standard deviation 1."""
    shape = (N_FRAMES, n_units)
    kept = np.exp(-1 / (INDICATOR_TAU_S * FRAME_HZ))
    transients = rng.poisson(SPONTANEOUS_HZ / FRAME_HZ, shape) * SPONTANEOUS_SIZE / (1 - kept)
    slow = np.exp(-1 / (DRIFT_TAU_S * FRAME_HZ))
    steps = rng.standard_normal(shape) * np.sqrt(1 - slow**2)
    steps[0] /= np.sqrt(1 - slow**2)
    drift = DRIFT_SD * lfilter([1.0], [1.0, -slow], steps, axis=0)
    return np.asarray(_indicator(transients) + drift + rng.standard_normal(shape))


def _indicator(drive: Floats) -> Floats:
    """Drive (n_frames, n) convolved with ``exp(-t / tau)``, scaled so that a constant stays as it is."""
    kept = np.exp(-1 / (INDICATOR_TAU_S * FRAME_HZ))
    return np.asarray(lfilter([1 - kept], [1.0, -kept], drive, axis=0))
