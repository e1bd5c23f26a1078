"""How a run was made, in words for a paper: from its record alone, with formulas and references."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from nldisco_core.binned import SPLITS, Binned
from nldisco_core.runs import Run

__all__ = ["REFERENCES", "formulas", "methods", "references"]


def methods(run: Run) -> list[str]:
    """Paragraphs on recording, bins and splits, on model and controls, on mapping, and on software."""
    parts = (_on_data(run), _on_models(run), _on_mapping(run), _on_software(run))
    return [paragraph for part in parts if (paragraph := " ".join(part))]


def _on_data(run: Run) -> Iterator[str]:
    data, config = run.counts, run.about.get("config", {})
    kind = {"counts": "Spikes were counted", "rate": "Rates were averaged"}.get(
        data.activity_kind, "Activity was averaged"
    )
    epoch = config.get("bin", {}).get("epoch")
    units = str(data.n_units) if data.shares_units else " + ".join(str(s.n_units) for s in data.sessions)
    yield (
        f"{kind} in bins of {1000 * data.bin_s:g} ms{f' of the epoch {epoch}' if epoch else ''}: {data.n_bins:,} bins "
        f"({data.n_bins * data.bin_s / 60:.1f} min) of {units} units in {len(data.sessions)} session(s)."
    )
    done = run.binned.preprocessing
    smooth = f"smoothed with a Gaussian of sigma {1000 * done.smooth_s:g} ms within stretches" if done.smooth_s else ""
    normalised = "" if done.normalise == "none" else f"normalised ({done.normalise}) by statistics of training bins"
    steps = " and ".join(step for step in (smooth, normalised) if step)
    yield f"Activity was {steps}." if steps else "Activity was neither smoothed nor normalised."
    yield from _on_split(run, data, config.get("split", {}))


def _on_split(run: Run, data: Binned, split: Mapping[str, Any]) -> Iterator[str]:
    counts = {name: int((data.split == code).sum()) for code, name in enumerate(SPLITS)}
    counts = dict(run.about.get("recording", {}).get("n_bins", counts))
    by_trial = data.sessions[0].trials is not None
    way = {"auto": "trials" if by_trial else "blocks"}.get(split.get("by", "auto"), split.get("by", "auto"))
    how = {
        "trials": "Whole trials",
        "blocks": f"Blocks of {split.get('block_s', 10):g} s with gaps of {split.get('gap_s', 1):g} s between them",
        "sessions": "Whole sessions",
    }[way]
    yield (
        f"{how} were dealt out at random (seed {run.about.get('seed', 0)}) to training, validation and test: "
        f"{counts['train']:,}, {counts['validation']:,} and {counts['test']:,} bins. Models were fitted on training "
        "bins only."
    )


def _on_models(run: Run) -> Iterator[str]:
    record = run.about["model"]
    space = run.latents.main
    yield (
        f"Latents were learned by {run.model.provider} ({record.get('distribution', 'unknown')} "
        f"{record.get('version', '')}): {space.n_latents} latents, {space.n_instances} instance(s). "
        f"Settings: {_settings(record.get('config', {}))}."
    )
    controls = ", ".join(f"{name} ({_settings(part.record.get('config', {}))})" for name, part in run.controls.items())
    yield (
        f"Controls, fitted on the same bins: {controls}."
        if controls
        else "No controls were run, so that no figure here can be judged by itself."
    )


def _on_mapping(run: Run) -> Iterator[str]:
    for name, record in run.about.get("mappers", {}).items():
        yield f"Latents were mapped by {name}, seed {record.get('seed', 0)}; settings: {_settings(record['config'])}."
    if run.about.get("mappers"):
        yield (
            "A p value is the share of relabelled behaviours that do as well as the real one, itself among them; "
            "signals were shifted in a circle inside stretches of their session, conditions permuted among trials, and "
            "events shifted within trials. q is Benjamini and Hochberg's, within an instance and a mapper over the "
            "mappings that stood out on training bins; those that did not have none. A latent is supported "
            "by at least 50 active bins and 10 visits."
        )
    yield (
        "Curves show mean activations, silent bins included; bands are 95 % percentile intervals over 200 resamplings "
        "of blocks of time."
    )


def _on_software(run: Run) -> Iterator[str]:
    made = run.about.get("environment") or {}
    packages = made.get("packages", {})
    named = ("nldisco-core", "numpy", "scipy", "scikit-learn", "torch", "pandas")
    versions = ", ".join(f"{name} {packages[name]}" for name in named if name in packages)
    commit = f", commit {made['git_commit'][:12]}" if made.get("git_commit") else ""
    if versions:
        yield f"Software: Python {made.get('python', 'unknown')}, {versions}{commit}; {_device(made)}."


def _device(made: Mapping[str, Any]) -> str:
    found = (made.get("device") or {}).get("cuda_device")
    threads = (made.get("threads") or {}).get("torch")
    return f"on {found}" if found else f"on the CPU, {threads} thread(s)" if threads else "on the CPU"


def _settings(config: Mapping[str, Any]) -> str:
    stated = {key: value for key, value in config.items() if value not in (None, {}, [], ())}
    return ", ".join(f"{key} {_plain(value)}" for key, value in stated.items()) or "none"


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_plain(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_plain, value)) + "]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def formulas(run: Run) -> list[tuple[str, str]]:
    """Names and definitions of the figures that the page shows."""
    shown = [("R²", "1 − Σ(y − ŷ)² / Σ(y − ȳ)², summed over units and bins, ȳ each unit's mean over the split")]
    columns = {name for mapper in run.mappings for name in run.mapping(mapper).table.columns}
    shown += [(label, text) for column, label, text in _FORMULAS if column in columns]
    return [*shown, ("p", "(1 + number of relabellings that reach the observed value) / (1 + number of relabellings)")]


_FORMULAS = (
    (
        "max_mcc",
        "MCC",
        "(TP·TN − FP·FN) / √((TP+FP)(TP+FN)(TN+FP)(TN+FN)) of “latent active” against “condition holds”; max mcc is "
        "the largest over the conditions of a variable",
    ),
    (
        "mutual_information",
        "information",
        "Σ p(x, y) log₂ p(x, y) / (p(x) p(y)), corrected for small samples (Miller–Madow)",
    ),
    ("resultant_length", "resultant", "|Σ r(θ) exp(iθ)| / Σ r(θ) of the mean activation r by direction θ"),
    (
        "spatial_information",
        "spatial information",
        "Σ p (r / r̄) log₂(r / r̄) over pixels, p the share of time, r the mean",
    ),
    ("n_effective_units", "effective units", "(Σ w²)² / Σ w⁴ of the weights of a latent"),
)

REFERENCES: Mapping[str, tuple[str, str]] = {
    "fdr": (
        "Benjamini Y, Hochberg Y. Controlling the false discovery rate. J. R. Stat. Soc. B 57, 289–300 (1995).",
        "10.1111/j.2517-6161.1995.tb02031.x",
    ),
    "p": (
        "Phipson B, Smyth GK. Permutation p-values should never be zero. Stat. Appl. Genet. Mol. Biol. 9, 39 (2010).",
        "10.2202/1544-6115.1585",
    ),
    "bootstrap": (
        "Künsch HR. The jackknife and the bootstrap for general stationary observations. Ann. Stat. 17, 1217–1241 "
        "(1989).",
        "10.1214/aos/1176347265",
    ),
    "mcc": (
        "Matthews BW. Comparison of the predicted and observed secondary structure of T4 phage lysozyme. Biochim. "
        "Biophys. Acta 405, 442–451 (1975).",
        "10.1016/0005-2795(75)90109-9",
    ),
    "border": (
        "Solstad T, Boccara CN, Kropff E, Moser MB, Moser EI. Representation of geometric borders in the entorhinal "
        "cortex. Science 322, 1865–1868 (2008).",
        "10.1126/science.1166466",
    ),
    "speed": (
        "Kropff E, Carmichael JE, Moser MB, Moser EI. Speed cells in the medial entorhinal cortex. Nature 523, 419–424 "
        "(2015).",
        "10.1038/nature14622",
    ),
    "matryoshka": (
        "Bussmann B, Nabeshima N, Karvonen A, Nanda N. Learning multi-level features with Matryoshka sparse "
        "autoencoders (2025).",
        "10.48550/arXiv.2503.17547",
    ),
    "topk": ("Gao L et al. Scaling and evaluating sparse autoencoders (2024).", "10.48550/arXiv.2406.04093"),
    "batch-topk": ("Bussmann B, Leask P, Nanda N. BatchTopK sparse autoencoders (2024).", "10.48550/arXiv.2412.06410"),
    "nmf": (
        "Lee DD, Seung HS. Learning the parts of objects by non-negative matrix factorization. Nature 401, 788–791 "
        "(1999).",
        "10.1038/44565",
    ),
}


def references(run: Run) -> list[tuple[str, str]]:
    """What the methods of this run rest on: citation and DOI."""
    models = {run.model.provider, *(part.provider for part in run.controls.values())}
    columns = {name for mapper in run.mappings for name in run.mapping(mapper).table.columns}
    used = {
        "matryoshka": "matryoshka-sae" in models,
        "batch-topk": bool(models & {"matryoshka-sae", "batch-topk-sae"}),
        "topk": "topk-sae" in models,
        "nmf": bool(models & {"nmf", "nmf-omp"}),
        "fdr": bool(run.mappings),
        "p": bool(run.mappings),
        "bootstrap": True,
        "mcc": "max_mcc" in columns,
        "border": "border_score" in columns,
        "speed": "speed_score" in columns,
    }
    return [REFERENCES[name] for name, needed in used.items() if needed]
