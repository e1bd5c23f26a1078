"""What a model that is given labels says when there is no activity at all: the control of every mapping to a label.

A model whose latents look up the true label maps to it as well without a single spike, so that the mapping says nothing
about the brain.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from nldisco_core.binned import Binned
from nldisco_core.interfaces import LatentModel
from nldisco_core.latents import Latents
from nldisco_core.preprocessing import preprocess

__all__ = ["ZERO_INPUT", "latents_without_activity"]

ZERO_INPUT = "zero-input"
"""Name of the control that is the model itself, given labels as ever and no activity."""


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
