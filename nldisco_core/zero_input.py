"""What a model that is given labels says when there is no activity at all: the control of every mapping to a label.

A model whose latents look up the true label maps to it as well without a single spike, so that the mapping says nothing
about the brain.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from nldisco_core.binned import Binned
from nldisco_core.interfaces import LatentModel
from nldisco_core.latents import LabelUse, Latents
from nldisco_core.preprocessing import preprocess

__all__ = ["ZERO_INPUT", "latents_without_activity", "notes_without_model"]

ZERO_INPUT = "zero-input"
"""Name of the control that is the model itself, given labels as ever and no activity."""


def notes_without_model(label_use: LabelUse) -> tuple[str, ...]:
    """What to beware of in activations whose model is not at hand, so that it cannot be run without activity."""
    if label_use == "fit":
        return ()
    told = (
        "their model was given labels to make them"
        if label_use == "transform"
        else "they do not say whether their model was given labels to make them"
    )
    return (
        f"saved activations: {told}, and there is no {ZERO_INPUT} control without the model: a mapping to a variable "
        "that it was given says nothing about the brain",
    )


def latents_without_activity(model: LatentModel, counts: Binned, data: Binned) -> Latents:
    """What a fitted model says of the data when every unit is silent throughout; labels stay as they are.

    Parameters
    ----------
    counts : the bins before preprocessing
    data : the bins that the model was fitted on, whose preprocessing is applied to the silence
    """
    silent = tuple(replace(session, activity=np.zeros_like(session.activity)) for session in counts.sessions)
    done = data.preprocessing
    return model.transform(
        preprocess(
            replace(counts, sessions=silent),
            smooth_s=done.smooth_s,
            normalise=done.normalise,
            statistics=done.statistics,
        )
    )
