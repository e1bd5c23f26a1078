"""A dictionary learned for sparse codes, coded by matching pursuit: what sparsity gives without an encoder."""

from __future__ import annotations

import warnings
from typing import ClassVar

import numpy as np
from scipy import sparse
from sklearn.decomposition import MiniBatchDictionaryLearning
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import orthogonal_mp_gram

from nldisco_baselines.baseline import Baseline, Floats, Learned
from nldisco_baselines.config import LearnedDictionaryConfig
from nldisco_core.config import ModelConfig
from nldisco_core.latents import CodeKind

__all__ = ["LearnedDictionary"]

DEFAULT_N_LATENTS = 16
BATCH_SIZE = 256


class LearnedDictionary(Baseline[LearnedDictionaryConfig]):
    """Atoms of unit length learned online with an L1 penalty (Mairal et al. 2009), at most `k` of them in each bin.

    Activity is taken about its mean. Codes are those of orthogonal matching pursuit (Pati et al. 1993) and may be
    negative.
    """

    name: ClassVar[str] = "learned-dictionary"
    config_class: ClassVar[type[ModelConfig]] = LearnedDictionaryConfig

    def _kind_of_codes(self, activity: Floats) -> CodeKind:
        return "signed"

    def _learn(self, activity: Floats, seed: int) -> Learned:
        n_latents = self.config.n_latents or DEFAULT_N_LATENTS
        mean = activity.mean(axis=0)
        centred = activity - mean
        length = float(np.sqrt(np.square(centred).sum(axis=1).mean()))
        atoms = np.zeros((n_latents, activity.shape[1]))
        if length == 0:
            note = "all latents stay at zero: no unit varies"
            return Learned(weights={"offset": mean, "dictionary": atoms}, notes=(note,))
        start = np.random.default_rng(seed).choice(centred, size=n_latents)
        solver = MiniBatchDictionaryLearning(
            n_latents,
            alpha=self.config.alpha,
            max_iter=self.config.epochs,
            batch_size=BATCH_SIZE,
            fit_algorithm="cd",
            dict_init=_unit_rows(start),
            random_state=int(np.random.SeedSequence(seed).generate_state(1)[0]),
            max_no_improvement=None,
            tol=0.0,
        )
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ConvergenceWarning)
            fitted = solver.fit(centred / length)
        short = sum(issubclass(warning.category, ConvergenceWarning) for warning in caught)
        note = f"{short} sparse codes met no tolerance while the dictionary was learned"
        return Learned(
            weights={"offset": mean, "dictionary": _unit_rows(fitted.components_)},
            iterations=int(fitted.n_steps_),
            notes=(note,) if short else (),
        )

    def _encode(self, activity: Floats) -> tuple[sparse.csc_array, ...]:
        offsets, atoms = self._weight("offset"), self._atoms()
        return tuple(self._pursue(activity - offset, rows) for offset, rows in zip(offsets, atoms, strict=True))

    def _pursue(self, centred: Floats, atoms: Floats) -> sparse.csc_array:
        # One vector-matrix product per row: the rounding of a matrix product depends on how many rows it has.
        projected = np.matmul(centred[:, None, :], atoms.T)[:, 0]
        usable = np.flatnonzero(atoms.any(axis=1))
        codes = np.zeros(projected.shape, dtype=np.float32)
        if len(usable):
            with warnings.catch_warnings():  # a bin that fewer atoms already reproduce ends early, and says so
                warnings.filterwarnings("ignore", message="Orthogonal matching pursuit ended prematurely")
                found = orthogonal_mp_gram(
                    atoms[usable] @ atoms[usable].T,
                    projected[:, usable].T,
                    n_nonzero_coefs=min(self.config.k, len(usable)),
                )
            codes[:, usable] = found.reshape(len(usable), -1).T
        return sparse.csc_array(codes)

    def _atoms(self) -> Floats:
        return self._weight("dictionary")


def _unit_rows(rows: Floats) -> Floats:
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(np.divide(rows, length, out=np.zeros_like(rows), where=length > 0))
