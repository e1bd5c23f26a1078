"""What this plugin offers."""

from __future__ import annotations

from collections.abc import Iterator

from nldisco_core.hookspecs import hookimpl
from nldisco_core.providers import Provider


@hookimpl
def nldisco_datasets() -> Iterator[Provider]:
    """Any NWB 2 file, and public recordings by name."""
    yield Provider(
        name="nwb",
        target="nldisco_nwb.dataset:NWBDataset",
        config="nldisco_nwb.config:NWBConfig",
        summary="One NWB 2 file, or a folder of them (--path).",
    )
    yield Provider(
        name="mc-maze",
        target="nldisco_nwb.mc_maze:MCMaze",
        config="nldisco_nwb.maze_config:MCMazeConfig",
        summary="Reaches through mazes, M1 and PMd of two monkeys (DANDI 000070, 000128, 000138-000140).",
    )
    yield Provider(
        name="rat-hippocampus",
        target="nldisco_nwb.rat_hippocampus:RatHippocampus",
        config="nldisco_nwb.rat_hippocampus:RatHippocampusConfig",
        summary="CA1 of four rats asleep and on a track, with linearised position (DANDI 000044).",
    )
