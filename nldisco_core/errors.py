"""Everything the toolkit raises on purpose.

NLDiscoError
├── PluginError
│   ├── PluginNotFound
│   ├── PluginLoadError
│   └── DuplicateProvider
├── ConfigError
├── DataError
│   ├── DatasetUnavailable
│   └── InvalidRecording
├── ModelError
│   ├── NotFitted
│   ├── IncompatibleData
│   └── Diverged
└── RunError
    ├── RunNotFound
    ├── RunIncomplete
    └── SchemaTooNew

A message says what was found, what was expected and what to do next. The command line prints it as one line and exits
with 1; any other exception is a bug and keeps its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "ConfigError",
    "DataError",
    "DatasetUnavailable",
    "Diverged",
    "DuplicateProvider",
    "IncompatibleData",
    "InvalidRecording",
    "ModelError",
    "NLDiscoError",
    "NotFitted",
    "PluginError",
    "PluginLoadError",
    "PluginNotFound",
    "RunError",
    "RunIncomplete",
    "RunNotFound",
    "SchemaTooNew",
    "unknown_name",
]


class NLDiscoError(Exception):
    """Base of every error the toolkit raises on purpose."""


class PluginError(NLDiscoError):
    """A plugin or one of its providers cannot be used."""


class PluginNotFound(PluginError):
    """No provider of that kind has that name."""


class PluginLoadError(PluginError):
    """A plugin or a provider's code could not be imported or made."""


class DuplicateProvider(PluginError):
    """Two plugins offer the same name for the same kind."""


class ConfigError(NLDiscoError):
    """A configuration value is unknown or out of range."""


class DataError(NLDiscoError):
    """A recording or dataset cannot be used as asked."""


class DatasetUnavailable(DataError):
    """The dataset's files are not where they are expected."""


class InvalidRecording(DataError):
    """A recording breaks a rule that everything downstream relies on."""


class ModelError(NLDiscoError):
    """A latent model cannot do what was asked."""


class NotFitted(ModelError):
    """The model has to be fitted first."""


class IncompatibleData(ModelError):
    """The data are not of the kind the model takes or was fitted on."""


class Diverged(ModelError):
    """Training produced values that are not finite."""


class RunError(NLDiscoError):
    """A run folder cannot be read or written."""


class RunNotFound(RunError):
    """No run of that name, or no such part of the run."""


class RunIncomplete(RunError):
    """The run was interrupted or failed before it was whole."""


class SchemaTooNew(RunError):
    """The files were written by a newer version of the toolkit."""


def unknown_name(what: str, name: str, known: Iterable[str]) -> str:
    """Sentence for an unknown name that lists the nearest known ones.

    >>> unknown_name("latent model", "pac", ["pca", "nmf"])
    "unknown latent model 'pac'; did you mean 'pca'? Known: nmf, pca"
    """
    options = sorted(set(known))
    close = difflib.get_close_matches(name, options, n=3, cutoff=0.5)
    hint = f"; did you mean {' or '.join(repr(option) for option in close)}?" if close else "."
    listing = ", ".join(options) if options else "none"
    return f"unknown {what} {name!r}{hint} Known: {listing}"
