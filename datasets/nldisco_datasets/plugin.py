"""What this package offers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nldisco_core.hookspecs import hookimpl
from nldisco_core.providers import Preset, Provider

if TYPE_CHECKING:
    import click


@hookimpl
def nldisco_datasets() -> Iterator[Provider]:
    """The bundled recording and the simulators."""
    yield Provider(
        name="head-direction",
        target="nldisco_datasets.head_direction:HeadDirection",
        summary="Mouse ADN and CA1, 15 units, sleep and wake with head direction and position (bundled, real).",
    )
    yield Provider(
        name="place-cells-1d",
        target="nldisco_datasets.place_cells_1d:PlaceCells1D",
        summary="Four place cells on a line among 96 untuned units (simulated): a smoke test.",
    )
    yield Provider(
        name="place-ensembles",
        target="nldisco_datasets.place_ensembles:PlaceEnsembles",
        config="nldisco_datasets.place_ensembles:PlaceEnsemblesConfig",
        summary="Overlapping ensembles of regions, places and places by direction with known truth (simulated).",
    )
    yield Provider(
        name="maze-reach",
        target="nldisco_datasets.maze_reach:MazeReach",
        config="nldisco_datasets.maze_reach:MazeReachConfig",
        summary="M1 and PMd during 2,000 reaches through mazes, in the files of MC_Maze, with known truth (simulated).",
    )
    yield Provider(
        name="worm-stimuli",
        target="nldisco_datasets.worm_stimuli:WormStimuli",
        config="nldisco_datasets.worm_stimuli:WormStimuliConfig",
        summary="190 calcium traces of a worm under labelled stimuli with known responders (simulated).",
    )


@hookimpl
def nldisco_presets() -> Iterator[Preset]:
    """The whole demo."""
    yield Preset(
        name="head-direction-demo",
        source="nldisco_datasets:presets/head-direction-demo.toml",
        summary="The demo: a small Matryoshka autoencoder of five seeds on head-direction cells, with its controls.",
    )


@hookimpl
def nldisco_commands(cli: click.Group) -> None:
    """``nldisco demo``."""
    from nldisco_datasets.demo import demo

    cli.add_command(demo)
