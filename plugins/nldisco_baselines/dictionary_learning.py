"""A dictionary learned for sparse codes, coded by matching pursuit: what sparsity gives without an encoder."""

from __future__ import annotations

import warnings
from typing import ClassVar

import numpy as np
from scipy import sparse
from sklearn.decomposition import MiniBatchDictionaryLearning
from sklearn.linear_model import orthogonal_mp_gram

from nldisco_baselines.baseline import Baseline, Floats, Learned
from nldisco_baselines.config import LearnedDictionaryConfig
from nldisco_baselines.linear import DEFAULT_N_LATENTS, sklearn_seed
from nldisco_core.config import ModelConfig

__all__ = ["LearnedDictionary"]


class LearnedDictionary(Baseline[LearnedDictionaryConfig]):
    """Atoms of unit length learned online with an L1 penalty (Mairal et al. 2009), at most `k` of them in each bin.

    Activity is taken about its mean and divided by the root mean square of its rows while the atoms are learned, so
    that `alpha` means the same for every recording. Codes are those of orthogonal matching pursuit (Pati et al. 1993)
    and may be negative.
    """

    name: ClassVar[str] = "learned-dictionary"
    config_class: ClassVar[type[ModelConfig]] = LearnedDictionaryConfig

    def _kind_of_codes(self, activity: Floats) -> CodeKind:
        return "signed"
