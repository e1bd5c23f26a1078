"""What others supply: datasets, latent models and their capabilities, mappers and views.

Everything is made as ``Class(config)`` where its provider names a config, as ``Class()`` where it does not. A config is
a frozen pydantic model (`nldisco_core.config.Config`) that holds all choices, seeds included.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, Self, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from nldisco_core.binned import Binned
    from nldisco_core.latents import Latents
    from nldisco_core.mapping import MapperResult
    from nldisco_core.runs import Run
    from nldisco_core.selection import Selection
    from nldisco_core.session import Session

__all__ = [
    "Attributes",
    "Attribution",
    "Dataset",
    "DatasetCard",
    "Dictionary",
    "Downloads",
    "Explorer",
    "FitReport",
    "HasDictionary",
    "JoinsExplorer",
    "LatentModel",
    "LiveView",
    "Mapper",
    "Monitor",
    "Progress",
    "ReconstructionBlock",
    "Reconstructs",
    "Requirements",
    "View",
]

LabelNeed = Literal["none", "optional", "required"]
Progress = Callable[[int, int, str], None]
"""Told how much is done, of how much, and what is at hand."""


@dataclass(frozen=True, kw_only=True)
class DatasetCard:
    """What a reader has to know of a dataset before loading it.

    Attributes
    ----------
    sizes : counts by name, such as ``{"sessions": 1, "units": 15}``, as far as known without reading data
    left_out : what the source holds and this dataset does not
    defaults : settings that suit it, by dotted key of the run config, such as ``{"bin.epoch": "wake"}``; those of one
        latent model with its name, ``{"model.matryoshka-sae.levels": {"128": 4}}``
    """

    title: str
    species: str
    area: str
    licence: str
    citation: str
    source: str
    sizes: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    left_out: str = ""
    description: str = ""
    defaults: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))


@runtime_checkable
class Dataset(Protocol):
    """Recordings that can be listed cheaply and loaded one at a time."""

    def card(self) -> DatasetCard:
        """Title, species, area, licence, citation, source and sizes."""

    def session_ids(self) -> Sequence[str]:
        """Stable ids of the sessions; reads no data."""

    def load(self, session_id: str) -> Session:
        """One session; `DatasetUnavailable` where its files are missing, `InvalidRecording` where they break a rule."""


@runtime_checkable
class Downloads(Protocol):
    """Capability: a dataset whose files can be fetched from an archive. Asked with `isinstance`."""

    def fetch(self, sessions: Sequence[str] | int | None, progress: Progress) -> Sequence[Path]:
        """Fetch the files of these sessions, of the first so many, or of all that are usually wanted; where they lie.

        What is there already is not fetched again. `progress` is told bytes. `DatasetUnavailable` says what to fetch
        and where to put it when that cannot be done.
        """


@dataclass(frozen=True, kw_only=True)
class Requirements:
    """What a latent model takes.

    Attributes
    ----------
    example : what one example is
    labels_at_fit, labels_at_transform : whether behaviour is given to the model
    sessions : ``one``, several with ``shared units``, or several with ``any units``
    activity : kinds of activity it takes
    deterministic : same seed, same result on one machine with fixed threads
    """

    example: Literal["bin", "window", "trial"] = "bin"
    labels_at_fit: LabelNeed = "none"
    labels_at_transform: LabelNeed = "none"
    sessions: Literal["one", "shared units", "any units"] = "shared units"
    activity: frozenset[str] = frozenset({"counts", "rate", "continuous"})
    deterministic: bool = True


class Monitor(Protocol):
    """How a model tells the world of its progress while it fits."""

    def progress(self, done: int, total: int, message: str = "") -> None:
        """Steps done of all; `message` is shown beside the bar."""

    def scalar(self, step: int, name: str, value: float, *, instance: int | None = None) -> None:
        """One point of a training curve."""

    def should_stop(self) -> bool:
        """True once the user asked to stop; the model then returns what it has, with stop reason ``stopped``."""

    def checkpoint_due(self) -> bool:
        """True when enough time has passed since the last checkpoint."""

    def checkpoint(self, write: Callable[[Path], None]) -> None:
        """Let `write` fill a new folder; it replaces the last checkpoint once it is whole."""

    def latest_checkpoint(self) -> Path | None:
        """Folder of the last whole checkpoint to resume from, None for a fresh start."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FitReport:
    """How a fit went.

    Attributes
    ----------
    history : columns step, instance (null: all), name, value
    stop_reason : ``finished``, ``early``, ``stopped`` or a model's own word
    timings_s : seconds by stage
    notes : sentences a reader of the results must know
    """

    history: pd.DataFrame
    stop_reason: str = "finished"
    timings_s: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    notes: tuple[str, ...] = ()


@runtime_checkable
class LatentModel(Protocol):
    """Learns latents of population activity. The pipeline selects training rows; nobody else does."""

    requirements: ClassVar[Requirements]

    def fit(self, train: Binned, *, validation: Binned | None, monitor: Monitor) -> FitReport:
        """Learn from all rows of `train`; `validation` may decide when to stop and where thresholds lie."""

    def transform(self, data: Binned) -> Latents:
        """Activations for every row of `data`; no row's depend on which other rows are given.

        Raises
        ------
        NotFitted
            Before `fit`.
        IncompatibleData
            Other units than it was fitted on.
        """

    def save(self, folder: Path) -> None:
        """Write ``config.json`` and ``weights.safetensors`` into an existing folder; no pickle."""

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The model as it was saved."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ReconstructionBlock:
    """Part of a reconstruction.

    Attributes
    ----------
    instance, level : which instance, and which level of a nested model (0 where there are none)
    rows : slice of the stacked rows the values speak of
    lags_s : (n_lags,) time of each column block relative to the row's bin (s); (0.0,) for single bins
    values : (n_rows, n_units) or (n_rows, n_lags, n_units), in the unit the model was fitted on
    physical_unit : ``model input`` when it has to go through `Preprocessing.to_recorded`, ``recorded`` when not
    columns : (n_units,) ascending columns of the data that are predicted; None means all
    """

    instance: int
    level: int
    rows: slice
    values: NDArray[np.float32]
    lags_s: tuple[float, ...] = (0.0,)
    physical_unit: Literal["model input", "recorded"] = "model input"
    columns: NDArray[np.int64] | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Dictionary:
    """What each latent adds to each unit.

    Attributes
    ----------
    values : (n_instances, n_latents, n_units) or (n_instances, n_latents, n_units, n_lags)
    unit_ids : ids of the target units, per session where sessions differ (one entry where they share units)
    lags_s : (n_lags,) s
    """

    values: NDArray[np.float32]
    unit_ids: tuple[tuple[str, ...], ...]
    lags_s: tuple[float, ...] = (0.0,)


@runtime_checkable
class Reconstructs(Protocol):
    """Capability: a model that predicts activity from its latents. Asked with `isinstance`."""

    def reconstruct(self, latents: Latents) -> Iterator[ReconstructionBlock]:
        """Blocks that together cover every instance, level and row once."""


@runtime_checkable
class HasDictionary(Protocol):
    """Capability: a model whose latents each point at units. Asked with `isinstance`."""

    def dictionary(self) -> Dictionary:
        """Weights from latents to units."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Attribution:
    """What drives each latent, input by input.

    Attributes
    ----------
    values : (n_instances, n_latents, n_units, n_lags) gradient of the latent's activation with respect to an input,
        times that input, mean over examples in which the latent is active; NaN for a latent that never is
    n_examples : (n_instances, n_latents) examples the mean is over
    unit_ids : (n_units,) ids of the units that are put in
    lags_s : (n_lags,) time of each input relative to the bin the example belongs to (s), ascending
    """

    values: NDArray[np.float64]
    n_examples: NDArray[np.int64]
    unit_ids: tuple[str, ...]
    lags_s: tuple[float, ...] = (0.0,)


@runtime_checkable
class Attributes(Protocol):
    """Capability: a model that can say which inputs drive a latent's activation. Asked with `isinstance`."""

    def attribution(self, latents: Latents, data: Binned, *, rows: NDArray[np.bool_] | None = None) -> Attribution:
        """Gradient times input of the activations in `latents`, which are of the rows of `data`.

        Examples that belong to the (n_bins,) `rows` count, all where there are none; a window may begin before them.
        `IncompatibleData` where latents or data are not those of this model.
        """


@runtime_checkable
class Mapper(Protocol):
    """Relates latents to what the animal did or saw."""

    def map(self, latents: Latents, data: Binned, *, seed: int) -> MapperResult:
        """Scores for the rows of `data`, which are the rows of `latents`."""


@runtime_checkable
class LiveView(Protocol):
    """A tile on one page of one browser session: figures made once, shown for a selection at a time."""

    @property
    def panel(self) -> Any:
        """What Panel draws."""

    def show(self, selection: Selection) -> None:
        """Draw this selection."""


class Explorer(Protocol):
    """The explorer of one browser session, as a live view of it sees it."""

    @property
    def runs(self) -> Mapping[str, Run]:
        """All runs served, by name; the selection's own run is one of them."""

    @property
    def may_write(self) -> bool:
        """Whether notes are taken."""

    @property
    def visitor(self) -> str:
        """Who is looking, empty where nobody was asked."""

    @property
    def link(self) -> str:
        """Deep link of what is in view; its query alone where there is no address, as in a notebook."""

    def refresh(self) -> None:
        """Draw what is in view once more: something beside the selection has changed, such as a note."""

    def select(self, *, page: str | None = None, **changes: Any) -> None:
        """Change fields of the selection and, where one is named, the page; every view in sight is then shown it.

        A value that does not fit the run is left as it was, and the person is told so.

        Parameters
        ----------
        changes : fields of `Selection` by name, such as ``latent=12`` or ``lasso=(3, 8, 40)``; what is set on a tile
            itself is kept in ``view``, see `Selection.set_to`
        """


@runtime_checkable
class JoinsExplorer(Protocol):
    """Capability: a live view that changes the selection or looks at other runs. Asked with `isinstance`."""

    def join(self, explorer: Explorer) -> None:
        """Keep the explorer for later; called once, before the first `show`."""


@runtime_checkable
class View(Protocol):
    """One tile of the explorer.

    `title` heads the tile; `page` is the page it stands on (``latent``, ``mappings``, ``session``, ``map``,
    ``compare``, ``overview``; any other name makes a page of its own); `needs` names what a run must hold (``trials``,
    ``position``, ``mapping``, ``dictionary``, ``circular``, …; `Run.offers` lists all): the host says why a tile is
    absent. A view may say ``wide = True`` to take a whole row, ``own_heading = True`` to be drawn without its title and
    ``exports = False`` to have no menu that saves what it draws. Its live view may be one that joins the explorer, see
    `JoinsExplorer`.
    """

    title: ClassVar[str]
    page: ClassVar[str]
    needs: ClassVar[frozenset[str]]

    def build(self, run: Run) -> LiveView:
        """A new live view with no state shared with any other; called when its page is first turned to."""
